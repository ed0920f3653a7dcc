"""Differences of spectra: blur weakens high frequencies, which differences of pixels hardly see."""

import torch
from torch import Tensor

ROUNDING = 1e-3
"""About what rounding to 8 bit adds to every amplitude; smaller ones say nothing."""


def fft(prediction: Tensor, wanted: Tensor) -> Tensor:
    """L1 of real and imaginary parts of the spectra (Cho et al. 2021, MIMO-UNet)."""
    return torch.view_as_real(_spectrum(prediction - wanted)).abs().mean()


def log_fft(prediction: Tensor, wanted: Tensor) -> Tensor:
    """L1 of the logarithms of amplitudes: every frequency counts by ratio, whatever its strength. Blind to phases."""
    own, other = (torch.log(_spectrum(pixels).abs() + ROUNDING) for pixels in (prediction, wanted))
    return (own - other).abs().mean()


def _spectrum(pixels: Tensor) -> Tensor:
    """``(B, C, H, W)`` -> complex ``(B, C, H, W // 2 + 1)``; orthonormal, so that its size does not depend on H, W."""
    return torch.fft.rfft2(pixels, norm="ortho")
