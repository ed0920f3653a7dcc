"""Displacement told from damage: how well two images agree after the best shift of one of them.

The sharp picture of a pair need not lie where the blurry one's middle lies: a reference half a frame away, or a kernel
whose centre of mass is not its middle in time, moves everything by a pixel or two. PSNR then falls by decibels although
nothing is wrong with the picture. One global shift, the same search for the input and for the output, takes that away.

The shift is sub-pixel and minimises the squared error of luma: the best whole pixel by correlation, then Gauss-Newton
steps on a cubic spline (Lucas and Kanade 1981, for one translation).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import fft
from scipy.ndimage import shift as spline_shift
from scipy.ndimage import spline_filter

from deblur.errors import DataError
from deblur.metrics import LUMA, psnr_db

STEPS, CLOSE_PX = 8, 0.01
MARGIN_PX = 2
"""Of the spline: pixels near the border are made up."""


@dataclass(frozen=True)
class Aligned:
    """PSNR after the best shift, and that shift: the image moved by (dy, dx) px lies on the sharp one."""

    psnr_db: float
    dy_px: float
    dx_px: float


def align(image: NDArray[np.uint8], sharp: NDArray[np.uint8], most_px: int = 6) -> Aligned:
    """The best global shift of ``image`` onto ``sharp``, at most ``most_px`` along each axis.

    Args:
        image: ``(H, W, 3)`` uint8.
        sharp: the same shape.
        most_px: how far to look. PSNR is of the pixels that are inside for every allowed shift, so figures of several
            images against one reference are of the same pixels.

    Raises:
        DataError: images too small for the search.
    """
    border = most_px + MARGIN_PX
    if min(sharp.shape[:2]) < 4 * border:
        raise DataError(f"A shift of up to {most_px} px is sought in images of at least {4 * border} px a side.")
    luma, reference = (x.astype(np.float32) @ LUMA for x in (image, sharp))
    inner = (slice(border, -border), slice(border, -border))
    place = _best_whole_px(luma, reference[inner], border, most_px)
    spline = spline_filter(luma, order=3, output=np.float32, mode="nearest")
    last = np.zeros(2)
    for _ in range(STEPS):
        moved = spline_shift(spline, place, order=3, mode="nearest", prefilter=False)
        gradient = np.stack([side[inner].ravel() for side in np.gradient(moved)])
        error = (moved[inner] - reference[inner]).ravel()
        normal = gradient @ gradient.T
        if np.linalg.cond(normal) > 1e8:
            break  # flat, or straight stripes: there is no best place along them
        step = np.linalg.solve(normal, gradient @ error)
        if step @ last < 0:
            step = step / 2  # beyond it: fine texture is steeper than its differences tell
        place = np.clip(place + step, -most_px, most_px)
        last = step
        if np.abs(step).max() < CLOSE_PX:
            break
    candidates = [place, np.zeros(2)]
    found = [(_psnr_moved(image, sharp, at, inner), at) for at in candidates]
    best_db, best = max(found, key=lambda each: each[0])
    return Aligned(best_db, float(best[0]), float(best[1]))


def _best_whole_px(
    luma: NDArray[np.float32], inner: NDArray[np.float32], border: int, most_px: int
) -> NDArray[np.float64]:
    """The whole-pixel shift with the least squared error, by one correlation and running sums."""
    size = [fft.next_fast_len(side, real=True) for side in luma.shape]
    product = fft.rfft2(luma, size) * np.conj(fft.rfft2(inner, size))
    correlation = fft.irfft2(product, size)
    squares = np.pad(np.cumsum(np.cumsum(luma.astype(np.float64) ** 2, axis=0), axis=1), ((1, 0), (1, 0)))
    (height, width), errors = inner.shape, {}
    for dy in range(-most_px, most_px + 1):
        for dx in range(-most_px, most_px + 1):
            top, left = border - dy, border - dx
            energy = squares[top + height, left + width] - squares[top, left + width]
            energy += squares[top, left] - squares[top + height, left]
            errors[dy, dx] = energy - 2 * correlation[top, left]
    return np.array(min(errors, key=lambda at: (errors[at], abs(at[0]) + abs(at[1]))), np.float64)


def _psnr_moved(
    image: NDArray[np.uint8], sharp: NDArray[np.uint8], at: NDArray[np.float64], inner: tuple[slice, slice]
) -> float:
    if not at.any():
        return psnr_db(image[inner], sharp[inner])
    channels = [spline_shift(channel, at, np.float32, order=3, mode="nearest") for channel in image.transpose(2, 0, 1)]
    moved = np.rint(np.clip(np.stack(channels, axis=-1), 0, 255)).astype(np.uint8)
    return psnr_db(moved[inner], sharp[inner])
