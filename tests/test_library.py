"""``deblur.restore``: what comes in comes out, the same kind, and the same pixels whatever the kind."""

import subprocess
import sys
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import deblur
from deblur.errors import ModelError, UnreadablePhoto, UnsupportedPhoto
from deblur.images import decode
from deblur.inference.model_folder import Model
from deblur.inference.photo import restore_photo
from tests.kinds import png16

RGB = np.random.default_rng(4).integers(0, 256, (90, 120, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def model(model_folder: Path) -> Model:
    return deblur.open_model(model_folder, engine="onnxruntime")


@pytest.fixture(scope="module")
def expected(model: Model) -> np.ndarray:
    photo, _ = restore_photo(model, png(RGB))
    return photo.rgb


def png(pixels: np.ndarray) -> bytes:
    stream = BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def test_every_kind_comes_back_as_itself(model: Model, expected: np.ndarray, tmp_path: Path) -> None:
    given = RGB.copy()
    array = deblur.restore(given, model)
    assert isinstance(array, np.ndarray)
    assert np.array_equal(array, expected)
    assert np.array_equal(given, RGB), "what came in is left as it is"
    array[0, 0] = 1  # it belongs to the caller

    data = deblur.restore(png(RGB), model)
    assert isinstance(data, bytes)
    assert deblur.restore(bytearray(png(RGB)), model) == data
    with Image.open(BytesIO(data)) as answered:
        assert answered.format == "PNG"
        assert np.array_equal(np.asarray(answered), expected)

    image = deblur.restore(Image.fromarray(RGB), model)
    assert isinstance(image, Image.Image)
    assert np.array_equal(np.asarray(image), expected)

    (tmp_path / "photo.png").write_bytes(png(RGB))
    for path in (tmp_path / "photo.png", str(tmp_path / "photo.png")):
        assert np.array_equal(np.asarray(deblur.restore(path, model)), expected)


def test_strength_zero_changes_nothing(model: Model) -> None:
    assert np.array_equal(deblur.restore(RGB, model, strength=0.0), RGB)


def test_alpha_and_grey_survive(model: Model) -> None:
    alpha = np.dstack([RGB, np.arange(120, dtype=np.uint8) + np.zeros((90, 1), np.uint8)])
    restored = deblur.restore(alpha, model)
    assert restored.shape == alpha.shape
    assert np.array_equal(restored[..., 3], alpha[..., 3])
    assert deblur.restore(RGB[..., 0], model).shape == (90, 120)
    assert deblur.restore(Image.fromarray(RGB).convert("LA"), model).mode == "LA"


def test_arrays_and_bytes_of_16_bits_stay_so(model: Model, expected: np.ndarray) -> None:
    deep = RGB.astype(np.uint16) * 257
    alpha = np.dstack([deep, np.arange(120, dtype=np.uint16) + np.zeros((90, 1), np.uint16)])
    restored = deblur.restore(alpha, model)
    assert restored.dtype == np.uint16
    assert np.array_equal(np.rint(restored[..., :3] / 257), expected)
    assert np.array_equal(restored[..., 3], alpha[..., 3])
    assert np.array_equal(deblur.restore(deep[..., 0], model, strength=0.0), deep[..., 0])
    answer = deblur.restore(png16(deep, 2), model)
    assert np.array_equal(decode(answer).rgb, restored[..., :3])


def test_an_image_keeps_its_profile_and_is_turned_upright_without_being_touched(model: Model) -> None:
    image = Image.fromarray(RGB)
    image.info["icc_profile"] = b"a profile"
    image.getexif()[0x0112] = 6
    restored = deblur.restore(image, model)
    assert restored.size == (90, 120)
    assert image.size == (120, 90)
    assert restored.info["icc_profile"] == b"a profile"


def test_what_cannot_be_restored_is_told(model: Model, tmp_path: Path) -> None:
    for wrong in (RGB.astype(np.float32) / 255, RGB[..., :2], RGB[0, 0], RGB[None]):
        with pytest.raises(UnsupportedPhoto, match="allowed are uint8 and uint16 arrays"):
            deblur.restore(wrong, model)  # type: ignore[type-var]
    for empty in (np.zeros((5, 0), np.uint8), np.zeros((0, 5, 3), np.uint8), Image.new("RGB", (0, 5))):
        with pytest.raises(UnsupportedPhoto, match=r"0 x 5|5 x 0"):
            deblur.restore(empty, model)
    with pytest.raises(UnsupportedPhoto, match="mode F"):
        deblur.restore(Image.fromarray(RGB[..., 0].astype(np.float32)), model)
    with pytest.raises(UnreadablePhoto):
        deblur.restore(b"no image", model)
    with Image.open(BytesIO(png(RGB)[:2000])) as cut, pytest.raises(UnreadablePhoto, match="cut short"):
        deblur.restore(cut, model)
    with pytest.raises(ModelError, match="not a model folder"):
        deblur.restore(RGB, tmp_path)


def test_by_default_the_bundled_model_restores_without_torch_and_mlflow(tmp_path: Path) -> None:
    code = (
        "import sys, numpy, pathlib, deblur, deblur.project\n"
        f"deblur.project.root = lambda: pathlib.Path({str(tmp_path)!r})\n"  # where no demo has left a registry
        "photo = numpy.zeros((64, 64, 3), 'u1'); restored = deblur.restore(photo)\n"
        "print(restored.shape, sorted({'torch', 'mlflow', 'tyro', 'rich', 'starlette'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "(64, 64, 3) []"


def test_other_names_are_no_part_of_it() -> None:
    with pytest.raises(AttributeError, match="no attribute 'sharpen'"):
        _ = deblur.sharpen
