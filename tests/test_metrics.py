"""Reported figures, against their definitions."""

import numpy as np
import pytest

from deblur.metrics import PSNR_OF_EQUAL_DB, mean_interval, psnr_db, ssim

RNG = np.random.default_rng(0)
SHARP = RNG.integers(0, 256, (40, 50, 3), dtype=np.uint8)


def test_psnr_is_its_definition() -> None:
    noisy = np.clip(SHARP.astype(int) + RNG.integers(-9, 10, SHARP.shape), 0, 255).astype(np.uint8)
    mse = ((noisy.astype(float) - SHARP) ** 2).mean()
    assert psnr_db(noisy, SHARP) == pytest.approx(10 * np.log10(255**2 / mse))


def test_equal_images_get_figures_that_can_be_averaged() -> None:
    assert psnr_db(SHARP, SHARP) == PSNR_OF_EQUAL_DB
    assert ssim(SHARP, SHARP) == pytest.approx(1)


def test_the_interval_is_students() -> None:
    """scipy's own interval of the same values; t(0.975, 3) = 3.1824."""
    interval = mean_interval([1.0, 2.0, 3.0, 4.0])
    assert interval.mean == 2.5
    assert interval.half_width == pytest.approx(3.18245 * np.std([1, 2, 3, 4], ddof=1) / 2, rel=1e-4)
    assert interval.above_zero
    assert not mean_interval([-1.0, 2.0]).above_zero
    assert not mean_interval([5.0]).above_zero, "one image proves nothing"
