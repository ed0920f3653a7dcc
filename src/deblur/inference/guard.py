"""The guard: what is broken becomes the input again, and what needs no restoring is restored less, place by place.

A grid of cells lies over the photo, whatever tiles it is cut into. Of each cell it is measured how blurry the input is
and what the network changed. A small fitted function makes of that the share of the change that is kept; between the
cells' centres it is interpolated. A change that no good restoration makes is not kept at all; below many such, neither
is one that few good restorations make.
"""

from collections.abc import Callable
from math import ceil
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deblur.images import Rgb, planes_of
from deblur.inference.engine import Planes

CELL_PX = 32
HALF_PX = CELL_PX // 2
SHARES = (np.arange(CELL_PX, dtype=np.float32) + np.float32(0.5)) / np.float32(CELL_PX)
"""Of pixels on their way from one cell's centre to the next one's."""
LAGS_PX = (1, 2, 4)
BLUR, CHANGE = 2 * len(LAGS_PX) + 1 + 3, 1 + 2 * 3 + 1
"""How many statistics there are of a cell's input, and of its change."""
GROUP_PX2 = 2**17
"""Pixels that are measured at once, about: few calls for a small photo, and what is measured stays in the cache."""
LEVELS2, FAINT = np.float32(255**2), np.float32(0.5)
"""Squared differences are compared in squared levels of 255; half of one hardly counts."""
ALL, NONE = 0.97, 0.03
"""Shares of a change that count as all of it, and as none."""
FAR_ABOVE, MOSAIC, SHIFTED, ONE_COLOUR, OF_LIGHT, SPECK = 3.4, 2.35, 1.57, 3.25, 0.37, 6.6
"""Limits of what a good restoration does: see ``features`` and ``change_statistics``."""
DOUBTFUL, LOWER = 0.05, 1.0
"""Where more of the cells so far are broken than this, the limits are lower by so much for all that follows."""
# fitted by experiments/guard.py: python -m experiments.guard fit
HIDDEN = np.array(
    [
        [0.425, -0.795, 0.377],
        [0.409, 4.754, 3.884],
        [-3.905, 3.961, 0.75],
        [-0.397, -1.179, -0.546],
        [-2.776, -3.183, 0.671],
        [-0.143, -0.625, -4.009],
        [-0.562, -0.261, -0.271],
        [-0.372, -0.72, -0.622],
    ]
)
HIDDEN_BIAS = np.array([5.773, 2.719, -2.628])
KEPT = np.array([-2.371, -2.355, -2.222])
KEPT_BIAS = 0.319
# end of fitted
BOLDER = 0.5
"""Added to the bias by hand: the fit's own share cost networks that it had not seen too much of strong blur."""
Finish = Callable[[slice, Planes], None]
"""Given rows that are complete, ``(3, rows, W)``, from top to bottom."""
Grid = NDArray[np.float32]
"""One value a cell, ``(..., rows, columns)``."""


