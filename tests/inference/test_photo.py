"""One photo through a model: bytes or a decoded photo in, the same pixels at every door, and what was done."""

from pathlib import Path

import numpy as np
import pytest

from deblur.errors import PhotoTooLarge, RequestError, UnreadablePhoto
from deblur.image_limits import DecodeLimits
from deblur.images import Photo, encode, from_rgb8, to_rgb8
from deblur.inference.model_folder import Model, open_model
from deblur.inference.onnx_runtime import OnnxEngine
from deblur.inference.photo import restore_photo

RGB = np.random.default_rng(1).integers(0, 256, (150, 200, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def model(model_folder: Path) -> Model:
    return open_model(model_folder, OnnxEngine)


def test_bytes_and_decoded_pixels_come_out_alike(model: Model) -> None:
    of_bytes, outcome = restore_photo(model, encode(Photo(RGB)))
    in_place = Photo(RGB.copy())
    of_photo, again = restore_photo(model, in_place)
    assert of_photo is in_place
    assert np.array_equal(of_bytes.rgb, of_photo.rgb)
    unguarded, plainly = restore_photo(model, Photo(RGB.copy()), guarded=False)
    assert np.array_equal(unguarded.rgb, to_rgb8(model.restorer(from_rgb8(RGB))))
    assert not np.array_equal(unguarded.rgb, RGB)
    assert (outcome.height_px, outcome.width_px) == (150, 200)
    assert outcome.tiles == again.tiles == len(model.restorer.plan(RGB)) > 1
    assert outcome.model == "tiny"
    assert (outcome.replaced, outcome.left_alone) == (again.replaced, again.left_alone)
    assert (plainly.replaced, plainly.left_alone) == (0, 0)
    assert outcome.seconds.keys() == {"decode", "restore"}
    assert again.seconds.keys() == {"restore"}
    assert 0 < outcome.seconds["restore"] < 60


def test_strength_limits_and_a_stop_are_obeyed(model: Model) -> None:
    untouched, _ = restore_photo(model, encode(Photo(RGB)), 0.0)
    assert np.array_equal(untouched.rgb, RGB)
    with pytest.raises(RequestError, match="strength is 2"):
        restore_photo(model, Photo(RGB.copy()), 2.0)
    with pytest.raises(PhotoTooLarge, match=r"allowed are 0\.01 megapixels"):
        restore_photo(model, encode(Photo(RGB)), limits=DecodeLimits(megapixels=0.01))
    with pytest.raises(UnreadablePhoto):
        restore_photo(model, b"no image")
    tiles: list[tuple[int, int]] = []
    restore_photo(model, Photo(RGB.copy()), on_tile=lambda done, total: tiles.append((done, total)))
    assert tiles == [(n + 1, len(tiles)) for n in range(len(tiles))]

    def stop() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        restore_photo(model, Photo(RGB.copy()), check=stop)
