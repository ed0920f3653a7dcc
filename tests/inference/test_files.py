"""Photos on disk: nothing overwritten, nothing half-written, one bad file stops no other."""

import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from deblur import image_limits, images
from deblur.errors import FolderInUse, PhotoTooLarge, RequestError, SettingError
from deblur.files import sole_user
from deblur.inference import files
from deblur.inference.locating import bundled_model
from deblur.inference.model_folder import Model, read_info
from deblur.inference.restorer import Restorer
from deblur.inference.tiling import Tiling

MODEL = Model(read_info(bundled_model() or Path()), Restorer(lambda tiles: 1 - tiles, Tiling(64, 16)))
restore_file = partial(files.restore_file, guarded=False)  # a negative is broken, of course
restore_folder = partial(files.restore_folder, guarded=False)
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


@pytest.mark.parametrize("folder", ["there", "new/deep/"])
def test_one_photo_goes_into_a_folder_under_its_own_name(photo: Path, tmp_path: Path, folder: str) -> None:
    (tmp_path / "there").mkdir()
    output = restore_file(MODEL, photo, f"{tmp_path}/{folder}")
    assert output == tmp_path / folder / "my photo.png"
    assert np.array_equal(read(output), 255 - RGB)
    with pytest.raises(SettingError, match="photo itself"):
        restore_file(MODEL, photo, tmp_path, overwrite=True)


def test_a_result_is_called_what_it_is(tmp_path: Path) -> None:
    for name, image_format in (
        ("a.jpg", "WEBP"),
        ("b.png", "JPEG"),
        ("c.JFIF", "JPEG"),
        ("d.jpe", "JPEG"),
        ("e", "BMP"),
    ):
        Image.fromarray(RGB).save(tmp_path / name, image_format)
        output = restore_file(MODEL, tmp_path / name, f"{tmp_path}/out/")
        with Image.open(output) as image:
            assert image.format == {"e": "PNG"}.get(name, image_format)
    names = sorted(path.name for path in (tmp_path / "out").glob("[!.]*"))
    assert names == ["a.jpg.webp", "b.png.jpg", "c.JFIF", "d.jpe", "e.png"]


def test_what_may_not_fit_into_memory_is_tried_if_allowed(photo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_limits, "available_memory", lambda: 1000.0)
    with pytest.raises(PhotoTooLarge, match=r"^'.*/my photo.png': The image is 40 x 30.* \(large\)\.$"):
        restore_file(MODEL, photo)
    (report,) = restore_folder(MODEL, photo.parent)
    assert "(large)" in (report.trouble or "")
    (report,) = restore_folder(MODEL, photo.parent, large=True)
    assert report.trouble is None
    assert np.array_equal(read(restore_file(MODEL, photo, large=True)), 255 - RGB)


def test_a_photo_for_which_memory_ends_stops_no_other(photo: Path) -> None:
    def out_of_memory(tiles: np.ndarray) -> np.ndarray:
        raise MemoryError

    model = Model(MODEL.info, Restorer(out_of_memory, Tiling(64, 16)))
    Image.fromarray(RGB).save(photo.with_name("other.png"))
    troubles = [report.trouble or "" for report in restore_folder(model, photo.parent)]
    assert ["memory" in trouble for trouble in troubles] == [True, True]
    assert not list((photo.parent.parent / f"{photo.parent.name}.deblurred").glob("[!.]*"))


def test_a_photo_that_the_format_cannot_hold_costs_no_work_and_leaves_nothing_behind(tmp_path: Path) -> None:
    idle = Model(MODEL.info, Restorer(lambda tiles: pytest.fail("it was restored"), Tiling(64, 16)))
    photo = tmp_path / "wide.png"
    Image.new("RGB", (16_384, 1)).save(photo)
    with pytest.raises(RequestError, match="16383"):
        restore_file(idle, photo, tmp_path / "wide.webp")
    assert [p.name for p in tmp_path.iterdir()] == ["wide.png"]


def test_a_folder_is_never_restored_into_itself(tmp_path: Path) -> None:
    """The result of x.gif would replace the photo x.gif.png."""
    for name, pixels in (("x.gif", RGB), ("x.gif.png", 255 - RGB)):
        Image.fromarray(pixels).save(tmp_path / name)
    with pytest.raises(SettingError, match="folder of the photos"):
        restore_folder(MODEL, tmp_path, tmp_path, overwrite=True)
    assert np.array_equal(read(tmp_path / "x.gif.png"), 255 - RGB)


def test_two_at_once_do_not_write_into_each_others_results(photo: Path, tmp_path: Path) -> None:
    """They would write the same half file: one of them would rename it while the other still writes."""
    out = tmp_path / "out"
    out.mkdir()
    with sole_user(out, "", files.LOCK), pytest.raises(FolderInUse, match=r"Another process restores into .*out\."):
        restore_folder(MODEL, photo.parent, out)
    assert restore_folder(MODEL, photo.parent, out)[0].output == out / photo.name


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
    assert "broken.jpg" not in (reports[-1].trouble or ""), "the report has its name already"
    assert sorted(p.name for p in (tmp_path / "photos.deblurred").glob("[!.]*")) == ["a.gif.png", "a.png", "a.webp"]


