"""How far the blurry image lies from the sharp one, whatever the blur.

The peak of a phase correlation follows the fine detail, which the blur has smeared along its path: on a good pair it
may lie anywhere on the path. Here both images are low-passed until they look alike, and the shift (and zoom, gain and
offset) that leaves the smallest residual is found by Gauss-Newton steps from coarse to fine, with weights that let
moving objects go (Lucas & Kanade 1981; Baker & Matthews, IJCV 2004). It follows the centre of mass of the blur.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.fft import fftfreq, irfft2, rfft2, rfftfreq
from scipy.ndimage import affine_transform, gaussian_filter

Plane = NDArray[np.float32]

WORKING_PX = 200
COARSEST_FACTOR = 8
LEVELS = 3
LEAST_SIDE_PX = 12
SMOOTHING = 1.5
STEPS = 6
CLOSE_PX = 0.02
FAINT_LEVELS = 2.0
REDUCED, SLOW = 4, 0.04
"""Cycles per px below which a spectrum tells how long its blur is; a quarter of the size holds them."""


@dataclass(frozen=True)
class Offset:
    """Where the blurry image lies against the sharp one.

    ``x_px`` and ``y_px`` at full resolution, positive to the right and down; ``zoom_px``: how far a corner is moved
    outwards; ``likeness``: correlation of the low-passed images once they are laid over each other; ``hold``:
    correlation of their gradients in the direction where it is least, near 0 where noise is all that could be
    followed.
    """

    x_px: float
    y_px: float
    zoom_px: float
    hold: float
    likeness: float

    @property
    def length_px(self) -> float:
        return float(np.hypot(self.x_px, self.y_px))


def offset_of(blurry: Image.Image, sharp: Image.Image) -> Offset:
    """Register two grey images (mode F, levels of 255) of one size, ``LEAST_SIDE_PX`` or more a side."""
    factors = _factors(blurry.size)
    coarsest = factors[0]
    box = (0, 0, blurry.width // coarsest * coarsest, blurry.height // coarsest * coarsest)
    blurry, sharp = blurry.crop(box), sharp.crop(box)
    found = np.zeros(3)  # y, x, zoom at the corner: pixels of full resolution
    hold, likeness = 0.0, 0.0
    for factor in factors:
        moving, still = (
            gaussian_filter(np.asarray(image.reduce(factor), np.float32), SMOOTHING) for image in (blurry, sharp)
        )
        found, hold, likeness = _refined(moving, still, found / factor)
        found = found * factor
    return Offset(float(found[1]), float(found[0]), float(found[2]), hold, likeness)


def path_of(blurry: Image.Image, sharp: Image.Image) -> tuple[float, float, float]:
    """The blur as a straight path at constant speed: its length in px and its direction (x, y), of length 1.

    A kernel's spectrum begins as ``exp(-w' C w / 2)`` with C its covariance, which the ratio of the spectra tells
    whatever the shift, and a path of length L has L^2 / 12 along its direction. 0 px where the images are too small.
    """
    factor = REDUCED if min(sharp.size) >= WORKING_PX else 1
    planes = [np.asarray(image.reduce(factor), np.float32) for image in (blurry, sharp)]
    fade = np.hanning(planes[0].shape[0])[:, None] * np.hanning(planes[0].shape[1])
    powers = [np.abs(rfft2((plane - plane.mean()) * fade)) ** 2 + 1e-9 for plane in planes]
    y, x = np.meshgrid(fftfreq(fade.shape[0]), rfftfreq(fade.shape[1]), indexing="ij")
    slow = (np.hypot(y, x) > 2 / min(fade.shape)) & (np.hypot(y, x) < SLOW * factor)
    if slow.sum() < 16:
        return 0.0, 1.0, 0.0
    own, other = (power[slow] for power in powers)
    weights = (own * other) ** 0.25  # of the square root of each squared residual
    y, x = 2 * np.pi * y[slow], 2 * np.pi * x[slow]
    terms = np.stack([-x * x, -2 * x * y, -y * y, np.ones_like(x)]) * weights
    xx, xy, yy, _ = np.linalg.lstsq(terms.T, weights * np.log(own / other), rcond=None)[0]
    variances, axes = np.linalg.eigh(np.array([[xx, xy], [xy, yy]]))
    return factor * float(np.sqrt(12 * max(variances[1], 0.0))), float(axes[0, 1]), float(axes[1, 1])


def peak_px(blurry: Image.Image, sharp: Image.Image) -> float:
    """How far the peak of the phase correlation lies from 0: the second opinion.

    A mean of frames holds the middle one as a faint ghost, and the peak follows that; where no ghost stands out, it may
    lie anywhere on the path of the blur.
    """
    windows = [np.hanning(side).astype(np.float32) for side in (blurry.height, blurry.width)]
    fade = windows[0][:, None] * windows[1]
    spectra = [rfft2((np.asarray(i) - np.float32(np.mean(np.asarray(i)))) * fade) for i in (blurry, sharp)]
    cross = spectra[0] * spectra[1].conj()
    response = irfft2(cross / (np.abs(cross) + 1e-6), s=fade.shape)
    place = np.unravel_index(int(np.argmax(response)), fade.shape)
    return float(np.hypot(*((at + side // 2) % side - side // 2 for at, side in zip(place, fade.shape, strict=True))))


def _factors(size_px: tuple[int, int]) -> list[int]:
    """Reductions from coarse to fine; the finest leaves ``WORKING_PX`` to twice that on the longer side, as far as
    ``LEAST_SIDE_PX`` are left on the shorter one.
    """
    finest = 1
    most = min(COARSEST_FACTOR, min(size_px) // LEAST_SIDE_PX)
    while 2 * finest <= most and max(size_px) // (2 * finest) >= WORKING_PX:
        finest *= 2
    factors = [finest * 2**level for level in reversed(range(LEVELS))]
    return [factor for factor in factors if min(size_px) // factor >= LEAST_SIDE_PX]


def _refined(moving: Plane, still: Plane, start: NDArray[np.float64]) -> tuple[NDArray[np.float64], float, float]:
    """Gauss-Newton from ``start`` (y, x, zoom): the new values, the hold, the likeness."""
    centre = (np.array(still.shape) - 1) / 2
    reach = float(np.hypot(*centre))
    y, x = (np.indices(still.shape) - centre[:, None, None]).astype(np.float32)
    slope_y, slope_x = _slopes(still)
    found, gain = start, 1.0
    weights: Plane = np.ones_like(still)
    moved = np.inf
    for steps in range(STEPS + 1):
        laid = _laid(moving, found, centre)
        own_y, own_x = _slopes(laid)
        inside = np.isfinite(own_y + own_x)
        if inside.sum() < inside.size / 4:
            return found, 0.0, 0.0
        if steps == STEPS or moved < CLOSE_PX:
            break
        dy = (own_y[inside] + gain * slope_y[inside]) / 2
        dx = (own_x[inside] + gain * slope_x[inside]) / 2
        zoom = (dy * y[inside] + dx * x[inside]) / reach
        columns = np.stack([dy, dx, zoom, -still[inside], -np.ones_like(dy)])
        weighted = columns * weights[inside]
        normal = (weighted @ columns.T).astype(np.float64) + 1e-6 * np.eye(5)
        step = np.linalg.solve(normal, -(weighted @ laid[inside]).astype(np.float64))
        found, gain = found + step[:3], float(step[3])
        residual = np.nan_to_num(np.abs(laid - gain * still - np.float32(step[4])))
        spread = 1.4826 * float(np.median(residual[inside])) + 0.1
        weights = np.reciprocal(1 + np.square(residual / np.float32(2 * spread)))
        moved = float(np.abs(step[:3]).max())
    hold = _hold((own_y[inside], own_x[inside]), (slope_y[inside], slope_x[inside]))
    return found, hold, _correlation(laid[inside], still[inside])


def _slopes(plane: Plane) -> tuple[Plane, Plane]:
    return np.gradient(plane, axis=0), np.gradient(plane, axis=1)


def _laid(moving: Plane, found: NDArray[np.float64], centre: NDArray[np.float64]) -> Plane:
    """The blurry image laid over the sharp one; NaN where it has no pixels."""
    scale = 1 + found[2] / float(np.hypot(*centre))
    corner = centre + found[:2] - scale * centre
    return affine_transform(moving, [scale, scale], corner, order=1, mode="constant", cval=np.nan)


def _correlation(a: Plane, b: Plane) -> float:
    """Pearson's; 1 where there is hardly anything to see in either, for then nothing says that they differ."""
    spreads = sorted((float(a.std()), float(b.std())))
    if spreads[0] < FAINT_LEVELS:
        return 1.0 if spreads[1] < 4 * FAINT_LEVELS else 0.0
    return float(np.mean((a - a.mean()) * (b - b.mean())) / (spreads[0] * spreads[1]))


def _hold(moving: Sequence[Plane], still: Sequence[Plane]) -> float:
    """Correlation of gradients (y, x) along the main axes of what they have in common; the smaller of the two."""
    common, own, other = (
        np.array([[float(np.mean(a * b)) for b in right] for a in left])
        for left, right in ((moving, still), (moving, moving), (still, still))
    )
    _, axes = np.linalg.eigh((common + common.T) / 2)
    return min(float(v @ common @ v / np.sqrt((v @ own @ v) * (v @ other @ v) + 1e-9)) for v in axes.T)
