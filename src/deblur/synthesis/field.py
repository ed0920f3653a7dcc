"""Blur that differs from place to place: a camera that also rolls, and things that move by themselves.

The kernel at place p follows ``t(s) + theta(s) x (p - c)``. Kernels are made at the corners of cells so small that
neighbours hardly differ, and inside a cell the four blurred pictures are blended bilinearly (efficient filter flow,
Hirsch et al., CVPR 2010). Weights sum to 1 everywhere, kernels too: a constant stays constant. A cell is the unit of
work, so memory does not grow with the photo.

Places are (x, y) in px from the middle of the picture.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from deblur.images import Pixels
from deblur.synthesis.kernels import Frozen, padded, shared_out

CELL_PX = 512
NODE_STEP_PX = 1.5
"""Displacements at neighbouring corners differ by at most this: a quarter of a code from the exact blur (RMS)."""


@dataclass(frozen=True)
class Spot:
    """One kernel for every place."""

    kernel: Frozen
    roll_rad = 0.0

    def reach_px(self, width: float, height: float) -> int:
        """How far the kernel reaches, anywhere in a picture of this size."""
        return self.kernel.shape[0] // 2

    def kernels(self, places: NDArray[np.float64], radius_px: int) -> Pixels:
        """``(1, k, k)``, k = 2 radius + 1: the same everywhere."""
        return padded([self.kernel], radius_px)


@dataclass(frozen=True)
class Motion:
    """A path of the camera, ``(steps, 3)``: x and y in px, roll in rad, mean 0; it rolls about ``centre``."""

    path: Frozen
    centre: tuple[float, float] = (0.0, 0.0)

    @property
    def roll_rad(self) -> float:
        """The largest angle."""
        return float(np.abs(self.path.array[:, 2]).max())

    def displacements(self, places: NDArray[np.float64]) -> NDArray[np.float64]:
        """``(N, 2)`` places -> ``(N, steps, 2)`` px."""
        path = self.path.array.astype(np.float64)
        x, y = (places - self.centre).T[..., None]
        return np.stack([path[:, 0] - path[:, 2] * y, path[:, 1] + path[:, 2] * x], axis=-1)

    def reach_px(self, width: float, height: float) -> int:
        """How far a kernel reaches: displacements are linear in the place, so the corners have the largest."""
        corners = np.array([(x, y) for x in (-width / 2, width / 2) for y in (-height / 2, height / 2)])
        largest = float(np.abs(self.displacements(corners)).max())
        return 0 if largest == 0 else int(np.ceil(largest)) + 1

    def kernels(self, places: NDArray[np.float64], radius_px: int) -> Pixels:
        """``(N, 2)`` places -> their kernels ``(N, k, k)``, k = 2 radius + 1; one where nothing rolls."""
        if radius_px == 0:
            return np.ones((1, 1, 1), np.float32)
        points = self.displacements(places if self.roll_rad else places[:1])
        return (shared_out(points, radius_px) / points.shape[1]).astype(np.float32)


Blur = Spot | Motion
STILL = Spot(Frozen.of([[1.0]]))


@dataclass(frozen=True)
class Thing:
    """Something that moves against the background: a soft blob of ellipses ``(n, 5)``: x, y, rx, ry in px, angle."""

    blur: Blur
    ellipses: Frozen
    edge_px: float

    def mask(self, x: Any, y: Any) -> Any:
        """How much of the thing is at (x, y), in ``[0, 1]``; arrays or tensors that broadcast."""
        outside: Any = 1.0
        for cx, cy, rx, ry, angle in self.ellipses.array.tolist():
            cos, sin = np.cos(angle).item(), np.sin(angle).item()
            along, across = (x - cx) * cos + (y - cy) * sin, (y - cy) * cos - (x - cx) * sin
            distance = ((along / rx) ** 2 + (across / ry) ** 2) ** 0.5
            outside = outside * (0.5 - (1 - distance) * (min(rx, ry) / self.edge_px)).clip(0, 1)
        return 1 - outside


@dataclass(frozen=True)
class Cell:
    """A rectangle of the blurry picture: rows ``top`` to ``bottom``, columns ``left`` to ``right``."""

    top: int
    bottom: int
    left: int
    right: int

    def corners(self, width: int, height: int) -> NDArray[np.float64]:
        """The places ``(4, 2)`` of its corners in a picture of this size."""
        places = [(x, y) for y in (self.top, self.bottom) for x in (self.left, self.right)]
        return np.array(places) - (width / 2, height / 2)

    def weights(self) -> Pixels:
        """Of the four corners at each pixel, ``(4, 1, h, w)``; they sum to 1."""
        right = _ramp(self.right - self.left)[None]
        lower = _ramp(self.bottom - self.top)[:, None]
        return np.stack([(1 - lower) * (1 - right), (1 - lower) * right, lower * (1 - right), lower * right])[:, None]


def _ramp(length_px: int) -> Pixels:
    return ((np.arange(length_px) + 0.5) / length_px).astype(np.float32)


def edges(length_px: int, roll_rad: float) -> list[int]:
    """Where cells begin and end along a side."""
    cells = max(1, int(np.ceil(length_px / CELL_PX)), int(np.ceil(length_px * roll_rad / NODE_STEP_PX)))
    return [int(edge) for edge in np.linspace(0, length_px, min(cells, length_px) + 1).round()]


def cells_of(blur: Blur, height: int, width: int) -> Iterator[Cell]:
    """The cells of a picture, row by row."""
    rows, columns = edges(height, blur.roll_rad), edges(width, blur.roll_rad)
    for top, bottom in pairwise(rows):
        for left, right in pairwise(columns):
            yield Cell(top, bottom, left, right)


def blurred_cell(light: Pixels, cell: Cell, size: tuple[int, int], blur: Blur, thing: Thing | None) -> Pixels:
    """One cell of the blurry picture.

    Args:
        light: ``(3, h + 2 r, w + 2 r)``, the cell and the same margin around, as far as the kernels reach.
        cell: which one.
        size: (height, width) of the whole picture.
        blur: of the background.
        thing: in front of it.

    Returns:
        ``(3, h, w)``: ``thing * (m x) + (1 - thing * m) (blur * x)``, where ``*`` convolves and m is the mask.
    """
    height, width = size
    radius = (light.shape[1] - (cell.bottom - cell.top)) // 2
    kernels = blur.kernels(cell.corners(width, height), radius)
    if thing is None:
        return _blended(convolved(light, kernels), cell)
    y = np.arange(cell.top - radius, cell.bottom + radius, dtype=np.float32)[:, None] + np.float32(0.5 - height / 2)
    x = np.arange(cell.left - radius, cell.right + radius, dtype=np.float32)[None] + np.float32(0.5 - width / 2)
    mask = thing.mask(x, y)
    behind = _blended(convolved(light, kernels), cell)
    before = convolved(np.concatenate([light * mask, mask[None]]), thing.blur.kernels(np.zeros((1, 2)), radius))[0]
    return before[:3] + (1 - before[3:]) * behind


def _blended(pictures: Pixels, cell: Cell) -> Pixels:
    return pictures[0] if len(pictures) == 1 else (pictures * cell.weights()).sum(axis=0)


def convolved(planes: Pixels, kernels: Pixels) -> Pixels:
    """``(C, h, w)`` with each of ``(N, k, k)`` -> ``(N, C, h - k + 1, w - k + 1)``; the planes are transformed once."""
    side, (height, width) = kernels.shape[1], planes.shape[1:]
    if side == 1:
        return planes[None] * kernels[:, None]
    size = (fft.next_fast_len(height, real=True), fft.next_fast_len(width, real=True))
    product = fft.rfft2(planes, size)[None] * fft.rfft2(kernels, size)[:, None]
    return fft.irfft2(product, size, overwrite_x=True)[..., side - 1 : height, side - 1 : width]
