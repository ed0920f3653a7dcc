"""Differences of edges."""

import torch
from torch import Tensor
from torch.nn import functional

from deblur.losses.charbonnier import charbonnier

WINDOW = (0.05, 0.25, 0.4, 0.25, 0.05)


def edge(prediction: Tensor, wanted: Tensor) -> Tensor:
    """Charbonnier of what a Gaussian pyramid's step leaves over (Zamir et al. 2021, MPRNet)."""
    return charbonnier(laplacian(prediction), laplacian(wanted))


def laplacian(pixels: Tensor) -> Tensor:
    """``(B, C, H, W)`` less its smoothed, halved and enlarged copy: about 0 where a picture is smooth.

    Borders are reflected, where MPRNet repeats them, which lets brightness in.
    """
    enlarged = torch.zeros_like(pixels)
    enlarged[:, :, ::2, ::2] = 4 * _smoothed(pixels)[:, :, ::2, ::2]
    return pixels - _smoothed(enlarged)


def _smoothed(pixels: Tensor) -> Tensor:
    channels, line = pixels.shape[1], pixels.new_tensor(WINDOW)
    window = torch.outer(line, line).expand(channels, 1, -1, -1)
    return functional.conv2d(functional.pad(pixels, (2, 2, 2, 2), mode="reflect"), window, groups=channels)
