"""Kernels: where the light of one point lands. All are non-negative, odd-sized and sum to 1.

Blurry and sharp agree on time: motion is a path of the camera, sampled at equal times and shared out among pixels, and
a path is at 0 at half time, as the sharp frame of GoPro, REDS and every averaged film is the one in the middle of the
exposure. So a single kernel may move the picture (its centre of mass is elsewhere where speed changes); the mean over
draws does not. Kernels without time (optics, measured ones) have their centre of mass in the middle. Two models:

* :func:`shake_trajectory`, a hand: velocity with inertia, random pushes, rare jolts (Boracchi & Foi, "Modeling the
  performance of image restoration from motion blur", IEEE TIP 2012; the same family in Kupyn et al., DeblurGAN, CVPR
  2018). Inertia is uniform in 0.7 to 0.98: from a tremble that turns often to a nearly straight drift, as in the paths
  measured by Levin et al. (CVPR 2009; kernels of 13 to 27 px) and Köhler et al. (ECCV 2012).
* :func:`swing_trajectory`, a short exposure or a few frames of a film (GoPro, Nah et al. 2017; REDS, Nah et al. 2019):
  there is no time to turn back. The heading turns by N(0, 0.7 rad) in all, the speed changes by up to 140 %: at
  strength 0.6 the centre of mass lies 0.9 px from the middle in time (median), as real pairs lie beside each other.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from deblur.errors import DataError, PhotoError
from deblur.images import SUFFIXES, image_files, read_rgb8

STEPS = 64
JOLT_PROBABILITY = 0.03
TURN_RAD, SPEED_CHANGE = 0.7, 1.4
SYNTHESIS = 2
"""By which law blur is drawn: 1 put a path's centre of mass in the middle, 2 its middle in time."""
KERNEL_SIDE_PX, KERNEL_FILE_MB, KERNELS_AT_MOST = 255, 4, 10_000


@dataclass(frozen=True)
class FixedArray:
    """An array of float32 as a value: it is compared, hashed and pickled by its bytes."""

    shape: tuple[int, ...]
    data: bytes

    @classmethod
    def of(cls, values: ArrayLike) -> "FixedArray":
        """Freeze a copy."""
        array = np.asarray(values, np.float32)
        return cls(array.shape, array.tobytes())

    @property
    def array(self) -> NDArray[np.float32]:
        """The values, read-only, without a copy."""
        return np.frombuffer(self.data, np.float32).reshape(self.shape)


def shake_trajectory(rng: np.random.Generator, extent_px: float) -> NDArray[np.float64]:
    """A path of ``(STEPS, 2)`` positions (x, y) in px, at 0 at half time, ``extent_px`` across at its widest."""
    inertia = rng.uniform(0.7, 0.98)
    angle = rng.uniform(0, 2 * np.pi)
    velocity = np.array([np.cos(angle), np.sin(angle)])
    positions = np.empty((STEPS, 2))
    position = np.zeros(2)
    for step in range(STEPS):
        push = rng.normal(size=2) * rng.uniform(0.1, 0.5)
        if rng.random() < JOLT_PROBABILITY:
            push -= 2 * velocity * rng.uniform(0.5, 1.0)
        velocity = inertia * velocity + (1 - inertia) * push * 3
        position = position + velocity
        positions[step] = position
    return _placed(positions, extent_px)


def swing_trajectory(rng: np.random.Generator, extent_px: float, steps: int = STEPS) -> NDArray[np.float64]:
    """A smooth, slightly curved path: ``(steps, 2)`` positions (x, y) in px, 0 at half time, ``extent_px`` wide."""
    angle, turn = rng.uniform(0, 2 * np.pi), rng.normal(0, TURN_RAD)
    change = rng.uniform(-SPEED_CHANGE, SPEED_CHANGE)
    time = np.linspace(-0.5, 0.5, steps)
    heading, speed = angle + turn * time, 1 + change * time
    velocity = np.stack([speed * np.cos(heading), speed * np.sin(heading)], axis=1)
    return _placed(np.cumsum(velocity, axis=0), extent_px)


