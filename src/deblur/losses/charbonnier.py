"""Charbonnier: a smooth L1 (Charbonnier et al. 1994)."""

import torch
from torch import Tensor

EPS = 1e-3


def charbonnier(prediction: Tensor, wanted: Tensor) -> Tensor:
    """Mean of ``sqrt(d^2 + eps^2)`` over two tensors of one shape -> a scalar."""
    return torch.sqrt((prediction - wanted) ** 2 + EPS**2).mean()