def test_what_is_there_already_is_neither_decoded_nor_trouble(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for name, image_format in (("a.png", "PNG"), ("b.png", "JPEG"), ("c.gif", "GIF"), ("c.gif.png", "PNG")):
        Image.fromarray(RGB).save(folder / name, image_format)
    first = restore_folder(MODEL, folder)
    assert [report.there for report in first] == [False] * 4
    assert "another photo" in (first[3].trouble or "")
    Image.fromarray(RGB).save(folder / "d.png")
    decoded, real = [], images.decode
    monkeypatch.setattr(images, "decode", lambda data, limits: decoded.append(data) or real(data, limits))
    again = restore_folder(MODEL, folder)
    assert [(report.output, report.there) for report in again[:3]] == [(report.output, True) for report in first[:3]]
    assert again[3] == first[3], "what is there is not its own"
    assert (again[4].output, again[4].there) == (tmp_path / "photos.deblurred" / "d.png", False)
    assert decoded == [(folder / "d.png").read_bytes()]
    assert not any(report.there for report in restore_folder(MODEL, folder, overwrite=True))


def test_a_result_of_another_folder_is_not_taken_for_the_photos_own(tmp_path: Path) -> None:
    """Two cards of one camera hold photos of the same names."""
    for i, folder in enumerate(("first", "second", "moved")):
        (tmp_path / folder).mkdir()
        Image.fromarray(RGB + np.uint8(i)).save(tmp_path / folder / "a.png")
    out = tmp_path / "out"
    restore_folder(MODEL, tmp_path / "first", out)
    for _ in range(2):
        (report,) = restore_folder(MODEL, tmp_path / "second", out)
        assert (report.output, report.there) == (None, False)
        assert "out/a.png is the result of another photo" in (report.trouble or "")
    shutil.copy(tmp_path / "first" / "a.png", tmp_path / "moved")
    (report,) = restore_folder(MODEL, tmp_path / "moved", out)
    assert (report.trouble, report.there) == (None, True), "it is the same photo, wherever it lies now"
    (report,) = restore_folder(MODEL, tmp_path / "second", out, overwrite=True)
    assert np.array_equal(read(out / "a.png"), 254 - RGB)
    assert [restore_folder(MODEL, tmp_path / each, out)[0].there for each in ("first", "second")] == [False, True]
    (out / "a.png").unlink()
    assert restore_folder(MODEL, tmp_path / "first", out)[0].output == out / "a.png"


def test_no_photo_of_a_folder_is_passed_over_without_a_word(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "notes.txt").write_text("not a photo")
    with pytest.raises(SettingError, match=r"photos holds no photos \(\.jpg, "):
        restore_folder(MODEL, folder)
    assert not (tmp_path / "photos.deblurred").exists()
    for name, image_format in (("a.jfif", "JPEG"), ("b.JPE", "JPEG"), ("c.avif", "AVIF"), ("e.nef", "TIFF")):
        Image.fromarray(RGB).save(folder / name, image_format)
    (folder / "d.HEIC").write_bytes(b"\0\0\0\x18ftypheic" + bytes(100))
    (folder / "f.jxl").write_bytes(b"\xff\x0a")
    reports = restore_folder(MODEL, folder)
    assert [r.output.name for r in reports if r.output] == ["a.jfif", "b.JPE", "c.avif.jpg"]
    troubles = {r.photo.name: r.trouble for r in reports if r.trouble}
    assert list(troubles) == ["d.HEIC", "e.nef", "f.jxl"]
    assert "HEIC" in str(troubles["d.HEIC"])
    assert "RAW" in str(troubles["e.nef"])
    assert "JPEG XL" in str(troubles["f.jxl"])


def test_results_in_a_folder_are_not_restored_again(photo: Path, caplog: pytest.LogCaptureFixture) -> None:
    restore_file(MODEL, photo)
    (report,) = restore_folder(MODEL, photo.parent)
    assert report.photo == photo
    assert caplog.messages == [f"{photo.parent}: results are passed over (NAME.deblurred.EXT): 1."]
    photo.unlink()
    with pytest.raises(SettingError, match="and results do not count"):
        restore_folder(MODEL, photo.parent)


def test_of_several_pages_the_first_is_restored_at_its_depth_with_a_word(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    deep = RGB.astype(np.uint16) * 257 + 1
    path = tmp_path / "scan.tif"
    tifffile.imwrite(path, np.stack([deep, deep[::-1]]), photometric="rgb")
    restored = images.read(restore_file(MODEL, path))
    assert restored.frames == 1
    assert np.array_equal(restored.rgb, 65_535 - deep)
    assert "first of its 2 frames" in caplog.text


def test_what_the_model_broke_stays_with_a_word(photo: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert np.array_equal(read(files.restore_file(MODEL, photo)), RGB)
    assert "my photo.png': the model broke 100 % of it" in caplog.text
