"""Charbonnier: a smooth L1 (Charbonnier et al. 1994)."""

import torch
from torch import Tensor, nn

from deblur.data.batches import Batch

EPS = 1e-3


def charbonnier(prediction: Tensor, sharp: Tensor) -> Tensor:
    """Mean of ``sqrt(d^2 + eps^2)`` over two tensors of one shape -> a scalar."""
    return torch.sqrt((prediction - sharp) ** 2 + EPS**2).mean()


class Charbonnier(nn.Module):
    """Of the raw prediction and the sharp picture: pixels outside ``[0, 1]`` keep a gradient."""

    def forward(self, prediction: Tensor, batch: Batch) -> Tensor:
        """``(B, 3, H, W)`` float32 -> a scalar."""
        return charbonnier(prediction, batch.sharp)
