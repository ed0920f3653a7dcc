"""Differences of pixels. All see the raw prediction: pixels outside ``[0, 1]`` keep a gradient."""

import torch
from torch import Tensor, nn

from deblur.data.batches import Batch

EPS = 1e-3


def charbonnier(prediction: Tensor, sharp: Tensor) -> Tensor:
    """A smooth L1 (Charbonnier et al. 1994): the mean of ``sqrt(d^2 + eps^2)`` over two tensors of one shape."""
    return torch.sqrt((prediction - sharp) ** 2 + EPS**2).mean()


class Charbonnier(nn.Module):
    """A smooth L1."""

    def forward(self, prediction: Tensor, batch: Batch) -> Tensor:
        """``(B, 3, H, W)`` float32 -> a scalar."""
        return charbonnier(prediction, batch.sharp)


class L1(nn.Module):
    """Mean absolute difference."""

    def forward(self, prediction: Tensor, batch: Batch) -> Tensor:
        """``(B, 3, H, W)`` float32 -> a scalar."""
        return (prediction - batch.sharp).abs().mean()


class L2(nn.Module):
    """Mean squared difference."""

    def forward(self, prediction: Tensor, batch: Batch) -> Tensor:
        """``(B, 3, H, W)`` float32 -> a scalar."""
        return (prediction - batch.sharp).square().mean()
