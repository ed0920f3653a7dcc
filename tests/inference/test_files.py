"""Photos on disk: nothing overwritten, nothing half-written, one bad file stops no other."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deblur.errors import RequestError, SettingError
from deblur.inference.files import restore_file, restore_folder
from deblur.inference.locating import bundled_model
from deblur.inference.model_folder import Model, read_info
from deblur.inference.restorer import Restorer
from deblur.inference.tiling import Tiling

MODEL = Model(read_info(bundled_model() or Path()), Restorer(lambda tiles: 1 - tiles, Tiling(64, 16)))
RGB = np.random.default_rng(2).integers(0, 256, (30, 40, 3), dtype=np.uint8)


def read(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "my photo.png"
    Image.fromarray(RGB).save(path)
    return path


def test_it_lies_beside_the_photo_unless_said_otherwise(photo: Path) -> None:
    output = restore_file(MODEL, photo)
    assert output == photo.with_name("my photo.deblurred.png")
    assert np.array_equal(read(output), 255 - RGB)
    assert np.array_equal(read(photo), RGB)
    assert sorted(p.name for p in photo.parent.iterdir()) == ["my photo.deblurred.png", "my photo.png"]


def test_nothing_is_overwritten_unless_asked(photo: Path) -> None:
    output = restore_file(MODEL, photo)
    before = output.stat().st_mtime_ns
    with pytest.raises(SettingError, match="overwrite"):
        restore_file(MODEL, photo)
    assert output.stat().st_mtime_ns == before
    assert restore_file(MODEL, photo, overwrite=True) == output
    with pytest.raises(SettingError, match="photo itself"):
        restore_file(MODEL, photo, photo, overwrite=True)


def test_the_suffix_decides_the_format(photo: Path, tmp_path: Path) -> None:
    output = restore_file(MODEL, photo, tmp_path / "new" / "out.JPG")
    with Image.open(output) as image:
        assert image.format == "JPEG"
    with pytest.raises(SettingError, match="suffix"):
        restore_file(MODEL, photo, tmp_path / "out.xyz")


def test_a_photo_that_the_format_cannot_hold_leaves_nothing_behind(tmp_path: Path) -> None:
    photo = tmp_path / "wide.png"
    Image.new("RGB", (16_384, 1)).save(photo)
    with pytest.raises(RequestError, match="16383"):
        restore_file(MODEL, photo, tmp_path / "wide.webp")
    assert [p.name for p in tmp_path.iterdir()] == ["wide.png"]


def test_a_folder_is_never_restored_into_itself(tmp_path: Path) -> None:
    """The result of x.gif would replace the photo x.gif.png."""
    for name, pixels in (("x.gif", RGB), ("x.gif.png", 255 - RGB)):
        Image.fromarray(pixels).save(tmp_path / name)
    with pytest.raises(SettingError, match="folder of the photos"):
        restore_folder(MODEL, tmp_path, tmp_path, overwrite=True)
    assert np.array_equal(read(tmp_path / "x.gif.png"), 255 - RGB)


def test_a_folder_is_restored_around_its_bad_files(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    Image.fromarray(RGB).save(folder / "a.png")
    Image.fromarray(RGB).save(folder / "a.webp", lossless=True)
    Image.fromarray(RGB).save(folder / "a.gif")
    (folder / "broken.jpg").write_bytes(b"\xff\xd8 no")
    (folder / "notes.txt").write_text("not a photo")
    reports = restore_folder(MODEL, folder)
    assert [r.photo.name for r in reports if r.trouble] == ["broken.jpg"]
    assert sorted(p.name for p in (tmp_path / "photos.deblurred").iterdir()) == ["a.gif.png", "a.png", "a.webp"]
    assert all("exists" in (r.trouble or "") or r.photo.name == "broken.jpg" for r in restore_folder(MODEL, folder))
