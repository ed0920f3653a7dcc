"""The best shift is found, sub-pixel, and never makes a figure worse."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from scipy.ndimage import shift as spline_shift

from deblur.data.photos import SharpPhoto
from deblur.errors import DataError
from deblur.evaluation.alignment import align


@pytest.fixture
def sharp(photos: dict[str, SharpPhoto]) -> np.ndarray:
    return photos["astronaut"].pixels[60:260, 100:340]


def moved(image: np.ndarray, dy: float, dx: float) -> np.ndarray:
    shifted = spline_shift(image.astype(float), (dy, dx, 0), order=3, mode="nearest")
    return np.rint(np.clip(shifted, 0, 255)).astype(np.uint8)


@pytest.mark.parametrize("by_px", [(0.0, 0.0), (3.0, -2.0), (0.5, 0.25), (-1.7, 4.3), (5.6, -5.9)])
def test_a_known_shift_is_found_and_undone(sharp: np.ndarray, by_px: tuple[float, float]) -> None:
    aligned = align(moved(sharp, *by_px), sharp)
    assert (aligned.dy_px, aligned.dx_px) == pytest.approx((-by_px[0], -by_px[1]), abs=0.02)
    assert aligned.psnr_db > 38


def test_blur_is_not_mistaken_for_displacement(sharp: np.ndarray) -> None:
    blurry = gaussian_filter(sharp.astype(float), (2, 2, 0)).astype(np.uint8)
    here, there = align(blurry, sharp), align(moved(blurry, 1.5, -0.5), sharp)
    assert (here.dy_px, here.dx_px) == pytest.approx((0, 0), abs=0.05)
    assert there.psnr_db == pytest.approx(here.psnr_db, abs=0.1)


def test_fine_texture_is_not_overshot(photos: dict[str, SharpPhoto]) -> None:
    """Its slopes are steeper than differences tell: undamped steps go to and fro, and 1.6 dB were lost."""
    sharp = photos["china"].pixels[85:341, 192:448]
    blurry = moved(gaussian_filter(sharp.astype(float), (1, 1, 0)), -4.86, 0.325)
    aligned = align(blurry, sharp)
    assert (aligned.dy_px, aligned.dx_px) == pytest.approx((4.86, -0.325), abs=0.1)
    assert aligned.psnr_db == pytest.approx(align(moved(blurry, 4.86, -0.325), sharp).psnr_db, abs=0.3)


def test_it_is_never_worse_than_as_it_comes(sharp: np.ndarray) -> None:
    """Where there is nothing to hold on to: noise, flat, stripes, inverted."""
    rng = np.random.default_rng(0)
    noise, flat = rng.integers(0, 256, sharp.shape, dtype=np.uint8), np.full_like(sharp, 90)
    stripes = np.broadcast_to((np.arange(sharp.shape[1]) % 16 * 16).astype(np.uint8)[None, :, None], sharp.shape)
    for image in (noise, flat, stripes, 255 - sharp):
        for reference in (sharp, flat, stripes):
            aligned = align(image, reference)
            assert np.isfinite(aligned.psnr_db)
            assert aligned.psnr_db >= align(image, reference, most_px=0).psnr_db - 0.2
            assert max(abs(aligned.dy_px), abs(aligned.dx_px)) <= 6
    assert align(sharp, sharp).psnr_db == 100


def test_small_images_are_refused(sharp: np.ndarray) -> None:
    with pytest.raises(DataError, match="at least 32 px"):
        align(sharp[:31], sharp[:31])
