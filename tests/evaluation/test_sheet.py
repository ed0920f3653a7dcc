"""Sheets of models: whole pictures are restored, their middles are shown, figures are of the whole."""

import numpy as np
import pytest
from numpy.typing import NDArray

from deblur.data.photos import SharpPhoto
from deblur.evaluation.panels import CAPTION_PX, GAP_PX
from deblur.evaluation.references import unsharp
from deblur.evaluation.sheet import compared, drawn
from deblur.evaluation.ways import timed
from deblur.images import Pixels, centre_crop, from_rgb8, to_rgb8
from deblur.metrics import psnr_db
from deblur.synthesis.frozen import degraded


def untouched(pixels: Pixels) -> Pixels:
    return pixels


MODELS = {"unsharp": timed(unsharp), "untouched": timed(untouched)}


@pytest.fixture(scope="module")
def photo(photos: dict[str, SharpPhoto]) -> NDArray[np.uint8]:
    return photos["coffee"].pixels[50:250, 80:320]


def test_a_blurred_photo_stands_before_each_result(photo: NDArray[np.uint8]) -> None:
    row = compared("coffee.png", photo, MODELS, crop_px=150)
    assert row.captions == ["coffee.png, before", "unsharp", "untouched"]
    whole = to_rgb8(unsharp(from_rgb8(photo)))
    for crop, expected in zip(row.crops, (photo, whole, photo), strict=True):
        assert np.array_equal(crop, centre_crop(expected, 150))


def test_a_sharp_photo_is_degraded_and_every_figure_is_of_the_whole(photo: NDArray[np.uint8]) -> None:
    row = compared("coffee.png", photo, MODELS, kernel=7, noise_levels=2, crop_px=150)
    before = degraded(photo, 7, 2)
    db = psnr_db(before, photo)
    assert row.captions[:2] == ["coffee.png, sharp", f"kernel 7 (shake, 8 px), noise 2: {db:.2f} dB"]
    restored_db = psnr_db(to_rgb8(unsharp(from_rgb8(before))), photo)
    assert row.captions[2:] == [f"unsharp: {restored_db:.2f} dB", f"untouched: {db:.2f} dB"]
    assert np.array_equal(row.crops[1], centre_crop(before, 150))


def test_the_sheet_has_a_row_for_each_picture_at_its_own_pixels(photo: NDArray[np.uint8]) -> None:
    rows = [compared(name, photo, {"untouched": timed(untouched)}, noise_levels=3, crop_px=200) for name in ("a", "b")]
    assert rows[0].captions[1].startswith("noise 3: ")
    sheet = drawn(rows)
    assert sheet.size == (3 * 200 + 4 * GAP_PX, 2 * (CAPTION_PX + 200 + GAP_PX))
    left = 2 * GAP_PX + 200
    second = np.asarray(sheet)[CAPTION_PX + 200 + GAP_PX :]
    assert np.array_equal(second[CAPTION_PX : CAPTION_PX + 200, left : left + 200], rows[1].crops[1])
