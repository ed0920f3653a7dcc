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

from deblur.images import Rgb
from deblur.inference.engine import Planes

CELL_PX = 32
HALF_PX = CELL_PX // 2
SHARES = (np.arange(CELL_PX, dtype=np.float32) + np.float32(0.5)) / np.float32(CELL_PX)
"""Of pixels on their way from one cell's centre to the next one's."""
LAGS_PX = (1, 2, 4)
STATISTICS = 2 * len(LAGS_PX) + 2 + 3 * 3 + 1
HELD = 3
"""Rows of cells that wait until the row below has been measured."""
LEVELS2, FAINT = np.float32(255**2), np.float32(0.5)
"""Squared differences are compared in squared levels of 255; half of one hardly counts."""
ALL, NONE = 0.97, 0.03
"""Shares of a change that count as all of it, and as none."""
FAR_ABOVE, MOSAIC, SHIFTED, ONE_COLOUR, OF_LIGHT, SPECK = 3.4, 2.35, 1.57, 3.25, 0.37, 6.6
"""Limits of what a good restoration does: see ``features`` and ``statistics``."""
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
        rgb: ``(H, W, 3)``; rows are read until they have been handed on.
    """

    def __init__(self, rgb: Rgb) -> None:
        self._rgb = rgb
        height, width = rgb.shape[:2]
        rows, columns = ceil(height / CELL_PX), ceil(width / CELL_PX)
        self._found = np.zeros((STATISTICS, rows, columns), np.float32)
        self._area_px = np.outer(_lengths_px(height), _lengths_px(width))
        self._kept = np.ones((rows, columns), np.float32)
        self._broken = np.zeros((rows, columns), bool)
        self._doubtful = False
        self._blurry, self._held = (np.empty((HELD, 3, CELL_PX, width), np.float32) for _ in range(2))
        self._change = np.empty((3, CELL_PX, width), np.float32)
        self._done_px = self._taken_px = 0

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
                row, offset = divmod(self._taken_px, CELL_PX)
                until = min(rows.stop, (row + 1) * CELL_PX)
                part = slice(self._taken_px - rows.start, until - rows.start)
                self._held[row % HELD, :, offset : offset + until - self._taken_px] = restored[:, part]
                self._taken_px = until
                if until in ((row + 1) * CELL_PX, len(self._rgb)):
                    self._measured(row, finish)

        return take

    def _measured(self, row: int, finish: Finish) -> None:
        """Measure a row of cells; decide on the one above and, at the end, on this one; hand on what is decided."""
        height = len(self._rgb)
        rows = slice(row * CELL_PX, min((row + 1) * CELL_PX, height))
        held, blurry = (each[row % HELD, :, : rows.stop - rows.start] for each in (self._held, self._blurry))
        blurry[:] = self._rgb[rows].transpose(2, 0, 1)
        blurry /= np.float32(np.iinfo(self._rgb.dtype).max)
        change = np.subtract(held, blurry, out=self._change[:, : held.shape[1]])
        self._found[:, row] = statistics(blurry, change, self._area_px[row])
        last = rows.stop == height
        for decided in [row - 1] * (row > 0) + [row] * last:
            self._decide(decided)
        self._hand_on(height if last else max(0, row * CELL_PX - HALF_PX), finish)

    def _decide(self, row: int) -> None:
        """Which cells of a row are broken, and what is kept of the others' change. Rows come from top to bottom."""
        found, above = features(*self.around(row))
        self._broken[row] = above > 0
        self._doubtful |= bool(self._broken[: row + 1].mean() > DOUBTFUL)
        if self._doubtful:
            self._broken[row] = above > -LOWER
        self._kept[row] = np.where(self._broken[row], 0, kept_shares(found))

    def around(self, row: int) -> tuple[Grid, Grid]:
        """Statistics and pixels of each cell of a row with its eight neighbours, summed."""
        near = slice(max(0, row - 1), row + 2)
        sums = self._found[:, near].sum(axis=1), self._area_px[near].sum(axis=0)
        wide = [each.copy() for each in sums]
        for each, of in zip(wide, sums, strict=True):
            each[..., 1:] += of[..., :-1]
            each[..., :-1] += of[..., 1:]
        return wide[0], wide[1]

    def _hand_on(self, until_px: int, finish: Finish) -> None:
        """The rows from where it stopped up to ``until_px``, in pieces between cells' centres and borders."""
        while self._done_px < until_px:
            row, offset = divmod(self._done_px, CELL_PX)
            rows = slice(self._done_px, min(until_px, (self._done_px // HALF_PX + 1) * HALF_PX))
            restored = self._held[row % HELD, :, offset : offset + rows.stop - rows.start]
            above = max(0, (rows.start - HALF_PX) // CELL_PX)
            pair = self._kept[above : above + 2]
            if (pair == 0).all():
                pass  # the input stays
            elif (pair == 1).all():
                finish(rows, restored)
            else:
                finish(rows, self._blended(rows, restored))
            self._done_px = rows.stop

    def _blended(self, rows: slice, restored: Planes) -> Planes:
        """``blurry + kept * (restored - blurry)``, in place; kept is linear between cells' centres."""
        row, offset = divmod(rows.start, CELL_PX)
        above = row - 1 if offset < HALF_PX else row
        upper, lower = (self._kept[np.clip(each, 0, len(self._kept) - 1)] for each in (above, above + 1))
        shares = SHARES[(offset + HALF_PX) % CELL_PX :][: rows.stop - rows.start, None]
        at_centres = upper + shares * (lower - upper)
        columns = np.concatenate([at_centres[:, :1], at_centres, at_centres[:, -1:]], axis=1)[..., None]
        wide = columns[:, :-1] + SHARES * (columns[:, 1:] - columns[:, :-1])
        kept = wide.reshape(len(wide), -1)[:, HALF_PX : HALF_PX + restored.shape[2]]
        blurry = self._blurry[row % HELD, :, offset : offset + rows.stop - rows.start]
        restored -= blurry
        restored *= kept
        restored += blurry
        return restored


def statistics(blurry: Planes, change: Planes, area_px: NDArray[Any]) -> Grid:
    """A row of cells, ``(3, up to 32, W)`` of the input and of what the network adds, as sums: ``(18, columns)``.

    Most are of every second row, the others are halved. Of green: squared differences of the input over 1, 2 and 4 px
    along, the same down, the product of its slopes along and down, and the squared slopes of the change. Of each
    channel: the input, the change, and the squared change. The last is 1 where a pixel's change is far above its
    cell's. ``change`` is overwritten.
    """
    height, width = blurry.shape[1:]
    green, changed, half = blurry[1], change[1], slice(None, None, 2)
    pairs = height // 2
    along, changed_along = green[half], changed[half]
    below = [(green[lag::2] - green[: height - lag : 2]) if lag < height else green[:0] for lag in LAGS_PX]
    slopes = below[0][:, :-1] * (along[:pairs, 1:] - along[:pairs, :-1])
    found = [
        *(_cell_sums((along[:, lag:] - along[:, :-lag]) ** 2, width) for lag in LAGS_PX),
        *(_cell_sums(each**2, width) for each in below),
        _cell_sums(slopes, width),
        _cell_sums((changed_along[:, 1:] - changed_along[:, :-1]) ** 2, width)
        + _cell_sums((changed[1::2] - changed[: 2 * pairs : 2]) ** 2, width),
        _cell_sums(blurry[:, half], width),
        _cell_sums(change[:, half], width),
    ]
    np.multiply(change, change, out=change)
    energies = _cell_sums(change, width) / 2
    peaks = np.maximum.reduceat(change.max(axis=(0, 1)), np.arange(0, width, CELL_PX))
    specks = _log(peaks) - _log(2 * energies.mean(axis=0) / area_px) > SPECK
    return np.vstack([*found, energies, specks])


def features(sums: Grid, area_px: Grid) -> tuple[NDArray[Any], NDArray[Any]]:
    """What the share rests on, ``(columns, 8)``, and how far the change lies above the limits of a good one's.

    Those are in logarithms of energy, and above 0 it is broken: with more energy than blur like the input's explains,
    with steeper slopes (a mosaic), with little but a shift, of one colour alone, of a large part of the light (crushed
    shadows), or with specks. The limits are a little above all that was met on good results.

    Args:
        sums: ``(18, columns)``, over cells with their neighbours.
        area_px: of these.
    """
    found = 2 * sums / area_px
    along, down, product = found[:3], found[3:6], 2 * found[6]
    light, shift, channels, specks = found[8:11], np.abs(found[11:14]), found[14:17], found[17]
    changes = channels.mean(axis=0), channels.max(axis=0), shift.max(axis=0) ** 2
    e1, e2, e4, along1, along4, down1, down4, slope, change, largest, shift2 = _log(
        np.stack([*(along + down) / 2, along[0], along[2], down[0], down[2], found[7] / 2, *changes])
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
    return np.stack([*blur, change, slope - e1], axis=1), above.max(axis=0)


def kept_shares(found: NDArray[Any]) -> NDArray[Any]:
    """Features, ``(cells, 8)`` -> what is kept of the change, 0 to 1, by a small fitted network."""
    kept = 1 / (1 + np.exp(-(np.tanh(found @ HIDDEN + HIDDEN_BIAS) @ KEPT + KEPT_BIAS + BOLDER)))
    return np.where(kept > ALL, 1, np.where(kept < NONE, 0, kept))


def _log(energy: NDArray[Any]) -> NDArray[Any]:
    """Of a mean square, in levels of 255."""
    return np.log(np.maximum(energy, 0) * LEVELS2 + FAINT)


def _cell_sums(values: Planes, width: int) -> Grid:
    """Of ``(..., rows, columns)``, sums over the cells that a row of ``width`` px has."""
    columns = np.zeros((*values.shape[:-2], width), np.float32)
    columns[..., : values.shape[-1]] = values.sum(axis=-2)
    return np.add.reduceat(columns, np.arange(0, width, CELL_PX), axis=-1)


def _lengths_px(side_px: int) -> Grid:
    """Of the cells along an axis."""
    return np.diff([*range(0, side_px, CELL_PX), side_px]).astype(np.float32)
