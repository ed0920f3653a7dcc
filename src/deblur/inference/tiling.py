"""Tiles: restore any image with a network that sees one tile at a time.

The one idea: along each axis, consecutive tiles meet in a ramp. Tile ``i`` is weighted by the ramp it shares with its
left neighbour minus the ramp it shares with its right one, ``w_i = r_i - r_{i+1}`` with ``r_0 = 1`` and ``r_n = 0``.
The sum telescopes, so the weights add up to 1 at every pixel whatever the tiles, and nothing is ever divided.

Legend: ``px`` pixels, ``H, W`` height and width of the image, ``h, w`` of a tile.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import ceil

import numpy as np
from numpy.typing import NDArray

from deblur.errors import SettingError
from deblur.images import Pixels


@dataclass(frozen=True)
class SizeRule:
    """Sides a network accepts: multiples of ``multiple_of``, at least ``min_side_px``."""

    multiple_of: int = 1
    min_side_px: int = 1

    def fit(self, side_px: int) -> int:
        """The smallest accepted side that holds ``side_px``."""
        return max(ceil(side_px / self.multiple_of), ceil(self.min_side_px / self.multiple_of)) * self.multiple_of

    def accepts(self, side_px: int) -> bool:
        """Whether the network takes a tile with this side."""
        return side_px == self.fit(side_px)


@dataclass(frozen=True)
class Tiling:
    """How to cut images: tile side, the overlap of neighbours, and the network's size rule.

    ``overlap_px = 2 * halo_px + feather``: the halo is context whose output is thrown away, the feather is blended.
    """

    tile_px: int = 512
    overlap_px: int = 64
    rule: SizeRule = SizeRule()
    halo_px: int = 0

    def __post_init__(self) -> None:
        if not self.rule.accepts(self.tile_px):
            raise SettingError(
                f"A tile of {self.tile_px} px does not fit the model, which needs a multiple of "
                f"{self.rule.multiple_of} and at least {self.rule.min_side_px} px. "
                f"Try {self.rule.fit(max(self.tile_px, 1))}."
            )
        if not 0 <= self.overlap_px <= self.tile_px // 2:
            raise SettingError(
                f"An overlap of {self.overlap_px} px does not fit tiles of {self.tile_px} px; "
                f"allowed are 0 to {self.tile_px // 2}."
            )
        if not 0 <= 2 * self.halo_px <= self.overlap_px:
            raise SettingError(f"A halo of {self.halo_px} px needs an overlap of at least {2 * self.halo_px} px.")

    @property
    def feather_px(self) -> int:
        """Width of the linear blend between neighbours."""
        return self.overlap_px - 2 * self.halo_px


@dataclass(frozen=True)
class Axis:
    """Tiles along one axis of an image ``length_px`` long: all ``tile_px`` long, evenly spread from end to end."""

    length_px: int
    tile_px: int
    starts: tuple[int, ...]
    feather_px: int

    def weights(self) -> list[NDArray[np.float32]]:
        """One array of ``min(tile_px, length_px)`` blend weights a tile; at every pixel they sum to 1."""
        covered = min(self.tile_px, self.length_px)
        position = np.arange(self.length_px) + 0.5
        ramps = [np.ones(self.length_px)]
        for left, right in zip(self.starts, self.starts[1:], strict=False):
            middle = (left + right + self.tile_px) / 2
            ramps.append(np.clip((position - middle) / max(self.feather_px, 1) + 0.5, 0.0, 1.0))
        ramps.append(np.zeros(self.length_px))
        return [
            (ramps[i] - ramps[i + 1])[start : start + covered].astype(np.float32) for i, start in enumerate(self.starts)
        ]


@dataclass(frozen=True)
class Plan:
    """The tiles of one image: every tile has the same shape ``(rows.tile_px, columns.tile_px)``."""

    rows: Axis
    columns: Axis

    def __len__(self) -> int:
        return len(self.rows.starts) * len(self.columns.starts)

    @property
    def computed_share(self) -> float:
        """Pixels the network computes, as a multiple of the pixels in the image."""
        pixels = self.rows.length_px * self.columns.length_px
        return len(self) * self.rows.tile_px * self.columns.tile_px / pixels


def plan_axis(length_px: int, tiling: Tiling) -> Axis:
    """The fewest tiles that cover ``length_px`` with at least ``overlap_px`` between neighbours, spread evenly.

    An axis that fits in one tile gets one tile just large enough for the network.
    """
    if length_px < 1:
        raise SettingError(f"An image needs at least one pixel a side; this one has {length_px}.")
    if length_px <= tiling.tile_px:
        return Axis(length_px, tiling.rule.fit(length_px), (0,), tiling.feather_px)
    last = length_px - tiling.tile_px
    count = 1 + ceil(last / (tiling.tile_px - tiling.overlap_px))
    starts = tuple(round(i * last / (count - 1)) for i in range(count))
    return Axis(length_px, tiling.tile_px, starts, tiling.feather_px)


def plan_tiles(height_px: int, width_px: int, tiling: Tiling) -> Plan:
    """The tiles of an image ``height_px`` x ``width_px``."""
    return Plan(plan_axis(height_px, tiling), plan_axis(width_px, tiling))


def blend_tiles(pixels: Pixels, plan: Plan, restore_tile: Callable[[Pixels], Pixels]) -> Iterator[Pixels]:
    """Restore tile by tile; yields the blended image after every tile, complete after the last.

    ``restore_tile`` maps ``(h, w, 3)`` to the same shape, with the plan's one tile shape. What an image smaller than
    the tile lacks is filled by reflection. A caller that stops iterating stops the work.
    """
    if pixels.shape[:2] != (plan.rows.length_px, plan.columns.length_px):
        raise ValueError(f"pixels are {pixels.shape[:2]}, the plan is for another size")
    tile_h, tile_w = plan.rows.tile_px, plan.columns.tile_px
    blended = np.zeros_like(pixels)
    row_weights, column_weights = plan.rows.weights(), plan.columns.weights()
    for top, wy in zip(plan.rows.starts, row_weights, strict=True):
        for left, wx in zip(plan.columns.starts, column_weights, strict=True):
            tile = pixels[top : top + tile_h, left : left + tile_w]
            h, w = tile.shape[:2]
            padded = np.pad(tile, ((0, tile_h - h), (0, tile_w - w), (0, 0)), mode="reflect")
            restored = restore_tile(padded)[:h, :w]
            blended[top : top + h, left : left + w] += restored * (wy[:, None] * wx)[..., None]
            yield blended
