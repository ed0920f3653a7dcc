"""Reported figures, against their definitions."""

from typing import get_args

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from scipy.signal import convolve2d, fftconvolve
from skimage.metrics import structural_similarity

from deblur.data.photos import SharpPhoto
from deblur.losses.ms_ssim import ms_ssim_loss
from deblur.metrics import PSNR_OF_EQUAL_DB, SsimConvention, gradient_ratio, ms_ssim, psnr_db, ssim

RNG = np.random.default_rng(0)
SHARP = RNG.integers(0, 256, (40, 50, 3), dtype=np.uint8)


def test_psnr_is_its_definition() -> None:
    noisy = np.clip(SHARP.astype(int) + RNG.integers(-9, 10, SHARP.shape), 0, 255).astype(np.uint8)
    mse = ((noisy.astype(float) - SHARP) ** 2).mean()
    assert psnr_db(noisy, SHARP) == pytest.approx(10 * np.log10(255**2 / mse))


def test_equal_images_get_figures_that_can_be_averaged() -> None:
    assert psnr_db(SHARP, SHARP) == PSNR_OF_EQUAL_DB
    nearly = np.zeros((512, 512, 3), np.uint8)
    nearly[0, 0, 0] = 1  # 107.1 dB by the definition
    assert psnr_db(nearly, np.zeros_like(nearly)) < PSNR_OF_EQUAL_DB
    assert ssim(SHARP, SHARP) == pytest.approx(1)


def wang(image: np.ndarray, sharp: np.ndarray) -> float:
    """ssim_index.m (Wang et al. 2004) on two planes of codes up to 255, as it is written."""
    y, x = np.mgrid[-5:6, -5:6]
    window = np.exp(-(x**2 + y**2) / (2 * 1.5**2))
    window /= window.sum()
    a, b, aa, bb, ab = (
        convolve2d(plane, window, mode="valid") for plane in (image, sharp, image * image, sharp * sharp, image * sharp)
    )
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    numerator = (2 * a * b + c1) * (2 * (ab - a * b) + c2)
    return float((numerator / ((a * a + b * b + c1) * (aa - a * a + bb - b * b + c2))).mean())


def luma(rgb: np.ndarray) -> np.ndarray:
    """BT.601 in studio range: 16 is black, 235 white."""
    red, green, blue = rgb.astype(float).transpose(2, 0, 1)
    return 16 + (65.481 * red + 128.553 * green + 24.966 * blue) / 255


def of_volume(image: np.ndarray, sharp: np.ndarray) -> float:
    """MATLAB's ``ssim(A, B)`` of two colour images: one convolution with the cube of 11 px, over replicated borders."""
    along = np.exp(-(np.arange(-5, 6) ** 2) / (2 * 1.5**2))
    cube = along[:, None, None] * along[None, :, None] * along
    padded = [np.pad(x.astype(float), 5, mode="edge") for x in (image, sharp)]

    def mean(volume: np.ndarray) -> np.ndarray:
        return fftconvolve(volume, cube / cube.sum(), mode="valid")

    a, b = padded
    covariance = mean(a * b) - mean(a) * mean(b)
    variances = mean(a * a) - mean(a) ** 2 + mean(b * b) - mean(b) ** 2
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    lightness = (2 * mean(a) * mean(b) + c1) / (mean(a) ** 2 + mean(b) ** 2 + c1)
    return float((lightness * (2 * covariance + c2) / (variances + c2)).mean())


def test_ssim_is_its_definition_by_each_convention(photos: dict[str, SharpPhoto]) -> None:
    sharp = photos["coffee"].pixels[50:121, 200:303]
    noisy = np.clip(sharp + np.random.default_rng(1).normal(0, 12, sharp.shape), 0, 255).astype(np.uint8)
    channels = [wang(noisy[..., c].astype(float), sharp[..., c].astype(float)) for c in range(3)]
    assert ssim(noisy, sharp) == pytest.approx(np.mean(channels), abs=1e-9)
    assert ssim(noisy, sharp, "y") == pytest.approx(wang(luma(noisy), luma(sharp)), abs=1e-9)
    assert ssim(noisy, sharp, "matlab") == pytest.approx(of_volume(noisy, sharp), abs=1e-9)
    assert len({ssim(noisy, sharp, convention) for convention in get_args(SsimConvention)}) == 3


def test_ssim_by_rgb_is_to_the_bit_what_it_was() -> None:
    noisy = np.clip(SHARP.astype(int) + RNG.integers(-9, 10, SHARP.shape), 0, 255).astype(np.uint8)
    known = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    assert ssim(noisy, SHARP) == structural_similarity(SHARP, noisy, data_range=255, channel_axis=2, **known)


@pytest.mark.parametrize("convention", get_args(SsimConvention))
def test_ssim_of_what_is_equal_inverted_or_flat(convention: SsimConvention) -> None:
    assert ssim(SHARP, SHARP, convention) == pytest.approx(1)
    assert ssim(255 - SHARP, SHARP, convention) < -0.8
    black, white = np.zeros_like(SHARP), np.full_like(SHARP, 255)
    low, high = (16, 235) if convention == "y" else (0, 255)
    c1 = (0.01 * 255) ** 2
    assert ssim(black, white, convention) == pytest.approx((2 * low * high + c1) / (low**2 + high**2 + c1))


@pytest.mark.parametrize("shape", [(176, 190), (101, 203), (40, 50), (11, 300)])
def test_ms_ssim_is_that_of_the_loss(shape: tuple[int, int]) -> None:
    """Odd sides, and as many scales as fit; the loss is tested against pytorch-msssim."""
    smooth = np.cumsum(RNG.integers(-9, 10, (*shape, 3)), axis=1)
    sharp = ((smooth - smooth.min()) * (255 / np.ptp(smooth))).astype(np.uint8)
    noisy = np.clip(sharp.astype(int) + RNG.integers(-25, 26, sharp.shape), 0, 255).astype(np.uint8)
    a, b = (torch.from_numpy(x.transpose(2, 0, 1)[None].copy()).float() / 255 for x in (noisy, sharp))
    assert ms_ssim(noisy, sharp) == pytest.approx(1 - float(ms_ssim_loss(a, b)), abs=2e-5)
    assert ms_ssim(sharp, sharp) == pytest.approx(1)
    assert ms_ssim(255 - sharp, sharp) < 0.2


def test_ms_ssim_says_what_is_too_small() -> None:
    with pytest.raises(ValueError, match="at least 11 px; this one has 10"):
        ms_ssim(SHARP[:10], SHARP[:10])


def test_the_gradient_tells_softer_from_harder(photos: dict[str, SharpPhoto]) -> None:
    sharp = photos["coffee"].pixels
    soft = gaussian_filter(sharp, (2, 2, 0))
    assert gradient_ratio(sharp, sharp) == 1
    assert 0.2 < gradient_ratio(soft, sharp) < 0.7
    assert gradient_ratio(soft, sharp) == pytest.approx(1 / gradient_ratio(sharp, soft))
    assert gradient_ratio(np.roll(sharp, 3, axis=1), sharp) == pytest.approx(1, abs=0.02), "whatever its place"
    flat = np.full_like(sharp, 9)
    assert gradient_ratio(sharp, flat) == 1
    assert gradient_ratio(flat, sharp) == 0
