"""What every architecture is to the rest of the house."""

import inspect
from collections.abc import Iterable
from typing import Any

from torch import Tensor, nn

from deblur.inference.tiling import SizeRule, Tiling

TILE_PX, OVERLAP_PX = 512, 32


class Network(nn.Module):
    """``(B, 3, H, W)`` blurry pixels in ``[0, 1]``, sides by ``size_rule`` -> the same shape, not clamped.

    Its constructor's positional arguments are what a person chooses (the command line has each under its own name,
    with the text of the docstring's ``Args``); keyword-only ones are set by this program. All are kept as attributes.
    """

    size_rule: SizeRule
    """Which sides it takes."""
    reach_px: int | None
    """How far away a pixel can lie and still change the result here, px; None: as far as the input goes."""
    feature_layer: str = "bottleneck"
    """Name of the module whose output is taken where features are distilled."""
    has_statistics: bool = False
    """Whether it computes statistics over its whole input, so that a pixel's result depends on the tile it lies in."""

    @property
    def halo_px(self) -> int:
        """How much of a tile's border is thrown away, px. As wide as the reach, tiles change nothing; 0: all is
        blended."""
        return self.reach_px or 0

    @property
    def bytes_per_px(self) -> float | None:
        """What the shipped engines need for a tile in float32, bytes a pixel, measured; None: not known."""
        return None

    def tiling(self, tile_px: int = TILE_PX, overlap_px: int = OVERLAP_PX) -> Tiling:
        """How whole images are cut; with a halo into tiles of four times that at least, which change nothing.

        Raises:
            SettingError: the network does not take such tiles.
        """
        return Tiling(max(tile_px, 4 * self.halo_px), 2 * self.halo_px or overlap_px, self.size_rule, self.halo_px)

    @property
    def architecture(self) -> dict[str, Any]:
        """What ``models.build`` needs to make this network again: its name and its constructor's arguments."""
        arguments = inspect.signature(type(self)).parameters
        return {"name": type(self).__name__} | {name: getattr(self, name) for name in arguments}

    @property
    def can_freeze(self) -> bool:
        """Whether :meth:`frozen_over` makes another network of this one."""
        return False

    def frozen_over(self, batches: Iterable[Tensor]) -> "Network":
        """The same network with its statistics fixed to those of ``batches``: crops ``(B, 3, H, W)`` in ``[0, 1]``."""
        raise NotImplementedError


def zeroed(convolution: nn.Conv2d) -> nn.Conv2d:
    """The same convolution with nothing but zeros, as a head: training starts at doing nothing."""
    for parameter in convolution.parameters():
        nn.init.zeros_(parameter)
    return convolution
