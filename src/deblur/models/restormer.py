"""Restormer: a U-Net of transformer blocks (Zamir et al. 2022, "Restormer: Efficient Transformer for High-Resolution
Image Restoration").

Attention is between channels, not between pixels: how alike two channels are over the whole image decides how they are
mixed (MDTA), so the cost grows with the pixels and not with their square. Modules are named as in the official code, so
its state dicts load. As published for motion deblurring: 26,126,644 parameters, about 140 GMACs at 256x256.

How alike channels are is a statistic over the tile. A network to learn from rather than to serve on a CPU.
"""

from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from deblur.inference.tiling import SizeRule
from deblur.models.channel_norm import ChannelNorm
from deblur.models.network import Network

LEVELS = 4
EPS = 1e-5


class Attention(nn.Module):
    """MDTA: ``(B, C, H, W)`` -> the same shape; each head mixes its channels by their likeness over all pixels."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.temperature = nn.Parameter(torch.ones(heads, 1, 1))
        self.qkv = nn.Conv2d(channels, 3 * channels, 1, bias=False)
        self.qkv_dwconv = nn.Conv2d(3 * channels, 3 * channels, 3, padding=1, groups=3 * channels, bias=False)
        self.project_out = nn.Conv2d(channels, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (part.chunk(self.heads, dim=1) for part in self.qkv_dwconv(self.qkv(x)).chunk(3, dim=1))
        heads = [_mixed(*parts) for parts in zip(q, k, v, self.temperature, strict=True)]
        return self.project_out(torch.cat(heads, dim=1))


def _mixed(q: Tensor, k: Tensor, v: Tensor, temperature: Tensor) -> Tensor:
    """One head: ``v``'s channels mixed by the cosines between those of ``q`` and ``k``, all ``(B, C, H, W)``.

    Without a reshape, which would keep the size that it was exported with.
    """
    likeness = torch.einsum("bchw,bdhw->bcd", _unit(q), _unit(k))
    return torch.einsum("bcd,bdhw->bchw", (likeness * temperature).softmax(dim=-1), v)


def _unit(x: Tensor) -> Tensor:
    """Every channel with length 1 over all pixels."""
    return x / torch.linalg.vector_norm(x, dim=(2, 3), keepdim=True).clamp_min(1e-12)


class FeedForward(nn.Module):
    """GDFN: ``(B, C, H, W)`` -> the same shape; one half of the wide channels gates the other."""

    def __init__(self, channels: int, expansion: float) -> None:
        super().__init__()
        wide = int(channels * expansion)
        self.project_in = nn.Conv2d(channels, 2 * wide, 1, bias=False)
        self.dwconv = nn.Conv2d(2 * wide, 2 * wide, 3, padding=1, groups=2 * wide, bias=False)
        self.project_out = nn.Conv2d(wide, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        gate, value = self.dwconv(self.project_in(x)).chunk(2, dim=1)
        return self.project_out(functional.gelu(gate) * value)


class TransformerBlock(nn.Module):
    """Attention, then the feed-forward part, each of normalised pixels and added to its input."""

    def __init__(self, channels: int, heads: int, expansion: float) -> None:
        super().__init__()
        self.norm1 = _body(ChannelNorm(channels, EPS))
        self.attn = Attention(channels, heads)
        self.norm2 = _body(ChannelNorm(channels, EPS))
        self.ffn = FeedForward(channels, expansion)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x))
        return x + self.ffn(self.norm2(x))


class Restormer(Network):
    """Blurry pixels in, restored pixels out: input plus a correction.

    Args:
        width: Channels of the first level; 48 gives 26.1 M parameters.
        level_blocks: Blocks on each of the four levels, down and up alike.
        refinement_blocks: Blocks at full resolution after the last level.
        heads: Heads of the attention on each level; they divide its channels.
        expansion: How many times as wide the feed-forward part is.
    """

    size_rule = SizeRule(multiple_of=2 ** (LEVELS - 1), min_side_px=2 ** (LEVELS - 1))
    feature_layer = "latent"
    reach_px = None
    has_statistics = True

    def __init__(
        self,
        width: int = 48,
        level_blocks: Sequence[int] = (4, 6, 6, 8),
        refinement_blocks: int = 4,
        heads: Sequence[int] = (1, 2, 4, 8),
        expansion: float = 2.66,
    ) -> None:
        super().__init__()
        if width < 2 or width % 2 or not len(level_blocks) == len(heads) == LEVELS:
            raise ValueError(
                f"width is {width}, level_blocks {list(level_blocks)} and heads {list(heads)}; width must be even, and "
                f"each of the others {LEVELS} numbers."
            )
        channels = [width * 2**level for level in range(LEVELS)]
        if any(h < 1 or c % h for c, h in zip(channels, heads, strict=True)):
            raise ValueError(f"heads is {list(heads)}; they must divide the levels' channels, which are {channels}.")
        self.width, self.refinement_blocks, self.expansion = width, refinement_blocks, expansion
        self.level_blocks, self.heads = tuple(level_blocks), tuple(heads)

        def blocks(c: int, level: int, count: int | None = None) -> nn.Sequential:
            count = level_blocks[level] if count is None else count
            return nn.Sequential(*(TransformerBlock(c, heads[level], expansion) for _ in range(count)))

        one, two, three, four = channels
        self.patch_embed = nn.Sequential(OrderedDict(proj=nn.Conv2d(3, one, 3, padding=1, bias=False)))
        self.encoder_level1, self.down1_2 = blocks(one, 0), _down(one)
        self.encoder_level2, self.down2_3 = blocks(two, 1), _down(two)
        self.encoder_level3, self.down3_4 = blocks(three, 2), _down(three)
        self.latent = blocks(four, 3)
        self.up4_3, self.reduce_chan_level3 = _up(four), nn.Conv2d(four, three, 1, bias=False)
        self.decoder_level3 = blocks(three, 2)
        self.up3_2, self.reduce_chan_level2 = _up(three), nn.Conv2d(three, two, 1, bias=False)
        self.decoder_level2 = blocks(two, 1)
        self.up2_1 = _up(two)
        self.decoder_level1 = blocks(two, 0)  # its channels are not reduced: those of the skip stay beside
        self.refinement = blocks(two, 0, refinement_blocks)
        self.output = nn.Conv2d(two, 3, 3, padding=1, bias=False)

    def forward(self, blurry: Tensor) -> Tensor:
        """``(B, 3, H, W)`` in ``[0, 1]``, H and W multiples of 8 -> the same shape, not clamped."""
        one = self.encoder_level1(self.patch_embed(blurry))
        two = self.encoder_level2(self.down1_2(one))
        three = self.encoder_level3(self.down2_3(two))
        x = self.latent(self.down3_4(three))
        x = self.decoder_level3(self.reduce_chan_level3(torch.cat([self.up4_3(x), three], dim=1)))
        x = self.decoder_level2(self.reduce_chan_level2(torch.cat([self.up3_2(x), two], dim=1)))
        x = self.decoder_level1(torch.cat([self.up2_1(x), one], dim=1))
        return blurry + self.output(self.refinement(x))


def _body(*modules: nn.Module) -> nn.Sequential:
    """Modules under the official name ``body``, where several are numbered."""
    return nn.Sequential(OrderedDict(body=modules[0] if len(modules) == 1 else nn.Sequential(*modules)))


def _down(channels: int) -> nn.Sequential:
    """Half the size, twice the channels."""
    return _body(nn.Conv2d(channels, channels // 2, 3, padding=1, bias=False), nn.PixelUnshuffle(2))


def _up(channels: int) -> nn.Sequential:
    """Twice the size, half the channels."""
    return _body(nn.Conv2d(channels, 2 * channels, 3, padding=1, bias=False), nn.PixelShuffle(2))
