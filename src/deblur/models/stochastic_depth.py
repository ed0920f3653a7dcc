"""Stochastic depth: which blocks a sample goes through is drawn anew in every step (Huang et al. 2016).

So gradients of micro-batches, or of several processes, are not those of the whole batch.
"""

import torch
from torch import Tensor


def kept_at_random(branch: Tensor, drop: float) -> Tensor:
    """A residual block's branch ``(B, C, H, W)``, set to 0 in a share ``drop`` of the samples.

    The others are enlarged, so that the mean is kept.
    """
    kept = torch.rand(len(branch), 1, 1, 1, device=branch.device) >= drop
    return branch * kept / (1 - drop)
