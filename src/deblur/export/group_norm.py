"""GroupNorm written so that engines keep their channels-last layout.

Exported as it is, GroupNorm becomes a reshape that splits the channels, which OpenVINO can only do after turning the
whole tensor into channels-first order and back: 10 to 16 % of DeblurUNet's time. Means over places, a channel each,
need no such turn; groups are formed of those few numbers, and one multiplication and addition a pixel is left:

    GroupNorm(x) = x * s + (bias - mean * s),   s = weight / sqrt(mean of squares - mean ^ 2 + eps)
"""

import copy

import torch
from torch import Tensor, nn


class ChannelwiseGroupNorm(nn.Module):
    """``nn.GroupNorm`` with the same parameters, names and result.

    In float32 to 1e-6 where means are near 0, 4e-5 where they are ten deviations from it; beyond a hundred the squares
    cancel. A file that scores otherwise than its network did is never registered (``onnx.verify_model``).
    """

    def __init__(self, norm: nn.GroupNorm) -> None:
        super().__init__()
        self.groups, self.eps, self.weight, self.bias = norm.num_groups, norm.eps, norm.weight, norm.bias

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, H, W)`` -> the same shape."""
        mean = self._over_groups(x.mean((2, 3), keepdim=True))
        variance = self._over_groups((x * x).mean((2, 3), keepdim=True)) - mean * mean
        scale = torch.rsqrt(variance.clamp_min(0.0) + self.eps) * self.weight[:, None, None]
        return x * scale + (self.bias[:, None, None] - mean * scale)

    def _over_groups(self, per_channel: Tensor) -> Tensor:
        """``(B, C, 1, 1)`` -> the same shape, each channel with the mean of its group."""
        channels = per_channel.shape[1]
        size = channels // self.groups
        grouped = per_channel.reshape(-1, self.groups, size).mean(2, keepdim=True)
        return grouped.expand(-1, self.groups, size).reshape(-1, channels, 1, 1)


def channelwise(network: nn.Module) -> nn.Module:
    """A copy of ``network`` whose every GroupNorm is written channel by channel; weights keep their names."""
    written = copy.deepcopy(network)
    for parent in list(written.modules()):
        for name, child in parent.named_children():
            if isinstance(child, nn.GroupNorm):
                setattr(parent, name, ChannelwiseGroupNorm(child))
    return written
