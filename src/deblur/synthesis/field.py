"""Blur that differs from place to place: a camera that also rolls, and things that move by themselves.

The kernel at place p follows ``t(s) + theta(s) x (p - c)``. Kernels are made at the corners of cells so small that
neighbours hardly differ, and inside a cell the four blurred pictures are blended bilinearly (efficient filter flow,
Hirsch et al., CVPR 2010). Weights sum to 1 everywhere, kernels too: a constant stays constant. A cell is the unit of
work, so memory does not grow with the photo.

Places are (x, y) in px from the middle of the picture.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from deblur.images import Pixels
from deblur.synthesis.kernels import FixedArray, shared_out

CELL_PX = 512
NODE_STEP_PX = 1.5
"""Displacements at neighbouring corners differ by at most this: a quarter of a code from the exact blur (RMS)."""


@dataclass(frozen=True)
class Spot:
    """One kernel for every place."""

    kernel: FixedArray
    roll_rad = 0.0

    def reach_px(self, width: float, height: float) -> int:
        """How far the kernel reaches, anywhere in a picture of this size."""
        return self.kernel.shape[0] // 2

    def kernels(self, places: NDArray[np.float64], radius_px: int) -> Pixels:
        """``(1, k, k)``, k = 2 radius + 1: the same everywhere."""
        return np.pad(self.kernel.array, radius_px - self.kernel.shape[0] // 2)[None]


@dataclass(frozen=True)
class Motion:
    """A path of the camera, ``(steps, 3)``: x and y in px, roll in rad, 0 at half time; it rolls about ``centre``."""

    path: FixedArray
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
STILL = Spot(FixedArray.of([[1.0]]))


@dataclass(frozen=True)
class Thing:
    """Something that moves against the background: a soft blob of ellipses ``(n, 5)``: x, y, rx, ry in px, angle."""

    blur: Blur
    ellipses: FixedArray
    edge_px: float

    @property
    def shapes(self) -> NDArray[np.float64]:
        """``(n, 7)``: each ellipse's x, y, rx, ry, cosine, sine, and how steep its edge is."""
        x, y, rx, ry, angle = self.ellipses.array.astype(np.float64).T
        return np.stack([x, y, rx, ry, np.cos(angle), np.sin(angle), np.minimum(rx, ry) / self.edge_px], axis=1)

    def mask(self, x: Pixels, y: Pixels) -> Pixels:
        """How much of the thing is at (x, y), which broadcast, in ``[0, 1]``."""
        mask: Pixels = masked(self.shapes.tolist(), x, y)
        return mask


def masked(shapes: Iterable[Any], x: Any, y: Any) -> Any:
    """How much of a thing of such ``shapes`` is at (x, y); all of them numbers, arrays or tensors that broadcast."""
    outside: Any = 1.0
    for cx, cy, rx, ry, cos, sin, steepness in shapes:
        along, across = (x - cx) * cos + (y - cy) * sin, (y - cy) * cos - (x - cx) * sin
        distance = ((along / rx) ** 2 + (across / ry) ** 2) ** 0.5
        outside = outside * (0.5 - (1 - distance) * steepness).clip(0, 1)
    return 1 - outside


@dataclass(frozen=True)
class Cell:
    """What lies between four corners, rows ``y[0]`` to ``y[1]`` and columns ``x[0]`` to ``x[1]``; a part is wanted."""

    y: tuple[int, int]
    x: tuple[int, int]
    wanted: tuple[slice, slice]

    def corners(self, size: tuple[int, int]) -> NDArray[np.float64]:
        """The places ``(4, 2)`` of its corners in a picture of (height, width)."""
        return np.array([(x, y) for y in self.y for x in self.x]) - (size[1] / 2, size[0] / 2)

    def weights(self) -> Pixels:
        """Of the four corners at each wanted pixel, ``(4, 1, h, w)``; they sum to 1."""
        lower, right = (_ramp(*side) for side in zip((self.y, self.x), self.wanted, strict=True))
        lower = lower[:, None]
        return np.stack([(1 - lower) * (1 - right), (1 - lower) * right, lower * (1 - right), lower * right])[:, None]


def _ramp(ends: tuple[int, int], wanted: slice) -> Pixels:
    """From 0 at one end to 1 at the other, at the middles of pixels."""
    return ((np.arange(wanted.start, wanted.stop) + 0.5 - ends[0]) / (ends[1] - ends[0])).astype(np.float32)


def edges(length_px: int, roll_rad: float) -> list[int]:
    """Where cells begin and end along a side."""
    cells = max(1, int(np.ceil(length_px / CELL_PX)), int(np.ceil(length_px * roll_rad / NODE_STEP_PX)))
    return [int(edge) for edge in np.linspace(0, length_px, min(cells, length_px) + 1).round()]


def cells_of(blur: Blur, size: tuple[int, int], inset_px: int = 0) -> Iterator[Cell]:
    """The cells of a picture of (height, width), row by row, without the ``inset_px`` outermost pixels."""
    rows, columns = (edges(side, blur.roll_rad) for side in size)
    for y in pairwise(rows):
        for x in pairwise(columns):
            parts = [
                slice(max(ends[0], inset_px), min(ends[1], side - inset_px))
                for ends, side in zip((y, x), size, strict=True)
            ]
            if all(part.start < part.stop for part in parts):
                yield Cell(y, x, (parts[0], parts[1]))


def blurred_cell(light: Pixels, cell: Cell, size: tuple[int, int], blur: Blur, thing: Thing | None) -> Pixels:
    """The wanted part of one cell of the blurry picture.

    Args:
        light: ``(3, h + 2 r, w + 2 r)``, that part and the same margin around, as far as the kernels reach.
        cell: which one.
        size: (height, width) of the whole picture.
        blur: of the background.
        thing: in front of it.

    Returns:
        ``(3, h, w)``: ``thing * (m x) + (1 - thing * m) (blur * x)``, where ``*`` convolves and m is the mask.
    """
    radius = (light.shape[1] - (cell.wanted[0].stop - cell.wanted[0].start)) // 2
    kernels = blur.kernels(cell.corners(size), radius)
    if thing is None:
        return _blended(convolved(light, kernels), cell)
    y, x = (
        np.arange(part.start - radius, part.stop + radius, dtype=np.float32) + np.float32(0.5 - side / 2)
        for part, side in zip(cell.wanted, size, strict=True)
    )
    mask = thing.mask(x, y[:, None])
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
