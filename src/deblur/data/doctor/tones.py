"""Brightness, tone curve and light: is a pair encoded alike, and was its blur added up in linear light or as encoded?

The mean over a window is not changed by blur where encoded values were averaged. Where light was averaged and encoded
afterwards, the window is brighter, the more contrast the blur took away: for a gamma g, a mean m and lost variance v,
encode(mean(decode)) - mean = (g - 1) / 2 * v / m to second order (Taylor). The slope of what was gained against v / m
is thus 0 for encoded averages and 0.6 for linear ones with g = 2.2.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.float32]

WINDOW_PX = 32
LEAST_WINDOWS = 24
DARK, BRIGHT = 20.0, 235.0
"""Windows with means beyond are left out: clipping there hides what is looked for (levels of 255)."""


@dataclass(frozen=True)
class Tones:
    """How the tones of a pair differ; NaN where the picture does not tell.

    ``brightness_levels``: blurry minus sharp, in levels of 255, without what the light did. ``exponent``: blurry is
    sharp to this power, in ``[0, 1]`` values; 1 where both are encoded alike. ``light``: the slope above, with its
    standard error.
    """

    brightness_levels: float
    exponent: float
    light: float
    light_uncertainty: float


def tones_of(blurry: Plane, sharp: Plane) -> Tones:
    """Compare two grey images ``(H, W)`` in levels of 255 that lie on each other."""
    (blurry_mean, blurry_variance), (sharp_mean, sharp_variance) = _windows(blurry), _windows(sharp)
    usable = (np.minimum(blurry_mean, sharp_mean) > DARK) & (np.maximum(blurry_mean, sharp_mean) < BRIGHT)
    if usable.sum() < LEAST_WINDOWS:
        return Tones(float(blurry.mean() - sharp.mean()), np.nan, np.nan, np.nan)
    blurry_mean, sharp_mean = blurry_mean[usable], sharp_mean[usable]
    lost = (sharp_variance - blurry_variance)[usable] / sharp_mean
    brightness, light, uncertainty = _line(lost, blurry_mean - sharp_mean)
    return Tones(brightness, _exponent(blurry_mean, sharp_mean), light, uncertainty)


def _windows(image: Plane) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and variance of each whole window."""
    rows, columns = (side // WINDOW_PX for side in image.shape)
    cells = image[: rows * WINDOW_PX, : columns * WINDOW_PX].reshape(rows, WINDOW_PX, columns, WINDOW_PX)
    mean = cells.mean(axis=(1, 3), dtype=np.float64)
    return mean.ravel(), (np.square(cells).mean(axis=(1, 3), dtype=np.float64) - mean**2).ravel()


def _exponent(blurry_mean: NDArray[np.float64], sharp_mean: NDArray[np.float64]) -> float:
    """Of the power law between the means; 1 where an offset or a factor, as of exposure, explains as much."""
    blurry, sharp = blurry_mean / 255, sharp_mean / 255
    exponent = float(np.median(np.log(blurry) / np.log(sharp)))
    guesses = (sharp**exponent, sharp + np.median(blurry - sharp), sharp * np.median(blurry / sharp))
    of_power, *of_exposure = (float(np.median(np.abs(blurry - guess))) for guess in guesses)
    return exponent if of_power < min(of_exposure) else 1.0


def _line(cause: NDArray[np.float64], effect: NDArray[np.float64]) -> tuple[float, float, float]:
    """Height at 0, slope and the slope's standard error of a line, outliers weighed down."""
    weights = np.ones_like(cause)
    height, slope, error = float(effect.mean()), np.nan, np.nan
    for _ in range(5):
        middle_x, middle_y = np.average(cause, weights=weights), np.average(effect, weights=weights)
        x, y = cause - middle_x, effect - middle_y
        spread = float(np.sum(weights * x * x))
        if spread < 1e-9:
            return float(middle_y), np.nan, np.nan
        slope = float(np.sum(weights * x * y)) / spread
        height = float(middle_y - slope * middle_x)
        residual = y - slope * x
        scale = 1.4826 * float(np.median(np.abs(residual))) + 1e-3
        weights = 1 / (1 + (residual / (2 * scale)) ** 2)
        error = float(scale / np.sqrt(spread))
    return height, slope, error