def _placed(positions: NDArray[np.float64], extent_px: float) -> NDArray[np.float64]:
    """At 0 at half time: there is a position then where their number is odd, or else it is half way between two."""
    last = len(positions) - 1
    positions = positions - (positions[last // 2] + positions[last - last // 2]) / 2
    widest = np.linalg.norm(np.ptp(positions, axis=0))
    return positions * (extent_px / max(float(widest), 1e-9))


def shared_out(
    points: NDArray[np.floating], radius_px: int, weights: NDArray[np.floating] | None = None
) -> NDArray[np.float64]:
    """Share points ``(N, n, 2)`` (x, y) among their four nearest pixels, in proportion to closeness.

    The centre of mass stays exactly where it is. ``weights`` ``(n,)`` are 1 unless given; points reach at most
    ``radius_px - 1``. Returns ``(N, k, k)`` sums, k = 2 radius + 1.
    """
    side = 2 * radius_px + 1
    corner = np.floor(points).astype(int)
    fraction = points - corner
    first = np.arange(len(points))[:, None] * side**2
    places, shares = [], []
    for dx in (0, 1):
        for dy in (0, 1):
            share_x = fraction[..., 0] if dx else 1 - fraction[..., 0]
            share_y = fraction[..., 1] if dy else 1 - fraction[..., 1]
            share = share_x * share_y
            shares.append(share if weights is None else share * weights)
            places.append(first + (corner[..., 1] + dy + radius_px) * side + corner[..., 0] + dx + radius_px)
    sums = np.bincount(np.stack(places).ravel(), np.stack(shares).ravel(), minlength=len(points) * side**2)
    return sums.reshape(len(points), side, side).astype(np.float64)


def kernel_from_trajectory(
    positions: NDArray[np.floating], weights: NDArray[np.floating] | None = None
) -> NDArray[np.float32]:
    """Integrate a path of (x, y) positions into a square, odd-sized kernel that sums to 1."""
    radius = int(np.ceil(np.abs(positions).max())) + 1
    kernel = shared_out(positions[None], radius, weights)[0]
    return (kernel / kernel.sum()).astype(np.float32)


def shake_kernel(rng: np.random.Generator, extent_px: float) -> NDArray[np.float32]:
    """A random camera-shake kernel, ``extent_px`` across: ``(k, k)``, k odd, sums to 1."""
    return kernel_from_trajectory(shake_trajectory(rng, extent_px))


def line_kernel(length_px: float, angle_rad: float) -> NDArray[np.float32]:
    """Straight motion at constant speed."""
    along = np.linspace(-length_px / 2, length_px / 2, 8 * int(np.ceil(length_px)) + 1)
    return kernel_from_trajectory(along[:, None] * [np.cos(angle_rad), np.sin(angle_rad)])


def gaussian_kernel(sigma_px: float, ratio: float = 1.0, angle_rad: float = 0.0) -> NDArray[np.float32]:
    """An anisotropic Gaussian, ``sigma_px`` along ``angle_rad`` ``ratio`` (0 to 1) of it across; cut at 3 sigma."""
    x, y = _offsets(int(np.ceil(3 * sigma_px)) + 1)
    along, across = x * np.cos(angle_rad) + y * np.sin(angle_rad), y * np.cos(angle_rad) - x * np.sin(angle_rad)
    sigma = max(sigma_px, 1e-3)
    kernel = np.exp(-0.5 * ((along / sigma) ** 2 + (across / max(sigma * ratio, 1e-3)) ** 2))
    return (kernel / kernel.sum()).astype(np.float32)


def disc_kernel(radius_px: float) -> NDArray[np.float32]:
    """Defocus: a disc whose edge falls off over one pixel."""
    x, y = _offsets(int(np.ceil(radius_px)) + 1)
    kernel = np.clip(radius_px + 0.5 - np.hypot(x, y), 0, 1)
    return (kernel / kernel.sum()).astype(np.float32)


def _offsets(radius_px: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Columns and rows of a kernel, counted from its middle."""
    y, x = np.mgrid[-radius_px : radius_px + 1, -radius_px : radius_px + 1]
    return x, y


def load_kernels(folder: Path) -> tuple[FixedArray, ...]:
    """Measured kernels from the images and ``.npy`` files (2-D) directly in ``folder``, sorted by name.

    Each is recentred on its centre of mass (to less than 1e-3 px) and normalised. Sides of at most 255 px.

    Raises:
        DataError: no folder, nothing in it, or a file that is no kernel.
    """
    suffixes = (".npy", *SUFFIXES)
    paths = image_files(folder, suffixes)
    if not 0 < len(paths) <= KERNELS_AT_MOST:
        raise DataError(f"{folder} holds {len(paths)} kernels; give 1 to {KERNELS_AT_MOST} ({', '.join(suffixes)}).")
    return tuple(FixedArray.of(recentred(_measured(path), str(path))) for path in paths)


def recentred(kernel: ArrayLike, name: str = "The kernel") -> NDArray[np.float32]:
    """``(h, w)`` weights -> a square, odd-sized kernel that sums to 1, its centre of mass in the middle.

    Raises:
        DataError: not 2-D, too large, negative, not finite, or black; the sentence begins with ``name``.
    """
    weights = np.asarray(kernel, np.float64)
    if weights.ndim != 2 or not 0 < max(weights.shape) <= KERNEL_SIDE_PX:
        raise DataError(f"{name} has shape {weights.shape}; a kernel is 2-D, with sides of 1 to {KERNEL_SIDE_PX} px.")
    if not np.isfinite(weights).all() or weights.min() < 0 or weights.max() == 0:
        raise DataError(f"{name} has weights that are negative or no numbers, or all 0. Give weights of 0 and more.")
    y, x = np.nonzero(weights)
    values = weights[y, x] / weights.max()
    points = np.column_stack([x, y]).astype(np.float64)
    points -= np.average(points, axis=0, weights=values)
    return kernel_from_trajectory(points, values)


def _measured(path: Path) -> NDArray[np.float64]:
    """The weights in a file, not yet checked."""
    try:
        if path.stat().st_size > KERNEL_FILE_MB * 1e6:
            raise DataError(f"{path} has more than {KERNEL_FILE_MB} MB; a kernel is small.")
        if path.suffix.lower() == ".npy":
            values = np.load(path, mmap_mode="r", allow_pickle=False)
            return np.asarray(values, np.float64)
        return read_rgb8(path).mean(axis=2)
    except PhotoError as error:
        raise DataError(f"{error} It was to be a kernel.") from error
    except (OSError, ValueError, TypeError, EOFError) as error:
        raise DataError(f"{path} is no array of numbers that can be read. Save it with numpy.save.") from error


def scaled(kernel: FixedArray, factor: float) -> FixedArray:
    """The kernel, ``factor`` (0 to 1) times as large: each weight moves towards the middle."""
    radius = kernel.shape[0] // 2
    x, y = _offsets(radius)
    points = np.column_stack([x.ravel(), y.ravel()]) * float(factor)
    return FixedArray.of(kernel_from_trajectory(points, kernel.array.ravel().astype(np.float64)))
