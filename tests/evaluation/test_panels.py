"""Panels: pixels untouched, in their places."""

import numpy as np

from deblur.evaluation.panels import CAPTION_PX, GAP_PX, side_by_side, stacked
from deblur.images import centre_crop

IMAGES = [np.full((20, 30, 3), value, np.uint8) for value in (10, 120, 250)]


def test_images_stand_side_by_side_at_their_own_pixels() -> None:
    panel = np.asarray(side_by_side(IMAGES, ["a", "b", "c"]))
    for i, image in enumerate(IMAGES):
        left = GAP_PX + i * (30 + GAP_PX)
        assert np.array_equal(panel[CAPTION_PX : CAPTION_PX + 20, left : left + 30], image)
    assert panel[:CAPTION_PX].max() > 200, "captions are drawn"


def test_a_caption_longer_than_its_image_makes_room() -> None:
    plain, wide = (side_by_side(IMAGES, ["a", caption, "c"]) for caption in ("b", "before training: 22.29 dB"))
    assert wide.width > plain.width + 80


def test_panels_are_stacked() -> None:
    panel = side_by_side(IMAGES, ["a", "b", "c"])
    sheet = stacked([panel, panel])
    assert sheet.size == (panel.width, 2 * panel.height)
    assert np.array_equal(np.asarray(sheet)[panel.height :], np.asarray(panel))


def test_the_centre_is_the_centre() -> None:
    image = np.arange(100, dtype=np.uint8).reshape(10, 10, 1).repeat(3, axis=2)
    assert centre_crop(image, 4)[0, 0, 0] == 33
    assert centre_crop(image, 40).shape == (10, 10, 3)
