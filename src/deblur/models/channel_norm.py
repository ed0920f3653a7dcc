"""Layer normalisation over the channels of every pixel, as restoration networks have it (Ba et al. 2016).

Unlike GroupNorm it looks at no other pixel, so it is no statistic over the tile.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional


class ChannelNorm(nn.Module):
    """``(B, C, H, W)`` -> the same shape: a pixel's channels with mean 0 and variance 1, then a scale and a shift."""

    def __init__(self, channels: int, eps: float) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        pixels = x.permute(0, 2, 3, 1)  # no copy where tensors lie channels-last
        pixels = functional.layer_norm(pixels, self.weight.shape, self.weight, self.bias, self.eps)
        return pixels.permute(0, 3, 1, 2)
