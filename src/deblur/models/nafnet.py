"""NAFNet: a U-Net of blocks without activation functions (Chen et al. 2022, "Simple Baselines for Image Restoration").

A block multiplies one half of its channels by the other (SimpleGate) where others have an activation, and scales
channels by a linear function of their means over the image (SCA). Modules are named as in the official code, so its
state dicts load. As published for GoPro at width 32: 17,111,907 parameters, 16.0 GMACs at 256x256.

SCA's means are statistics over the tile. The published GoPro scores are with means over windows of 384 px (TLC, Chu et
al. 2022); here the tile is the window.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from deblur.inference.tiling import SizeRule
from deblur.models.channel_norm import ChannelNorm
from deblur.models.network import Network
from deblur.models.stochastic_depth import kept_at_random

LEVELS = 4
EPS = 1e-6


class SimpleGate(nn.Module):
    """``(B, 2C, H, W)`` -> ``(B, C, H, W)``: one half of the channels times the other."""

    def forward(self, x: Tensor) -> Tensor:
        first, second = x.chunk(2, dim=1)
        return first * second


class GlobalMean(nn.Module):
    """``(B, C, H, W)`` -> ``(B, C, 1, 1)``: every channel's mean over the tile."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean((2, 3), keepdim=True)


class NAFBlock(nn.Module):
    """Depthwise convolution, gate and channel attention, then gate and projection; each added to its input, scaled by
    a weight that begins at 0. ``(B, C, H, W)`` -> the same shape.

    Args:
        channels: of the input.
        drop: how often a sample skips the block while training, 0 to 1.
    """

    def __init__(self, channels: int, drop: float = 0.0) -> None:
        super().__init__()
        self.drop, wide = drop, 2 * channels
        self.norm1, self.norm2 = ChannelNorm(channels, EPS), ChannelNorm(channels, EPS)
        self.conv1 = nn.Conv2d(channels, wide, 1)
        self.conv2 = nn.Conv2d(wide, wide, 3, padding=1, groups=wide)
        self.sca = nn.Sequential(GlobalMean(), nn.Conv2d(channels, channels, 1))
        self.conv3 = nn.Conv2d(channels, channels, 1)
        self.conv4 = nn.Conv2d(channels, wide, 1)
        self.conv5 = nn.Conv2d(channels, channels, 1)
        self.sg = SimpleGate()
        self.beta = nn.Parameter(torch.zeros(1, channels, 1, 1))
        self.gamma = nn.Parameter(torch.zeros(1, channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        gated = self.sg(self.conv2(self.conv1(self.norm1(x))))
        y = x + self.beta * self.conv3(gated * self.sca(gated))
        y = y + self.gamma * self.conv5(self.sg(self.conv4(self.norm2(y))))
        return x + kept_at_random(y - x, self.drop) if self.training and self.drop else y


class NAFNet(Network):
    """Blurry pixels in, restored pixels out: input plus a correction.

    Args:
        width: Channels of the first level; 32 gives 17.1 M parameters, 16 gives 4.35 M.
        encoder_blocks: Blocks on each of the four levels on the way down.
        middle_blocks: Blocks at the bottom.
        decoder_blocks: Blocks on each of the four levels on the way up, the lowest first.
        drop: How often a block is skipped while training (stochastic depth), 0 to below 1; 0 as published for GoPro.
    """

    size_rule = SizeRule(multiple_of=2**LEVELS, min_side_px=2**LEVELS)
    feature_layer = "middle_blks"
    reach_px = None
    has_statistics = True

    def __init__(
        self,
        width: int = 32,
        encoder_blocks: Sequence[int] = (1, 1, 1, 28),
        middle_blocks: int = 1,
        decoder_blocks: Sequence[int] = (1, 1, 1, 1),
        drop: float = 0.0,
    ) -> None:
        super().__init__()
        if width < 1 or not len(encoder_blocks) == len(decoder_blocks) == LEVELS or not 0 <= drop < 1:
            raise ValueError(
                f"width is {width}, encoder_blocks {list(encoder_blocks)}, decoder_blocks {list(decoder_blocks)} and "
                f"drop {drop:g}; they must be at least 1, twice {LEVELS} numbers, and from 0 to below 1."
            )
        self.width, self.middle_blocks, self.drop = width, middle_blocks, drop
        self.encoder_blocks, self.decoder_blocks = tuple(encoder_blocks), tuple(decoder_blocks)
        channels = [width * 2**level for level in range(LEVELS + 1)]
        self.intro = nn.Conv2d(3, width, 3, padding=1)
        self.encoders = nn.ModuleList(_blocks(c, n, drop) for c, n in zip(channels, encoder_blocks, strict=False))
        self.downs = nn.ModuleList(nn.Conv2d(c, 2 * c, 2, stride=2) for c in channels[:-1])
        self.middle_blks = _blocks(channels[-1], middle_blocks, drop)
        self.ups = nn.ModuleList(
            nn.Sequential(nn.Conv2d(c, 2 * c, 1, bias=False), nn.PixelShuffle(2)) for c in channels[:0:-1]
        )
        self.decoders = nn.ModuleList(
            _blocks(c, n, drop) for c, n in zip(channels[-2::-1], decoder_blocks, strict=True)
        )
        self.ending = nn.Conv2d(width, 3, 3, padding=1)

    def forward(self, blurry: Tensor) -> Tensor:
        """``(B, 3, H, W)`` in ``[0, 1]``, H and W multiples of 16 -> the same shape, not clamped."""
        x, skips = self.intro(blurry), []
        for level, down in zip(self.encoders, self.downs, strict=True):
            x = level(x)
            skips.append(x)
            x = down(x)
        x = self.middle_blks(x)
        for up, level, skip in zip(self.ups, self.decoders, reversed(skips), strict=True):
            x = level(up(x) + skip)
        return blurry + self.ending(x)


def _blocks(channels: int, count: int, drop: float) -> nn.Sequential:
    return nn.Sequential(*(NAFBlock(channels, drop) for _ in range(count)))
