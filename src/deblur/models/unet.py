"""DeblurUNet: the product's spine, a plain U-Net with GroupNorm.

Four levels (32-64-128-256) and a bottleneck of 512 channels; each level is two 3x3 convolutions with GroupNorm(8)
and ReLU; max-pool on the way down, bilinear x2 and a 3x3 convolution on the way up (a transposed convolution leaves a
checkerboard, Odena et al. 2016); skip connections; a 1x1 head without activation. 8,636,451 parameters at width 32.

GroupNorm's statistics cover the whole input, so what a pixel becomes depends on the tile it lies in: see
``documentation/architecture.md``. Frozen, the network has none.
"""

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional

from deblur.inference.tiling import SizeRule
from deblur.models.freezing import fold, statistics_over
from deblur.models.network import Network, zeroed

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
        width: Channels of the first level, a multiple of 8 (GroupNorm has 8 groups); 32 gives 8,636,451 parameters.
        residual: Predict the correction, with the head at zero: training starts at doing nothing. Off as published.
        frozen: without GroupNorm, whose statistics have become a part of the convolutions.
    """

    size_rule = SizeRule(multiple_of=2**LEVELS, min_side_px=2**LEVELS)

    def __init__(self, width: int = 32, residual: bool = False, *, frozen: bool = False) -> None:
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
        head = nn.Conv2d(width, 3, 1)
        self.head = zeroed(head) if residual else head

    @property
    def has_statistics(self) -> bool:  # type: ignore[override]
        """GroupNorm's, unless they are frozen."""
        return not self.frozen

    @property
    def reach_px(self) -> int | None:  # type: ignore[override]
        """Of the longest path when frozen: four 3x3 convolutions a level, pooling, enlargement and one more each."""
        if self.has_statistics:
            return None
        samples_px = [2**level for level in range(LEVELS + 1)]
        blocks = 2 * 2 * sum(samples_px[:-1]) + 2 * samples_px[-1]  # two convolutions down and up, at the bottom once
        pooling = sum(samples_px[:-1])  # the farther of 2x2 samples
        enlargement = sum(samples_px[1:])  # bilinear: the next coarse sample
        up_convolutions = sum(samples_px[:-1])
        return blocks + pooling + enlargement + up_convolutions

    @property
    def halo_px(self) -> int:
        """None: as wide as the reach it would cost more than freezing gains. Tiles overlap and are blended."""
        return 0

    @property
    def can_freeze(self) -> bool:
        """Whether there is a GroupNorm."""
        return self.has_statistics

    def frozen_over(self, batches: Iterable[Tensor]) -> "DeblurUNet":
        """Without GroupNorm: its statistics over ``batches`` are folded into the convolutions."""
        statistics = statistics_over(self, batches)
        frozen = DeblurUNet(self.width, self.residual, frozen=True)
        weights = self.state_dict()
        frozen.load_state_dict({name: weights[name] for name in frozen.state_dict()})
        for (_, norm), (after, _) in zip(_normalised(self), _normalised(frozen), strict=True):
            assert isinstance(norm, nn.GroupNorm)
            fold(after, norm, statistics[norm])
        return frozen.eval()

    def forward(self, blurry: Tensor) -> Tensor:
        """``(B, 3, H, W)`` in ``[0, 1]``, H and W multiples of 16 -> the same shape, not clamped."""
        centred = blurry * 2 - 1
        out = self.head(through_levels(centred, self.encoder, self.bottleneck, self.up, self.decoder))
        return (out + centred + 1) / 2 if self.residual else (out + 1) / 2


def through_levels(
    x: Tensor, encoder: nn.ModuleList, bottleneck: nn.Module, ups: nn.ModuleList, decoder: nn.ModuleList
) -> Tensor:
    """Down by max-pooling, through the bottleneck, and up again; each level sees what its twin on the way down gave."""
    skips = []
    for level in encoder:
        x = level(x)
        skips.append(x)
        x = functional.max_pool2d(x, 2)
    x = bottleneck(x)
    for up, level, skip in zip(ups, decoder, reversed(skips), strict=True):
        x = level(torch.cat([skip, up(x)], dim=1))
    return x


def _normalised(network: DeblurUNet) -> Iterator[tuple[nn.Conv2d, nn.Module]]:
    """Every convolution with what normalises it, or stands in its place."""
    for block in network.modules():
        if isinstance(block, DoubleConv):
            yield from ((block[i], block[i + 1]) for i in (0, 3))  # type: ignore[misc]
