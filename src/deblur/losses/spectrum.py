"""Differences of spectra: blur weakens high frequencies, which differences of pixels hardly see."""

import torch
from torch import Tensor, nn

from deblur.data.batches import Batch

ROUNDING = 1e-3
"""About what rounding to 8 bit adds to every amplitude; smaller ones say nothing."""


def _spectrum(pixels: Tensor) -> Tensor:
    """``(B, C, H, W)`` -> complex ``(B, C, H, W // 2 + 1)``; orthonormal, so that its size does not depend on H, W."""
    return torch.fft.rfft2(pixels, norm="ortho")


class Fft(nn.Module):
    """L1 of real and imaginary parts of the spectra (Cho et al. 2021, "Rethinking Coarse-to-Fine", MIMO-UNet)."""

    def forward(self, prediction: Tensor, batch: Batch) -> Tensor:
        """``(B, 3, H, W)`` float32 -> a scalar."""
        return torch.view_as_real(_spectrum(prediction - batch.sharp)).abs().mean()


class LogFft(nn.Module):
    """L1 of the logarithms of amplitudes: every frequency counts by ratio, whatever its strength. Phases have no say:
    it needs a term of pixels beside it."""

    def forward(self, prediction: Tensor, batch: Batch) -> Tensor:
        """``(B, 3, H, W)`` float32 -> a scalar."""
        own, wanted = (torch.log(_spectrum(pixels).abs() + ROUNDING) for pixels in (prediction, batch.sharp))
        return (own - wanted).abs().mean()
