"""Panels: pixels untouched, in their places."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deblur.errors import DiskFull, SettingError
from deblur.evaluation.panels import CAPTION_PX, GAP_PX, save, side_by_side, stacked
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


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a disk that is always full")
def test_a_picture_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.png.part").symlink_to("/dev/full")
    with pytest.raises(DiskFull, match=r"a\.png cannot be written"):
        save(side_by_side(IMAGES, ["a", "b", "c"]), tmp_path / "a.png")
    with pytest.raises(SettingError, match="10 x 65501 px, and a JPEG at most 65500 a side"):
        save(Image.new("RGB", (10, 65_501)), tmp_path / "long.jpg")
    assert not list(tmp_path.iterdir())
