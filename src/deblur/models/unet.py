"""DeblurUNet: the product's spine, a plain U-Net with GroupNorm.

Four levels (32-64-128-256) and a bottleneck of 512 channels; each level is two 3x3 convolutions with GroupNorm(8)
and ReLU; max-pool on the way down, bilinear x2 and a 3x3 convolution on the way up (a transposed convolution leaves a
checkerboard, Odena et al. 2016); skip connections; a 1x1 head without activation. 8,636,451 parameters at width 32.

GroupNorm's statistics cover the whole input, so what a pixel becomes depends on the tile it lies in: see
``documentation/architecture.md``. ``freezing.py`` replaces them by fixed ones.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from deblur.inference.tiling import SizeRule
from deblur.models.network import Network

LEVELS = 4
GROUPS = 8


class DoubleConv(nn.Sequential):
    """Two 3x3 convolutions, each with GroupNorm (none where it is frozen) and ReLU."""

    def __init__(self, channels_in: int, channels_out: int, frozen: bool) -> None:
        super().__init__(
            nn.Conv2d(channels_in, channels_out, 3, padding=1),
            nn.Identity() if frozen else nn.GroupNorm(GROUPS, channels_out),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels_out, channels_out, 3, padding=1),
            nn.Identity() if frozen else nn.GroupNorm(GROUPS, channels_out),
            nn.ReLU(inplace=True),
        )


class UpConv(nn.Module):
    """Bilinear x2, then a 3x3 convolution that halves the channels."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels_in, channels_out, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
        return self.conv(x)


class DeblurUNet(Network):
    """Blurry pixels in, restored pixels out.

    Args:
        width: channels of the first level; a multiple of 8 (GroupNorm has 8 groups). 32 as published.
        residual: the network predicts the correction and its head starts at zero, so an untrained network returns
            its input. Off as published.
        frozen: without GroupNorm, whose statistics have become a part of the convolutions.
    """

    size_rule = SizeRule(multiple_of=2**LEVELS, min_side_px=2**LEVELS)
    receptive_px = None  # GroupNorm: statistics over the whole tile. Frozen: see freezing.py

    def __init__(self, width: int = 32, residual: bool = False, frozen: bool = False) -> None:
        super().__init__()
        if width < GROUPS or width % GROUPS:
            raise ValueError(f"width is {width}; it must be a multiple of {GROUPS} (GroupNorm has {GROUPS} groups).")
        self.width, self.residual, self.frozen = width, residual, frozen
        channels = [width * 2**level for level in range(LEVELS + 1)]
        ups = list(zip(channels[:0:-1], channels[-2::-1], strict=True))
        self.encoder = nn.ModuleList(
            DoubleConv(c_in, c_out, frozen) for c_in, c_out in zip([3, *channels], channels[:-1], strict=False)
        )
        self.bottleneck = DoubleConv(channels[-2], channels[-1], frozen)
        self.up = nn.ModuleList(UpConv(c_in, c_out) for c_in, c_out in ups)
        self.decoder = nn.ModuleList(DoubleConv(c_in, c_out, frozen) for c_in, c_out in ups)
        self.head = nn.Conv2d(width, 3, 1)
        if residual:
            nn.init.zeros_(self.head.weight)
            nn.init.zeros_(self.head.bias)  # type: ignore[arg-type]

    @property
    def architecture(self) -> dict[str, Any]:
        """What ``models.build`` needs to make this network again."""
        return {"name": "DeblurUNet", "width": self.width, "residual": self.residual, "frozen": self.frozen}

    def forward(self, blurry: Tensor) -> Tensor:
        """``(B, 3, H, W)`` in ``[0, 1]``, H and W multiples of 16 -> the same shape, not clamped."""
        centred = blurry * 2 - 1
        x, skips = centred, []
        for level in self.encoder:
            x = level(x)
            skips.append(x)
            x = functional.max_pool2d(x, 2)
        x = self.bottleneck(x)
        for up, level, skip in zip(self.up, self.decoder, reversed(skips), strict=True):
            x = level(torch.cat([skip, up(x)], dim=1))
        out = self.head(x)
        return (out + centred + 1) / 2 if self.residual else (out + 1) / 2
