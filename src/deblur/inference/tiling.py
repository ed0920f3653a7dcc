"""The planner: which tiles a photo is cut into, so that a network that sees one tile at a time restores any size.

Two ideas. Along each axis, consecutive tiles meet in a ramp. Tile ``i`` is weighted by the ramp it shares with its
left neighbour minus the ramp it shares with its right one, ``w_i = r_i - r_{i+1}`` with ``r_0 = 1`` and ``r_n = 0``.
The sum telescopes, so the weights add up to 1 at every pixel whatever the tiles, and nothing is ever divided.

And the tile is fitted to the image: for every number of tiles along an axis there is one smallest tile side, so the
plan that computes the fewest pixels is found by trying the numbers. All tiles of a plan have one shape (an engine
compiles a shape once) and begin on multiples of the network's stride (its pooling then cuts them as it cuts the image).

Legend: ``px`` pixels, ``H, W`` height and width of the image, ``h, w`` of a tile.
"""

from dataclasses import dataclass
from itertools import product
from math import ceil, inf

import numpy as np
from numpy.typing import NDArray

from deblur.errors import SettingError

AREA_SLACK = 1.55
"""A fitted tile has at most this many times ``tile_px ** 2`` pixels: 1920 x 1080 then takes 6 tiles instead of 10."""


@dataclass(frozen=True)
class SizeRule:
    """Sides a network accepts: multiples of ``multiple_of``, at least ``min_side_px``, at most ``max_side_px``.

    A network of one fixed size has that size as both; its tiles begin on multiples of ``multiple_of`` all the same.
    """

    multiple_of: int = 1
    min_side_px: int = 1
    max_side_px: int | None = None

    def fit(self, side_px: int) -> int:
        """The smallest side that holds ``side_px``; accepted unless it is too large."""
        return max(ceil(side_px / self.multiple_of), ceil(self.min_side_px / self.multiple_of)) * self.multiple_of

    def accepts(self, side_px: int) -> bool:
        """Whether the network takes a tile with this side."""
        return side_px == self.fit(side_px) and (self.max_side_px is None or side_px <= self.max_side_px)

    def __str__(self) -> str:
        if self.max_side_px == self.min_side_px:
            return f"{self.min_side_px} px only"
        at_most = f", at most {self.max_side_px}" if self.max_side_px else ""
        return f"multiples of {self.multiple_of} px, at least {self.min_side_px}{at_most}"


@dataclass(frozen=True)
class Tiling:
    """How to cut images: size of a tile, the overlap of neighbours, and the network's size rule.

    ``overlap_px = 2 * halo_px + feather``: the halo is context whose output is thrown away, the feather is blended.
    ``fitted`` tiles have about ``tile_px ** 2`` pixels and the sides that suit the image best; others are squares of
    ``tile_px``, as published.
    """

    tile_px: int = 512
    overlap_px: int = 64
    rule: SizeRule = SizeRule()
    halo_px: int = 0
    fitted: bool = True

    def __post_init__(self) -> None:
        if self.tile_px < 1 or not self.rule.accepts(self.tile_px):
            raise SettingError(
                f"A tile of {self.tile_px} px does not suit this network, which takes {self.rule}. Try "
                f"{min(self.rule.fit(self.tile_px), self.rule.max_side_px or inf)}."
            )
        most_px = self.tile_px // 2 if self.tile_px >= 2 * self.rule.multiple_of else 0
        if not 0 <= self.overlap_px <= most_px:
            raise SettingError(
                f"An overlap of {self.overlap_px} px does not fit tiles of {self.tile_px} px; "
                f"allowed are 0 to {most_px}."
            )
        if not 0 <= 2 * self.halo_px <= self.overlap_px:
            raise SettingError(f"A halo of {self.halo_px} px needs an overlap of at least {2 * self.halo_px} px.")

    @property
    def feather_px(self) -> int:
        """Width of the linear blend between neighbours."""
        return self.overlap_px - 2 * self.halo_px


