"""Sets that are reported on: scenes, fingerprints, sharp photographs, and grids of degradations."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deblur.data.report_sets import grid_of, open_report_sets
from deblur.data.scenes import write_scenes
from deblur.errors import DataError, SettingError
from deblur.images import centre_crop, read_rgb8
from deblur.synthesis.frozen import degraded


@pytest.fixture
def photo_folder(tmp_path: Path, pair_folder: Path) -> Path:
    shutil.copytree(pair_folder / "sharp", tmp_path / "photos")
    return tmp_path / "photos"


def test_pairs_with_their_scenes_and_a_fingerprint(pair_folder: Path, tmp_path: Path) -> None:
    (found,) = open_report_sets([str(pair_folder)])
    assert (len(found.pairs), found.sharp) == (6, False)
    assert list(found.scenes) == ["astronaut", "camera", "chelsea", "china", "coffee", "rocket"]
    assert found.fingerprint == open_report_sets([str(pair_folder)])[0].fingerprint
    copy = tmp_path / "copy"
    shutil.copytree(pair_folder, copy)
    assert open_report_sets([str(copy)])[0].fingerprint == found.fingerprint, "where it lies says nothing"
    Image.fromarray(np.zeros_like(found.pairs[3].load()[0])).save(copy / "blur" / "china.png")
    assert open_report_sets([str(copy)])[0].fingerprint != found.fingerprint


def test_a_table_tells_the_scenes(pair_folder: Path, tmp_path: Path) -> None:
    names = [f"{name}.png" for name in ("astronaut", "camera", "chelsea", "china", "coffee", "rocket")]
    table = tmp_path / "scenes.csv"
    table.write_text("name,scene\n" + "".join(f"{name},{'in' if i < 3 else 'out'}\n" for i, name in enumerate(names)))
    (found,) = open_report_sets([str(pair_folder)], table)
    assert list(found.scenes) == ["in", "in", "in", "out", "out", "out"]
    table.write_text(table.read_text().removeprefix("name,scene\n"), encoding="utf-8-sig")
    assert open_report_sets([str(pair_folder)], table)[0].scenes == found.scenes, "as spreadsheets write it"
    table.write_text("astronaut.png,in\n")
    with pytest.raises(DataError, match=r"lacks 5 of 6 images, such as camera\.png"):
        open_report_sets([str(pair_folder)], table)
    table.write_text("astronaut.png\n")
    with pytest.raises(DataError, match="give lines of NAME,SCENE"):
        open_report_sets([str(pair_folder)], table)


def test_a_table_beside_photographs_tells_the_scenes(photo_folder: Path) -> None:
    """Which a grid draws."""
    names = sorted(file.name for file in photo_folder.iterdir())
    write_scenes(photo_folder, {name: "in" if i < 3 else "out" for i, name in enumerate(names)})
    (photos,) = open_report_sets([f"photos:{photo_folder}"])
    assert sorted(photos.scenes) == ["in", "in", "in", "out", "out", "out"]
    assert grid_of([photos], "kernel=3")[0].scenes == photos.scenes


def test_images_that_cannot_be_scored_are_all_named_before_any_work(pair_folder: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(pair_folder, tmp_path / "pairs")
    whole = (folder / "blur" / "camera.png").read_bytes()
    (folder / "blur" / "camera.png").write_bytes(whole[: len(whole) // 2])
    Image.new("RGB", (7, 5)).save(folder / "sharp" / "china.png")
    for side in ("blur", "sharp"):
        Image.new("RGB", (40, 10)).save(folder / side / "rocket.png")
    with pytest.raises(DataError) as raised:
        open_report_sets([str(folder)])
    for told in ("3 of 6 images", "camera.png", "differ in size", "rocket.png: it has a side of 10 px", "Mend"):
        assert told in str(raised.value)


def test_what_holds_no_fixed_images_is_refused(pair_folder: Path) -> None:
    with pytest.raises(SettingError, match="data is needed"):
        open_report_sets([])
    with pytest.raises(SettingError, match="'deblur synth leaves FOLDER' saves a set"):
        open_report_sets(["leaves"])
    for again in (str(pair_folder), f"pairs:{pair_folder}"):
        with pytest.raises(SettingError, match="same images, which would count twice"):
            open_report_sets([str(pair_folder), again])


def test_photographs_are_sharp_until_they_are_degraded(photo_folder: Path) -> None:
    (sharp,) = open_report_sets([f"photos:{photo_folder}"])
    assert sharp.sharp
    blurry, same = sharp.pairs[0].load()
    assert np.array_equal(blurry, same)
    grid = grid_of([sharp], "noise=0,5 kernel=3,12 size=64")
    told = ["kernel 3, 64 px", "kernel 3, noise 5, 64 px", "kernel 12, 64 px", "kernel 12, noise 5, 64 px"]
    assert [each.name for each in grid] == told
    assert len({each.fingerprint for each in grid}) == 4
    assert not any(each.sharp for each in grid)
    before, reference = grid[3].pairs[1].load()
    photo = centre_crop(read_rgb8(photo_folder / "camera.png"), 64)
    assert np.array_equal(reference, photo)
    assert np.array_equal(before, degraded(photo, 12, 5, seed=1)), "the same for every model, on every day"


@pytest.mark.parametrize(
    ("wanted", "told"),
    [
        ("noise=five", "lists of whole numbers"),
        ("blur=3", "lists of whole numbers"),
        ("kernel=24", "numbered 0 to 23"),
        ("size=8", "the smallest is 11 px"),
        ("noise=-5", "the least is 0"),
        ("kernel=3,12 kernel=3", "a kernel twice"),
    ],
)
def test_a_grid_that_makes_no_sense(photo_folder: Path, wanted: str, told: str) -> None:
    with pytest.raises(SettingError, match=told):
        grid_of(open_report_sets([f"photos:{photo_folder}"]), wanted)


def test_pairs_are_not_degraded_again(pair_folder: Path) -> None:
    with pytest.raises(SettingError, match="holds pairs"):
        grid_of(open_report_sets([str(pair_folder)]), "kernel=3")
