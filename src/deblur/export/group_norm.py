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

    over_group: Tensor

    def __init__(self, norm: nn.GroupNorm) -> None:
        super().__init__()
        self.eps, self.weight, self.bias = norm.eps, norm.weight, norm.bias
        size = norm.num_channels // norm.num_groups
        over_group = torch.kron(torch.eye(norm.num_groups), torch.full((size, size), 1 / size))
        self.register_buffer("over_group", over_group, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, H, W)`` -> the same shape; means of channels times ``over_group`` are those of groups."""
        mean = x.mean((2, 3)) @ self.over_group
        variance = (x * x).mean((2, 3)) @ self.over_group - mean * mean
        scale = torch.rsqrt(variance.clamp_min(0.0) + self.eps) * self.weight
        return x * scale[..., None, None] + (self.bias - mean * scale)[..., None, None]


def channelwise(network: nn.Module) -> nn.Module:
    """A copy of ``network`` whose every GroupNorm is written channel by channel; weights keep their names."""
    written = copy.deepcopy(network)
    for parent in list(written.modules()):
        for name, child in parent.named_children():
            if isinstance(child, nn.GroupNorm):
                setattr(parent, name, ChannelwiseGroupNorm(child))
    return written
