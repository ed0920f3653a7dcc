"""Reported figures, against their definitions."""

import numpy as np
import pytest
import torch

from deblur.losses.ms_ssim import ms_ssim as ms_ssim_in_torch
from deblur.metrics import PSNR_OF_EQUAL_DB, ms_ssim, psnr_db, ssim

RNG = np.random.default_rng(0)
SHARP = RNG.integers(0, 256, (40, 50, 3), dtype=np.uint8)


def test_psnr_is_its_definition() -> None:
    noisy = np.clip(SHARP.astype(int) + RNG.integers(-9, 10, SHARP.shape), 0, 255).astype(np.uint8)
    mse = ((noisy.astype(float) - SHARP) ** 2).mean()
    assert psnr_db(noisy, SHARP) == pytest.approx(10 * np.log10(255**2 / mse))


def test_equal_images_get_figures_that_can_be_averaged() -> None:
    assert psnr_db(SHARP, SHARP) == PSNR_OF_EQUAL_DB
    assert ssim(SHARP, SHARP) == pytest.approx(1)


@pytest.mark.parametrize("shape", [(176, 190), (101, 203), (40, 50), (11, 300)])
def test_ms_ssim_is_that_of_the_loss(shape: tuple[int, int]) -> None:
    """Odd sides, and as many scales as fit; the loss is tested against pytorch-msssim."""
    smooth = np.cumsum(RNG.integers(-9, 10, (*shape, 3)), axis=1)
    sharp = ((smooth - smooth.min()) * (255 / np.ptp(smooth))).astype(np.uint8)
    noisy = np.clip(sharp.astype(int) + RNG.integers(-25, 26, sharp.shape), 0, 255).astype(np.uint8)
    a, b = (torch.from_numpy(x.transpose(2, 0, 1)[None].copy()).float() / 255 for x in (noisy, sharp))
    assert ms_ssim(noisy, sharp) == pytest.approx(float(ms_ssim_in_torch(a, b)), abs=2e-5)
    assert ms_ssim(sharp, sharp) == pytest.approx(1)
    assert ms_ssim(255 - sharp, sharp) < 0.2


def test_ms_ssim_says_what_is_too_small() -> None:
    with pytest.raises(ValueError, match="at least 11 px; this one has 10"):
        ms_ssim(SHARP[:10], SHARP[:10])