class Guard:
    """The guard of one photo: it stands between restored rows and what overwrites the photo with them.

    Args:
        rgb: ``(H, W, 3)``; rows are read before they are handed on.
    """

    def __init__(self, rgb: Rgb) -> None:
        self._rgb = rgb
        height, width = rgb.shape[:2]
        rows, columns = ceil(height / CELL_PX), ceil(width / CELL_PX)
        self._found = np.zeros((BLUR + CHANGE, rows + 2, columns + 2), np.float32)  # a border of nothing all around
        self._area_px = np.outer(_lengths_px(height), _lengths_px(width))
        self._near_px = _with_neighbours(np.pad(self._area_px, 1))
        self._kept = np.ones((rows, columns), np.float32)
        self._across = np.empty((rows, width), np.float32)  # what is kept along the cells' centres
        self._broken = np.zeros((rows, columns), bool)
        self._doubtful = False
        self._group_px = CELL_PX * rows_at_once(width)
        self._blurry, self._change = (np.empty((3, 2 * self._group_px, width), np.float32) for _ in range(2))
        self._taken_px = self._done_px = 0

    @property
    def replaced(self) -> float:
        """The share of the photo where a broken result gave way to the input."""
        return float((self._area_px * self._broken).sum() / self._area_px.sum())

    @property
    def left_alone(self) -> float:
        """The share of the change that was left out elsewhere, averaged over the photo."""
        return float((self._area_px * ~self._broken * (1 - self._kept)).sum() / self._area_px.sum())

    def before(self, finish: Finish) -> Finish:
        """What takes restored rows, as they are complete, and hands guarded ones to ``finish``, a little later."""

        def take(rows: slice, restored: Planes) -> None:
            while self._taken_px < rows.stop:
                group = self._taken_px // self._group_px * self._group_px
                new = slice(self._taken_px, min(rows.stop, group + self._group_px))
                given = restored[:, new.start - rows.start : new.stop - rows.start]
                blurry = planes_of(self._rgb[new], self._held(self._blurry, new))
                np.subtract(given, blurry, self._held(self._change, new))
                self._taken_px = new.stop
                if new.stop in (group + self._group_px, len(self._rgb)):
                    self._measured(slice(group, new.stop), finish)

        return take

    def _held(self, ring: Planes, rows: slice) -> Planes:
        """Rows of one group where they lie in one of the rings, which hold two groups."""
        start = rows.start % ring.shape[1]
        return ring[:, start : start + rows.stop - rows.start]

    def _measured(self, rows: slice, finish: Finish) -> None:
        """Measure a group of rows of cells; decide on those whose neighbours are known; hand on what is decided."""
        blurry, change = self._held(self._blurry, rows), self._held(self._change, rows)
        whole_px = (rows.stop - rows.start) // CELL_PX * CELL_PX
        for part in (slice(0, whole_px), slice(whole_px, None)):
            if count := ceil(blurry[:, part].shape[1] / CELL_PX):
                cells = slice((rows.start + part.start) // CELL_PX, None)
                before, added = (each[:, part].reshape(3, count, -1, each.shape[2]) for each in (blurry, change))
                found = self._found[:, 1:-1, 1:-1][:, cells][:, :count]
                found[:BLUR] = blur_statistics(before)
                found[BLUR:] = change_statistics(added, self._area_px[cells][:count])
        first, stop, last = rows.start // CELL_PX, ceil(rows.stop / CELL_PX), rows.stop == len(self._rgb)
        self._decide(slice(max(0, first - 1), stop if last else stop - 1))
        self._hand_on(rows.stop if last else rows.stop - CELL_PX - HALF_PX, finish)

    def _decide(self, rows: slice) -> None:
        """Which cells of rows are broken, and what is kept of the others' change. Rows come from top to bottom."""
        found, above = self.features_of(rows)
        for row, of_row in zip(range(rows.start, rows.stop), above, strict=True):
            self._broken[row] = of_row > 0
            self._doubtful |= bool(self._broken[: row + 1].mean() > DOUBTFUL)
            if self._doubtful:
                self._broken[row] = of_row > -LOWER
        self._kept[rows] = np.where(self._broken[rows], 0, kept_shares(found))
        kept = np.concatenate([self._kept[rows, :1], self._kept[rows], self._kept[rows, -1:]], axis=1)[..., None]
        across = (kept[:, :-1] + SHARES * (kept[:, 1:] - kept[:, :-1])).reshape(len(kept), -1)
        self._across[rows] = across[:, HALF_PX : HALF_PX + self._across.shape[1]]

    def features_of(self, rows: slice) -> tuple[NDArray[Any], NDArray[Any]]:
        """``features`` of rows of cells, of each cell with its eight neighbours."""
        return features(_with_neighbours(self._found[:, rows.start : rows.stop + 2]), self._near_px[rows])

    def _hand_on(self, until_px: int, finish: Finish) -> None:
        """The rows from where it stopped up to ``until_px``, in pieces from cells' centres to centres."""
        ring_px = self._change.shape[1]
        while self._done_px < until_px:
            above = (self._done_px + HALF_PX) // CELL_PX - 1  # the row of cells whose centres lie above
            end_of_ring = (self._done_px // ring_px + 1) * ring_px
            rows = slice(self._done_px, min(until_px, (above + 1) * CELL_PX + HALF_PX, end_of_ring))
            if (around := self._kept[max(0, above) : above + 2]).any():
                finish(rows, self._guarded(rows, above, whole=bool((around == 1).all())))
            self._done_px = rows.stop

    def _guarded(self, rows: slice, above: int, *, whole: bool) -> Planes:
        """``blurry + kept * change``, in the place of the change; kept is linear between cells' centres."""
        change = self._held(self._change, rows)
        if not whole:
            upper, lower = (self._across[min(max(each, 0), len(self._kept) - 1)] for each in (above, above + 1))
            shares = SHARES[rows.start - above * CELL_PX - HALF_PX :][: rows.stop - rows.start, None]
            change *= upper + shares * (lower - upper)
        change += self._held(self._blurry, rows)
        return change


def rows_at_once(width_px: int) -> int:
    """Rows of cells that are measured together."""
    return min(8, max(2, GROUP_PX2 // (CELL_PX * width_px)))


def blur_statistics(blurry: Planes) -> Grid:
    """Of the input, n rows of cells ``(3, n, up to 32, W)``: ``(10, n, columns)``, sums over every second row.

    Of green: squared differences over 1, 2 and 4 px along, the same down, the product of the slopes along and down. Of
    each channel: the light.
    """
    _, count, height, width = blurry.shape
    sums = np.zeros((BLUR, count, width), np.float32)
    along, down = (np.empty((count, ceil(height / 2), width), np.float32) for _ in range(2))
    for number, lag in reversed([*enumerate(LAGS_PX)]):  # the last are the slopes
        x, y = _difference(blurry[1], 0, lag, along), _difference(blurry[1], min(lag, height), 0, down)
        sums[number], sums[len(LAGS_PX) + number] = _products(x, x, width), _products(y, y, width)
    sums[2 * len(LAGS_PX)] = _products(y[..., : width - 1], x[:, : y.shape[1]], width)
    np.sum(blurry[:, :, ::2], axis=-2, out=sums[-3:])
    return np.add.reduceat(sums, np.arange(0, width, CELL_PX), axis=-1)


def change_statistics(change: Planes, area_px: NDArray[Any]) -> Grid:
    """Of what the network adds, ``(3, n, up to 32, W)``: ``(8, n, columns)``.

    Sums over every second row, or halved: of green the squared slopes; of each channel the change, and its square. The
    last is 1 where a pixel's change is far above its cell's.
    """
    _, count, height, width = change.shape
    sums = np.zeros((CHANGE - 1, count, width), np.float32)
    scratch = np.empty((count, ceil(height / 2), width), np.float32)
    for step in ((0, 1), (1, 0)):
        slope = _difference(change[1], *step, scratch)
        sums[0] += _products(slope, slope, width)
    np.sum(change[:, :, ::2], axis=-2, out=sums[1:4])
    np.einsum("cnrw,cnrw->cnw", change, change, out=sums[4:])
    sums[4:] /= 2
    starts = np.arange(0, width, CELL_PX)
    found = np.add.reduceat(sums, starts, axis=-1)
    peaks = np.maximum.reduceat(np.maximum(change.max(axis=(0, 2)), -change.min(axis=(0, 2))), starts, axis=-1)
    specks = _log(peaks**2) - _log(2 * found[4:].mean(axis=0) / area_px) > SPECK
    return np.concatenate([found, specks[None].astype(np.float32)])


def features(sums: Grid, area_px: Grid) -> tuple[NDArray[Any], NDArray[Any]]:
    """What the share rests on, ``(..., 8)``, and how far the change lies above the limits of a good one's.

    Those are in logarithms of energy, and above 0 it is broken: with more energy than blur like the input's explains,
    with steeper slopes (a mosaic), with little but a shift, of one colour alone, of a large part of the light (crushed
    shadows), or with specks. The limits are a little above all that was met on good results.

    Args:
        sums: ``(18, ...)``, over cells with their neighbours.
        area_px: of these.
    """
    found = 2 * sums / area_px
    along, down, product = found[:3], found[3:6], 2 * found[6]
    light, slope2, shift, channels, specks = found[7:10], found[10], np.abs(found[11:14]), found[14:17], found[17]
    changes = channels.mean(axis=0), channels.max(axis=0), shift.max(axis=0) ** 2
    e1, e2, e4, along1, along4, down1, down4, slope, change, largest, shift2 = _log(
        np.stack([*(along + down) / 2, along[0], along[2], down[0], down[2], slope2 / 2, *changes])
    )
    growth = along4 - along1, down4 - down1
    coherence = np.hypot(along[0] - down[0], product) / (along[0] + down[0] + 1 / LEVELS2)
    above = np.stack(
        [
            change - 0.5 * e4 - 2 * np.maximum(e4 - e2, 0) - FAR_ABOVE,
            slope - 0.5 * e4 - MOSAIC,
            shift2 - 2 / 3 * largest - SHIFTED,
            2 * largest - 1.75 * change - ONE_COLOUR,
            2 * np.log((shift / (light + 0.04)).max(axis=0) / OF_LIGHT + 1e-6),
            np.where(specks > 0, 1, -np.inf),
        ]
    )
    blur = [e1, e2 - e1, e4 - e2, np.minimum(*growth), np.maximum(*growth), coherence]
    return np.stack([*blur, change, slope - e1], axis=-1), above.max(axis=0)


def kept_shares(found: NDArray[Any]) -> NDArray[Any]:
    """Features, ``(..., 8)`` -> what is kept of the change, 0 to 1, by a small fitted network."""
    kept = 1 / (1 + np.exp(-(np.tanh(found @ HIDDEN + HIDDEN_BIAS) @ KEPT + KEPT_BIAS + BOLDER)))
    return np.where(kept > ALL, 1, np.where(kept < NONE, 0, kept))


def _log(energy: NDArray[Any]) -> NDArray[Any]:
    """Of a mean square, in levels of 255."""
    return np.log(np.maximum(energy, 0) * LEVELS2 + FAINT)


def _difference(values: Planes, rows: int, columns: int, out: Planes) -> Planes:
    """Of every second row, over so many rows down or columns along; in a part of ``out``."""
    first = values[:, : values.shape[1] - rows : 2, : max(0, values.shape[2] - columns)]
    second = values[:, rows::2, columns:]
    return np.subtract(second, first, out[:, : second.shape[1], : second.shape[2]])


def _products(a: Planes, b: Planes, width: int) -> Grid:
    """Of ``(n, rows, columns)``, summed over the rows, with zeros up to ``width``."""
    sums = np.zeros((len(a), width), np.float32)
    np.einsum("nrw,nrw->nw", a, b, out=sums[:, : a.shape[2]])
    return sums


def _with_neighbours(cells: Grid) -> Grid:
    """``(..., rows + 2, columns + 2)`` -> ``(..., rows, columns)``: the sum of each cell and its eight neighbours."""
    rows = cells[..., :-2, :] + cells[..., 1:-1, :] + cells[..., 2:, :]
    return rows[..., :-2] + rows[..., 1:-1] + rows[..., 2:]


def _lengths_px(side_px: int) -> Grid:
    """Of the cells along an axis."""
    return np.diff([*range(0, side_px, CELL_PX), side_px]).astype(np.float32)
