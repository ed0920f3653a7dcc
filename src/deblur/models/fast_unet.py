"""FastUNet: a U-Net for CPUs, without normalisation, that works at half resolution.

Pixels are folded 2x2 into channels first (Shi et al. 2016), so the largest feature maps have a quarter of the pixels;
skips are added, not concatenated; blocks are residual. Without statistics over the tile the result is the same however
a photo is cut, and a faint image stays faint: GroupNorm forgets contrast. Branches begin at a small scale and the head
at zero (Zhang et al. 2019, "Fixup initialization"), so an untrained network returns its input.
"""

import itertools

from torch import Tensor, nn
from torch.nn import functional

from deblur.inference.tiling import SizeRule
from deblur.models.network import Network, zeroed

LEVELS = 3
FOLD = 2


class ResidualBlock(nn.Module):
    """``x + conv(relu(conv(x)))``, its second convolution small at first."""

    def __init__(self, channels: int, scale: float) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        nn.init.kaiming_normal_(self.first.weight, nonlinearity="relu")
        nn.init.kaiming_normal_(self.second.weight, nonlinearity="relu")
        self.second.weight.data.mul_(scale)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(functional.relu(self.first(x)))


class FastUNet(Network):
    """Blurry pixels in, restored pixels out: input plus a correction.

    Args:
        width: Channels of the first level, at half resolution, a multiple of 8; 32 gives 2,392,908 parameters.
        blocks: Residual blocks a level, on the way down and on the way up.
    """

    size_rule = SizeRule(multiple_of=FOLD * 2**LEVELS, min_side_px=FOLD * 2**LEVELS)

    def __init__(self, width: int = 32, blocks: int = 1) -> None:
        super().__init__()
        if width < 8 or width % 8 or blocks < 1:
            raise ValueError(f"width is {width} and blocks {blocks}; they must be a multiple of 8, and at least 1.")
        self.width, self.blocks = width, blocks
        channels = [width * 2**level for level in range(LEVELS + 1)]
        scale = (2 * LEVELS * blocks + 1) ** -0.5

        def level(c: int) -> nn.Sequential:
            return nn.Sequential(*(ResidualBlock(c, scale) for _ in range(blocks)))

        self.stem = nn.Conv2d(3 * FOLD**2, width, 3, padding=1)
        self.encoder = nn.ModuleList(level(c) for c in channels[:-1])
        self.down = nn.ModuleList(nn.Conv2d(c, d, 3, stride=2, padding=1) for c, d in itertools.pairwise(channels))
        self.bottleneck = level(channels[-1])
        self.up = nn.ModuleList(nn.Conv2d(2 * c, c, 1) for c in reversed(channels[:-1]))
        self.decoder = nn.ModuleList(level(c) for c in reversed(channels[:-1]))
        self.head = zeroed(nn.Conv2d(width, 3 * FOLD**2, 3, padding=1))

    @property
    def reach_px(self) -> int:  # type: ignore[override]
        """Of the longest path, in px of the input: a 3x3 convolution reaches one sample of its level."""
        samples_px = [FOLD * 2**level for level in range(LEVELS + 1)]
        level_blocks = [2 * self.blocks * px for px in samples_px]
        stem_and_head = 2 * FOLD + FOLD  # and the folding
        down, up = sum(samples_px[:-1]), sum(samples_px[1:])
        return stem_and_head + 2 * sum(level_blocks[:-1]) + level_blocks[-1] + down + up

    @property
    def bytes_per_px(self) -> float:
        """Input and output, and eight bytes for each channel of the first level: above all that was measured."""
        return 40 + 8.0 * self.width

    def forward(self, blurry: Tensor) -> Tensor:
        """``(B, 3, H, W)`` in ``[0, 1]``, H and W multiples of 16 -> the same shape, not clamped."""
        x, skips = self.stem(functional.pixel_unshuffle(blurry * 2 - 1, FOLD)), []
        for level, down in zip(self.encoder, self.down, strict=True):
            x = level(x)
            skips.append(x)
            x = down(x)
        x = self.bottleneck(x)
        for up, level, skip in zip(self.up, self.decoder, reversed(skips), strict=True):
            x = functional.interpolate(up(x), scale_factor=2.0, mode="bilinear", align_corners=False)
            x = level(x + skip)
        return blurry + functional.pixel_shuffle(self.head(x), FOLD) / 2
