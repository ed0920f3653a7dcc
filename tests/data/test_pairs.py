"""Pairs: found in both layouts, problems named, and the same crop and turns for both images of a pair."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from deblur.data.batches import collate
from deblur.data.crops import RunOrder, to_float
from deblur.data.pair_crops import PairCrops
from deblur.data.pairs import PairPixels, evenly_chosen, find_pairs, fingerprint, whole
from deblur.errors import DataError, PhotoError
from tests.conftest import SHARED


def test_the_flat_layout(pair_folder: Path) -> None:
    pairs = find_pairs(pair_folder)
    assert [p.name for p in pairs] == [f"{n}.png" for n in sorted(p.stem for p in pairs[0].blurry.parent.iterdir())]
    blurry, sharp = pairs[0].load()
    assert blurry.shape == sharp.shape
    assert not np.array_equal(blurry, sharp)


def test_the_gopro_layout_and_its_gamma(pair_folder: Path, tmp_path: Path) -> None:
    for sequence in ("GOPR0001", "GOPR0002"):
        shutil.copytree(pair_folder, tmp_path / sequence)
        (tmp_path / sequence / "blur_gamma").mkdir()
        shutil.copy(pair_folder / "sharp" / "china.png", tmp_path / sequence / "blur_gamma")
    assert len(find_pairs(tmp_path)) == 12
    assert find_pairs(tmp_path)[0].name == "GOPR0001/astronaut.png"
    with pytest.raises(DataError, match="no partner"):
        find_pairs(tmp_path, blur_gamma=True)


def test_hidden_files_are_no_images(pair_folder: Path, tmp_path: Path) -> None:
    """macOS writes ``._NAME`` beside every file that it copies to other disks."""
    shutil.copytree(pair_folder, tmp_path, dirs_exist_ok=True)
    for kind in ("blur", "sharp"):
        (tmp_path / kind / "._china.png").write_bytes(b"Mac OS X")
    assert [pair.name for pair in find_pairs(tmp_path)] == [pair.name for pair in find_pairs(pair_folder)]


def test_problems_are_named(pair_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is not a folder"):
        find_pairs(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"blur/NAME and sharp/NAME"):
        find_pairs(tmp_path)
    shutil.copytree(pair_folder, tmp_path / "a")
    (tmp_path / "a" / "sharp" / "china.png").unlink()
    with pytest.raises(DataError, match=r"china\.png"):
        find_pairs(tmp_path / "a")
    Image.new("RGB", (5, 5)).save(tmp_path / "a" / "sharp" / "china.png")
    with pytest.raises(DataError, match=r"china\.png differ in size"):
        [pair.load() for pair in find_pairs(tmp_path / "a")]
    (tmp_path / "a" / "sharp" / "china.png").write_bytes(b"broken")
    with pytest.raises(PhotoError, match=r"china\.png"):
        [pair.load() for pair in find_pairs(tmp_path / "a")]


def test_broken_pairs_are_found_before_training_and_left_out_up_to_a_cap(pair_folder: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(pair_folder, tmp_path / "pairs"))
    assert whole(find_pairs(folder), 0, "pairs") == (find_pairs(folder), [])
    (folder / "blur" / "china.png").write_bytes((folder / "blur" / "china.png").read_bytes()[:2000])
    Image.new("RGB", (50, 50)).save(folder / "sharp" / "rocket.png")
    good, bad = whole(find_pairs(folder), 2, "pairs")
    assert {pair.name for pair in find_pairs(folder)} - {pair.name for pair in good} == {"china.png", "rocket.png"}
    assert "china.png" in bad[0]
    assert "differ in size" in bad[1]
    with pytest.raises(DataError, match=r"2 pairs are broken, 1 may be left out \(skip_bad\).*china\.png"):
        whole(find_pairs(folder), 1, "pairs")


def test_a_file_that_cannot_be_read_is_named(pair_folder: Path, tmp_path: Path) -> None:
    pair = find_pairs(Path(shutil.copytree(pair_folder, tmp_path / "pairs")))[0]
    pair.sharp.unlink()
    with pytest.raises(DataError, match=rf"sharp/{pair.name} cannot be read \(No such file"):
        pair.load()


def coded_pair(name: str, number: int) -> PairPixels:
    """A pair whose pixels say where they come from, the sharp one the inverse of the blurry one."""
    y, x = np.mgrid[0:90, 0:70].astype(np.uint8)
    blurry = np.dstack([y, x, np.full_like(x, number)])
    return PairPixels(name, blurry, 255 - blurry)


def test_both_images_get_the_same_crop_and_turns() -> None:
    crops = PairCrops([coded_pair("a", 1), coded_pair("b", 2)], 32, seed=4)
    turns = set()
    for key in range(64):
        blurry, sharp = (to_float(image) for image in crops[key][:2])
        assert blurry.shape == (3, 32, 32)
        assert torch.allclose(blurry + sharp, torch.ones(()), atol=1e-6)
        dy = (blurry[0, 1, 0] - blurry[0, 0, 0]).sign() + 2 * (blurry[0, 0, 1] - blurry[0, 0, 0]).sign()
        dx = (blurry[1, 1, 0] - blurry[1, 0, 0]).sign() + 2 * (blurry[1, 0, 1] - blurry[1, 0, 0]).sign()
        turns.add((int(dy), int(dx)))
    assert len(turns) == 8, "all flips and quarter turns occur"


def test_every_pass_deals_every_pair_once_in_a_new_order() -> None:
    crops = PairCrops([coded_pair(str(i), i) for i in range(10)], 16, seed=0)
    dealt = [int(crops[key][0][2, 0, 0]) for key in range(30)]
    assert sorted(dealt[:10]) == sorted(dealt[10:20]) == sorted(dealt[20:]) == list(range(10))
    assert dealt[:10] != dealt[10:20]


def test_samples_do_not_depend_on_the_number_of_workers(pair_folder: Path) -> None:
    crops = PairCrops(find_pairs(pair_folder), 64, seed=1)
    order = RunOrder(6, 2)
    order.start(3)
    batches = [list(DataLoader(crops, batch_size=2, sampler=order, num_workers=n, collate_fn=collate)) for n in (0, 2)]
    for a, b in zip(*batches, strict=True):
        assert torch.equal(a.blurry, b.blurry)
        assert torch.equal(a.sharp, b.sharp)


def test_a_crop_larger_than_the_image_is_refused_by_name() -> None:
    with pytest.raises(DataError, match="a: the image is 70 x 90 px, smaller than the crop of 96"):
        PairCrops([coded_pair("a", 1)], 96, seed=0)[0]


def test_a_fingerprint_changes_with_the_data(pair_folder: Path, tmp_path: Path) -> None:
    pairs = find_pairs(pair_folder)
    assert fingerprint(pairs) == fingerprint(find_pairs(pair_folder))
    assert fingerprint(pairs) != fingerprint(pairs[1:])
    copy = Path(shutil.copytree(pair_folder, tmp_path / "copy"))
    assert fingerprint(find_pairs(copy)) == fingerprint(pairs)
    shutil.copy(copy / "sharp" / "china.png", copy / "blur" / "china.png")
    assert fingerprint(find_pairs(copy)) != fingerprint(pairs)
    assert fingerprint([coded_pair("a", 1)]) != fingerprint([coded_pair("a", 2)])


def test_few_validation_images_are_spread_over_all(pair_folder: Path) -> None:
    pairs = find_pairs(pair_folder)
    assert evenly_chosen(pairs, None) == evenly_chosen(pairs, 99) == pairs
    assert evenly_chosen(pairs, 2) == [pairs[0], pairs[-1]]


@pytest.mark.skipif(not SHARED.is_dir(), reason="shared/data is not beside this clone")
def test_the_real_pairs_load() -> None:
    """Frames of the benchmarks' own sizes; sets that choose share no pair with sets that train."""
    large, small = (720, 1280, 3), (180, 320, 3)
    sets = {"gopro/train": large, "gopro/val": large, "reds/train": large, "reds/val": large, "reds320/val": small}
    found = {name: find_pairs(SHARED / "pairs" / name) for name in sets}
    for name, shape in sets.items():
        blurry, sharp = found[name][0].load()
        assert blurry.shape == sharp.shape == shape
        assert not np.array_equal(blurry, sharp)
    names = [pair.name for name in ("gopro/train", "gopro/val") for pair in found[name]]
    assert len(names) == len(set(names))
