"""What a source reads: each folder once, nothing hidden, nothing that this program wrote; whatever kind it is."""

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deblur.data.doctor import examine_folder
from deblur.data.folders import folders_of, images_below
from deblur.data.frames import find_frames
from deblur.data.pairs import find_pairs
from deblur.data.saved import save_set
from deblur.data.sources import SourceName, find_photos
from deblur.errors import DataError
from deblur.inference.files import restore_folder
from deblur.inference.model_folder import open_model
from deblur.inference.onnx_runtime import OnnxEngine
from deblur.registry.record import RunRecord

RNG = np.random.default_rng(0)


def picture(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(RNG.integers(0, 256, (24, 24, 3), dtype=np.uint8)).save(path)


def photos(root: Path) -> None:
    for name in ("a.jpg", "more/b.png"):
        picture(root / name)


def pairs(root: Path) -> None:
    for name in ("s1/blur/1.png", "s1/sharp/1.png", "s2/blur/1.png", "s2/sharp/1.png"):
        picture(root / name)


def frames(root: Path) -> None:
    for name in ("c1/1.png", "c1/2.png", "c1/3.png", "c2/1.png", "c2/2.png", "c2/3.png"):
        picture(root / name)


Read = Callable[[Path], list[str]]
KINDS = {
    "photos": (photos, lambda root: [photo.name for photo in find_photos(root)]),
    "pairs": (pairs, lambda root: [pair.name for pair in find_pairs(root)]),
    "frames": (frames, lambda root: [pair.name for pair in find_frames(root, 3)]),
    "doctor of photos": (photos, lambda root: [str(examine_folder(root).looked_at["items"])]),
    "doctor of pairs": (pairs, lambda root: [str(examine_folder(root).looked_at["items"])]),
}


@pytest.fixture(params=KINDS)
def source(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, Read]:
    write, read = KINDS[request.param]
    write(tmp_path / "set")
    return tmp_path / "set", read


def everywhere(root: Path, write: Callable[[Path], None]) -> None:
    """A picture as any kind of source would find it."""
    for name in ("1.png", "2.png", "3.png", "blur/1.png", "sharp/1.png"):
        write(root / name)


@pytest.mark.parametrize(
    "folder", [".thumbnails", ".Trash-0/files", ".ipynb_checkpoints", "@eaDir", "__MACOSX", "$RECYCLE.BIN"]
)
def test_hidden_and_system_folders_are_no_data(source: tuple[Path, Read], folder: str) -> None:
    root, read = source
    before = read(root)
    everywhere(root / folder, picture)
    assert read(root) == before


def test_a_hidden_folder_that_is_named_is_read(tmp_path: Path) -> None:
    photos(tmp_path / ".photos")
    assert len(find_photos(tmp_path / ".photos")) == 2


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_no_folder_is_read_twice(source: tuple[Path, Read]) -> None:
    """Links to the folder itself, to one above it, to one that is read anyway, and from a linked folder back."""
    root, read = source
    before = read(root)
    inside = next(path for path in sorted(root.iterdir()) if path.is_dir())
    (root.parent / "outside").mkdir()
    links = {root / "0loop": root, root / "1up": root.parent, root / "2again": inside, inside / "3back": root}
    for link, target in links.items():
        link.symlink_to(target)
    (root / "4outside").symlink_to(root.parent / "outside")
    (root.parent / "outside" / "back").symlink_to(root)
    assert read(root) == before


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_links_to_folders_elsewhere_are_followed(tmp_path: Path) -> None:
    for write, find in ((photos, find_photos), (pairs, find_pairs), (frames, lambda root: find_frames(root, 3))):
        root = tmp_path / write.__name__
        write(root / "real")
        (root / "set").mkdir()
        for place in (root / "real").iterdir():
            (root / "set" / place.name).symlink_to(place)
        assert len(find(root / "set")) == 2
    assert [path.name for path in folders_of(tmp_path / "photos" / "set")] == ["set", "more"]


def run_in(folder: Path) -> None:
    """A run that was set aside, and one that goes on."""
    for number in (1, 2):
        record = RunRecord.begin(folder, f"run {number}", {}, {})
        for epoch in range(3):
            record.log_panel("a/blur.png", epoch, Image.new("RGB", (24, 24)))


@pytest.mark.parametrize("place", [".", "run", "more/run"])
def test_a_run_is_no_data(source: tuple[Path, Read], place: str) -> None:
    """Nor do the photos beside it cease to be: the stopped run goes on with the same ones."""
    root, read = source
    before = read(root)
    run_in(root / place)
    assert len(list((root / place).rglob("panels/*/*.png"))) == 6
    assert read(root) == before


def test_what_was_mlflows_is_no_data(source: tuple[Path, Read]) -> None:
    root, read = source
    before = read(root)
    everywhere(root / "mlruns" / "0", picture)
    assert read(root) == before


@pytest.mark.parametrize("count", [1, 3])
def test_a_saved_set_is_data_only_where_it_is_named(source: tuple[Path, Read], count: int) -> None:
    root, read = source
    before = read(root)
    image = np.zeros((24, 24, 3), np.uint8)
    save_set(root / "saved", count, lambda index: {"blur": image, "sharp": image}, {})
    assert read(root) == before
    assert len(find_pairs(root / "saved")) == count
    assert len(find_photos(root / "saved" / "sharp")) == count


def test_somebody_elses_manifest_hides_nothing(tmp_path: Path) -> None:
    photos(tmp_path)
    for text in ('{"format": 1, "files": []}', "[]", "no json"):
        (tmp_path / "more" / "manifest.json").write_text(text)
        assert len(find_photos(tmp_path)) == 2


def test_results_of_a_restore_are_no_data(source: tuple[Path, Read]) -> None:
    root, read = source
    before = read(root)
    everywhere(root.with_name("set.deblurred"), picture)
    shutil.copytree(root.with_name("set.deblurred"), root / "more.deblurred")
    for place in [path for path in root.rglob("*") if path.is_dir()]:
        picture(place / "a.deblurred.jpg")
    assert read(root) == before


def test_results_in_a_folder_of_any_name_are_no_data(source: tuple[Path, Read], model_folder: Path) -> None:
    root, read = source
    before = read(root)
    photos = root.with_name("photos to restore")
    picture(photos / "1.png")
    for place in [path for path in root.rglob("*") if path.is_dir()]:
        restore_folder(open_model(model_folder, OnnxEngine), photos, place / "sharper")
        assert (place / "sharper" / "1.png").is_file()
    assert read(root) == before


@pytest.mark.parametrize(
    ("blurry", "sharp"),
    [("1_blur.png", "1_sharp.png"), ("Input-07.png", "Target-07.png"), ("a b lq.png", "a b gt.png")],
)
def test_both_sides_of_pairs_in_one_folder_are_no_photos(tmp_path: Path, blurry: str, sharp: str) -> None:
    for name in (blurry, sharp, "other.png", "blurry_cat.png"):
        picture(tmp_path / name)
    with pytest.raises(DataError, match=f"both sides of pairs in one folder, such as {blurry} and {sharp}"):
        find_photos(tmp_path)
    (tmp_path / sharp).unlink()
    assert len(find_photos(tmp_path)) == 3


def test_only_what_was_passed_over_is_told(tmp_path: Path) -> None:
    picture(tmp_path / ".hidden" / "1.png")
    with pytest.raises(DataError, match="Hidden and system folders, and what this program wrote, are passed over"):
        find_photos(tmp_path)


def test_a_folders_kind_is_not_told_by_what_is_hidden(tmp_path: Path) -> None:
    photos(tmp_path)
    everywhere(tmp_path / ".trash", picture)
    assert SourceName.parse(str(tmp_path)).kind == "photos"


def test_images_come_sorted_by_path(tmp_path: Path) -> None:
    for name in ("b.png", "a/z.png", "a.png", "c/d/1.png"):
        picture(tmp_path / name)
    found = [path.relative_to(tmp_path).as_posix() for path in images_below(tmp_path)]
    assert found == ["a/z.png", "a.png", "b.png", "c/d/1.png"]
    assert os.path.commonpath(images_below(tmp_path)) == str(tmp_path)