@dataclass(frozen=True)
class Axis:
    """Tiles along one axis of an image ``length_px`` long: all ``tile_px`` long, evenly spread from end to end.

    The last tile may reach past the image, by less than the network's stride (or its smallest side).
    """

    length_px: int
    tile_px: int
    starts: tuple[int, ...]
    feather_px: int

    def weights(self) -> list[NDArray[np.float32]]:
        """One array of blend weights a tile, for its pixels inside the image; at every pixel they sum to 1."""
        position = np.arange(self.length_px) + 0.5
        ramps = [np.ones(self.length_px)]
        for left, right in zip(self.starts, self.starts[1:], strict=False):
            middle = (left + self.tile_px + right) // 2
            ramps.append(np.clip((position - middle) / max(self.feather_px, 1) + 0.5, 0.0, 1.0))
        ramps.append(np.zeros(self.length_px))
        return [
            (ramps[i] - ramps[i + 1])[start : start + self.tile_px].astype(np.float32)
            for i, start in enumerate(self.starts)
        ]

    @property
    def finished_px(self) -> tuple[int, ...]:
        """Up to where the image is complete after each tile: where the next one begins, and in the end all of it."""
        return (*self.starts[1:], self.length_px)


@dataclass(frozen=True)
class Plan:
    """The tiles of one image: every tile has the same shape ``(rows.tile_px, columns.tile_px)``."""

    rows: Axis
    columns: Axis

    def __len__(self) -> int:
        return len(self.rows.starts) * len(self.columns.starts)

    @property
    def computed_px(self) -> int:
        """Pixels the network computes."""
        return len(self) * self.rows.tile_px * self.columns.tile_px

    @property
    def computed_share(self) -> float:
        """Pixels the network computes, as a multiple of the pixels in the image."""
        return self.computed_px / (self.rows.length_px * self.columns.length_px)


def plan_tiles(height_px: int, width_px: int, tiling: Tiling) -> Plan:
    """The tiles of an image ``height_px`` x ``width_px``: of all plans that ``tiling`` allows, the fewest pixels.

    An image that fits in one tile gets one tile just large enough for the network.

    Raises:
        SettingError: an image without pixels.
    """
    if min(height_px, width_px) < 1:
        raise SettingError(f"An image needs at least one pixel a side; this one is {height_px} x {width_px}.")
    if not tiling.fitted:
        return Plan(_axis(height_px, tiling.tile_px, tiling), _axis(width_px, tiling.tile_px, tiling))
    area_px = AREA_SLACK * tiling.tile_px**2
    plans = (
        Plan(rows, columns)
        for rows, columns in product(_fitted_axes(height_px, tiling), _fitted_axes(width_px, tiling))
        if rows.tile_px * columns.tile_px <= area_px
    )
    return min(plans, key=lambda plan: (plan.computed_px, len(plan)))


def _fitted_axes(length_px: int, tiling: Tiling) -> list[Axis]:
    """For each number of tiles, up to twice what squares would need, those with the smallest side."""
    padded_px, overlap_px = tiling.rule.fit(length_px), _overlap(tiling)
    counts = range(1, 2 * _count(padded_px, tiling.tile_px, overlap_px) + 1)
    sides = {tiling.rule.fit(ceil((padded_px + (count - 1) * overlap_px) / count)) for count in counts}
    return [_axis(length_px, side_px, tiling) for side_px in sides if tiling.rule.accepts(side_px)]


def _axis(length_px: int, tile_px: int, tiling: Tiling) -> Axis:
    """The fewest tiles of ``tile_px`` that keep the overlap, spread evenly on the network's stride."""
    padded_px, stride_px = tiling.rule.fit(length_px), tiling.rule.multiple_of
    if padded_px <= tile_px:
        return Axis(length_px, padded_px, (0,), tiling.feather_px)
    last = (padded_px - tile_px) // stride_px
    count = _count(padded_px, tile_px, _overlap(tiling))
    starts = tuple(i * last // (count - 1) * stride_px for i in range(count))
    return Axis(length_px, tile_px, starts, tiling.feather_px)


def _count(padded_px: int, tile_px: int, overlap_px: int) -> int:
    """How many tiles of ``tile_px`` cover ``padded_px`` when neighbours overlap by ``overlap_px``."""
    return 1 if padded_px <= tile_px else ceil((padded_px - overlap_px) / (tile_px - overlap_px))


def _overlap(tiling: Tiling) -> int:
    """The overlap asked for, in whole strides, because tiles begin on them."""
    return ceil(tiling.overlap_px / tiling.rule.multiple_of) * tiling.rule.multiple_of
