"""Reported figures, against their definitions."""

import numpy as np
import pytest

from deblur.metrics import PSNR_OF_EQUAL_DB, psnr_db, ssim

RNG = np.random.default_rng(0)
SHARP = RNG.integers(0, 256, (40, 50, 3), dtype=np.uint8)


def test_psnr_is_its_definition() -> None:
    noisy = np.clip(SHARP.astype(int) + RNG.integers(-9, 10, SHARP.shape), 0, 255).astype(np.uint8)
    mse = ((noisy.astype(float) - SHARP) ** 2).mean()
    assert psnr_db(noisy, SHARP) == pytest.approx(10 * np.log10(255**2 / mse))


def test_equal_images_get_figures_that_can_be_averaged() -> None:
    assert psnr_db(SHARP, SHARP) == PSNR_OF_EQUAL_DB
    assert ssim(SHARP, SHARP) == pytest.approx(1)
