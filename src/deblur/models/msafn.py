"""MSAFN and LightMSAFN: a multi-scale network of dense blocks for enhancement, and the student it teaches.

As described: pathways at 1x, 1/2 and 1/4 scale, channel-attention gates, residual dense blocks with stochastic depth,
recurrent refinement in three steps, about 8.1 M parameters; the student has 32 channels instead of 64, 3 blocks instead
of 8, no recurrence, about 0.8 M. The description leaves open, and here it is so: every pathway has that many blocks, of
five convolutions of half the width each and one that comes back to it (Zhang et al. 2018, "Residual Dense Network";
Wang et al. 2018, "ESRGAN"), which gives 8,088,079 and 793,631 parameters; a gate (Hu et al. 2018) ends each pathway;
the refinement is one convolutional GRU (Ballas et al. 2016) that is asked three times about the fused features. That
the student is 3 to 4 times as fast does not go with a tenth of the weights: here it computes 11 times less.

The gates' means are statistics over the tile.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from deblur.inference.tiling import SizeRule
from deblur.models.attention import SqueezeExcite
from deblur.models.network import Network, zeroed
from deblur.models.stochastic_depth import kept_at_random
from deblur.models.unet import UpConv

HALVINGS = (0, 1, 2)
"""Of the pathways: 1x, 1/2, 1/4."""
GROWING = 5
BRANCH = 0.2
"""What a block's branch is scaled by (Wang et al. 2018, 3.1)."""


class DenseBlock(nn.Module):
    """``x + 0.2 f(x)``, where each convolution of f sees all before it. ``(B, C, H, W)`` -> the same shape.

    Args:
        channels: of the input.
        drop: how often a sample skips f while training, 0 to 1.
    """

    def __init__(self, channels: int, drop: float) -> None:
        super().__init__()
        self.drop, growth = drop, channels // 2
        self.grow = nn.ModuleList(nn.Conv2d(channels + i * growth, growth, 3, padding=1) for i in range(GROWING))
        self.fuse = nn.Conv2d(channels + GROWING * growth, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        seen = x
        for convolution in self.grow:
            seen = torch.cat([seen, functional.relu(convolution(seen))], dim=1)
        branch = BRANCH * self.fuse(seen)
        if self.training and self.drop:
            branch = kept_at_random(branch, self.drop)
        return x + branch


class Pathway(nn.Module):
    """The image at one scale: ``(B, 3, H, W)`` -> ``(B, C, H, W)``. Later blocks are skipped more often."""

    def __init__(self, channels: int, blocks: int, halvings: int, drop: float) -> None:
        super().__init__()
        self.scale = 2**halvings
        self.stem = nn.Conv2d(3, channels, 3, padding=1)
        self.blocks = nn.Sequential(*(DenseBlock(channels, drop * (i + 1) / blocks) for i in range(blocks)))
        self.last = nn.Conv2d(channels, channels, 3, padding=1)
        self.gate = SqueezeExcite(channels)
        self.up = nn.Sequential(*(UpConv(channels, channels) for _ in range(halvings)))

    def forward(self, blurry: Tensor) -> Tensor:
        x = self.stem(functional.avg_pool2d(blurry, self.scale) if self.scale > 1 else blurry)
        return self.up(self.gate(x + self.last(self.blocks(x))))


class ConvGru(nn.Module):
    """A gated recurrent unit whose products are 3x3 convolutions: ``(x, state) -> state``, all ``(B, C, H, W)``."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gates = nn.Conv2d(2 * channels, 2 * channels, 3, padding=1)
        self.candidate = nn.Conv2d(2 * channels, channels, 3, padding=1)

    def forward(self, x: Tensor, state: Tensor) -> Tensor:
        update, reset = torch.sigmoid(self.gates(torch.cat([x, state], dim=1))).chunk(2, dim=1)
        candidate = torch.tanh(self.candidate(torch.cat([x, reset * state], dim=1)))
        return state + update * (candidate - state)


class Msafn(Network):
    """Blurry pixels in, restored pixels out: input plus a correction.

    Args:
        width: Channels, an even number; 64 gives 8.1 M parameters.
        blocks: Dense blocks in each of the three pathways.
        refinements: Steps of the recurrent refinement; 0 leaves it out.
        drop: How often the last block of a pathway is skipped while training (stochastic depth), 0 to below 1.
    """

    size_rule = SizeRule(multiple_of=4, min_side_px=4)
    feature_layer = "fuse"
    reach_px = None
    has_statistics = True

    def __init__(self, width: int = 64, blocks: int = 8, refinements: int = 3, drop: float = 0.1) -> None:
        super().__init__()
        if width < 2 or width % 2 or blocks < 1 or refinements < 0 or not 0 <= drop < 1:
            raise ValueError(
                f"width is {width}, blocks {blocks}, refinements {refinements} and drop {drop:g}; they must be an even "
                "number, at least 1, at least 0, and from 0 to below 1."
            )
        self.width, self.blocks, self.refinements, self.drop = width, blocks, refinements, drop
        self.pathways = nn.ModuleList(Pathway(width, blocks, halvings, drop) for halvings in HALVINGS)
        self.fuse = nn.Conv2d(len(HALVINGS) * width, width, 3, padding=1)
        self.refine = ConvGru(width) if refinements else None
        self.head = zeroed(nn.Conv2d(width, 3, 3, padding=1))

    def forward(self, blurry: Tensor) -> Tensor:
        """``(B, 3, H, W)`` in ``[0, 1]``, H and W multiples of 4 -> the same shape, not clamped."""
        fused = self.fuse(torch.cat([pathway(blurry) for pathway in self.pathways], dim=1))
        state = torch.tanh(fused)
        if self.refine is not None:
            for _ in range(self.refinements):
                state = self.refine(fused, state)
        return blurry + self.head(state)


class LightMsafn(Msafn):
    """Blurry pixels in, restored pixels out: MSAFN's student.

    Args:
        width: Channels, an even number; 32 gives 0.8 M parameters.
        blocks: Dense blocks in each of the three pathways.
    """

    def __init__(self, width: int = 32, blocks: int = 3) -> None:
        super().__init__(width, blocks, refinements=0, drop=0.0)
