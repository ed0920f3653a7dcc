"""Channel attention: every channel is scaled by what the means of all channels over the image say."""

import math

import torch
from torch import Tensor, nn

REDUCTION = 16


class SqueezeExcite(nn.Module):
    """Two small layers decide (Hu et al. 2018, "Squeeze-and-Excitation Networks"). ``(B, C, H, W)`` -> the same."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = max(channels // REDUCTION, 4)
        self.squeeze, self.excite = nn.Conv2d(channels, hidden, 1), nn.Conv2d(hidden, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        means = x.mean((2, 3), keepdim=True)
        return x * torch.sigmoid(self.excite(torch.relu(self.squeeze(means))))


class EfficientAttention(nn.Module):
    """A few neighbouring channels decide (Wang et al. 2020, "ECA-Net"). ``(B, C, H, W)`` -> the same.

    How many is the paper's ``(log2(C) + 1) / 2``, made odd (its equation 12).
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        size = int((math.log2(channels) + 1) / 2) | 1
        self.conv = nn.Conv1d(1, 1, size, padding=size // 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        means = x.mean((2, 3))[:, None]
        return x * torch.sigmoid(self.conv(means))[:, 0, :, None, None]
