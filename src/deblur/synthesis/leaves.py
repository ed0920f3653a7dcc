"""Dead leaves: occluding leaves of every size, the simplest images with the statistics of natural ones.

Leaves fall on the plane one after the other, each hiding what lies below. Radii have density ``r ** -3``, which makes
the image look alike at every scale and its power spectrum fall as ``1 / f ** 2`` (Lee, Mumford & Huang 2001, "Occlusion
models for natural images"). A leaf is a disc, a diamond, a polygon or a line, stretched and turned, with a colour, a
gradient and a texture of its own.

Here they fall, which is a value; ``leaf_pictures`` draws them.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Numbers = NDArray[np.int32]

EXPONENT = 3.0
SUPERSAMPLING = 2
SMALLEST_PX = (1.2, 5.0)
"""Bounds of an image's smallest radius: some are busy, some calm, as photographs are."""
DEPTH = 2.5
"""Leaves over a point, on average: a share ``exp(-DEPTH)`` of the ground stays in sight, and is a leaf, too."""

TEXTURES, TEXTURE_PX = 48, 128  # a power of two
DISC, DIAMOND, POLYGON, LINE = range(4)
KINDS = (6.0, 1.5, 3.0, 1.5)
"""How common each is, on average (parameters of a Dirichlet distribution over images)."""


def power_law_radii(rng: np.random.Generator, count: int, smallest_px: float, largest_px: float) -> NDArray[np.float64]:
    """``count`` radii with density proportional to ``r ** -3`` between the limits (by inverting the distribution)."""
    power = 1.0 - EXPONENT
    u = rng.random(count)
    return (smallest_px**power + u * (largest_px**power - smallest_px**power)) ** (1 / power)


@dataclass(frozen=True)
class Leaves:
    """All random decisions of an image, as values: n leaves in the order in which they fell; the first is the ground.

    Attributes:
        shape_px: height and width of the image.
        smallest_px: the lower limit of the radii; the upper one is half the image's longer side.
        radii_px: ``(n,)``, of the discs that are then stretched or cut into polygons.
        ends: ``(n,)`` int, where each leaf's corners end in ``corners``; the ground has none.
        corners: ``(total, 2)``, x and y in half pixels, in convex order.
        colours: ``(n, 3)`` in 0 to 255, in the leaf's centre.
        gradients: ``(3, n)``, the change of brightness a pixel to the right and down, and at the image's origin.
        textures: ``(n,)``, which one.
        contrasts: ``(n,)``, the texture's standard deviation, in levels of brightness.
        corner: y and x in the textures of the image's origin.
    """

    shape_px: tuple[int, int]
    smallest_px: float
    radii_px: NDArray[np.float64]
    ends: NDArray[np.int64]
    corners: Numbers
    colours: Floats
    gradients: Floats
    textures: Numbers
    contrasts: Floats
    corner: tuple[int, int]


def fall(rng: np.random.Generator, height_px: int, width_px: int) -> Leaves:
    """Let leaves fall around and on an image, and keep those that touch it."""
    smallest_px = float(np.exp(rng.uniform(*np.log(SMALLEST_PX))))
    radii, centres = _touching(rng, height_px, width_px, smallest_px)
    n = len(radii)
    # An image has a grain: its leaves are stretched more or less, and turned more or less alike.
    kind = rng.choice(4, n, p=rng.dirichlet(KINDS))
    stretch = np.exp(np.abs(rng.normal(0, rng.uniform(0.1, 0.7), n)))
    stretch = np.where(kind == LINE, rng.uniform(6, 40, n), stretch)
    turn = rng.uniform(0, np.pi) + rng.normal(0, rng.choice([0.3, 3.0]), n)
    ends, corners = _corners(rng, kind, centres, np.sqrt(stretch)[:, None] ** (1, -1) * radii[:, None], turn)
    # Leaves of one image differ more in brightness than in hue.
    ground = rng.uniform(50, 205) + rng.normal(0, rng.uniform(5, 35), 3)
    colours = ground + rng.normal(0, rng.uniform(20, 60), (n, 1)) + rng.normal(0, rng.uniform(3, 25), (n, 3))
    slopes = rng.normal(0, rng.uniform(0, 30), (n, 2)) / np.maximum(radii, 4.0)[:, None]
    return Leaves(
        (height_px, width_px),
        smallest_px,
        radii,
        ends,
        corners,
        np.clip(colours, 4, 251).astype(np.float32),
        np.array([*slopes.T, -(slopes * centres).sum(axis=1)], np.float32),
        rng.integers(0, TEXTURES, n, np.int32),
        np.minimum(rng.exponential(rng.uniform(1, 10), n), 40.0).astype(np.float32),
        (int(rng.integers(TEXTURE_PX)), int(rng.integers(TEXTURE_PX))),
    )


def _touching(
    rng: np.random.Generator, height_px: int, width_px: int, smallest_px: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Radii ``(n,)`` and centres ``(n, 2)`` (x, y): the ground, then the leaves whose discs touch the image."""
    largest_px = max(height_px, width_px, 4 * smallest_px) / 2
    width, height = width_px + 2 * largest_px, height_px + 2 * largest_px
    mean_area = 2 * np.pi * np.log(largest_px / smallest_px) / (smallest_px**-2 - largest_px**-2)
    count = rng.poisson(DEPTH * width * height / mean_area)
    radii = power_law_radii(rng, count, smallest_px, largest_px)
    centres = rng.random((count, 2)) * (width, height) - largest_px
    outside = np.maximum(np.maximum(-centres, centres - (width_px, height_px)), 0)
    touches = (outside**2).sum(axis=1) < radii**2
    return np.r_[largest_px, radii[touches]], np.r_[[(width_px / 2, height_px / 2)], centres[touches]]


def _corners(
    rng: np.random.Generator,
    kind: NDArray[np.int64],
    centres: NDArray[np.float64],
    half: NDArray[np.float64],
    turn: NDArray[np.float64],
) -> tuple[NDArray[np.int64], Numbers]:
    """Every leaf is a polygon on an ellipse with the half axes ``half``; a disc is one with many corners."""
    n = len(kind)
    many = np.maximum(5 * np.sqrt(half[:, 0]), 8)  # a disc's sides are 0.2 px off the circle at most
    count = np.select([kind == DISC, kind == POLYGON], [many, rng.integers(3, 8, n)], 4).astype(int)
    count[0] = 0
    ends = np.cumsum(count)
    owner = np.repeat(np.arange(n), count)
    place = np.arange(len(owner)) - (ends - count)[owner]
    moved = np.where(kind == POLYGON, 0.8, 0.0)[owner] * rng.random(len(owner))
    first = np.where(kind == LINE, 1 / 8, 0.0)[owner]  # a line is a rectangle, a diamond stands on a corner
    angle = 2 * np.pi * (first + (place + moved) / count[owner])
    on_axes = half[owner] * np.c_[np.cos(angle), np.sin(angle)]
    c, s = np.cos(turn)[owner], np.sin(turn)[owner]
    x, y = on_axes.T
    corners = centres[owner] + np.c_[c * x - s * y, s * x + c * y]
    return ends, np.rint(corners * SUPERSAMPLING).astype(np.int32)


@lru_cache(maxsize=1)
def textures() -> Floats:
    """Noise of many scales and grains, ``(TEXTURES, TEXTURE_PX, TEXTURE_PX)``, deviation 1, periodic.

    Each is 1/f noise through a band in frequency and a direction: narrow ones make stripes, wide ones clouds.
    """
    rng = np.random.default_rng(0)
    fy, fx = np.fft.fftfreq(TEXTURE_PX)[:, None], np.fft.rfftfreq(TEXTURE_PX)
    frequency, direction = np.maximum(np.hypot(fy, fx), 1 / TEXTURE_PX), np.arctan2(fy, fx)
    textures = []
    for _ in range(TEXTURES):
        band = np.exp(-(((np.log2(frequency) - rng.uniform(-5, -1)) / rng.uniform(0.2, 2.0)) ** 2))
        grain = np.exp(rng.exponential(3) * (np.cos(2 * (direction - rng.uniform(0, np.pi))) - 1))
        white = np.fft.rfft2(rng.normal(size=(TEXTURE_PX, TEXTURE_PX)))
        noise = np.fft.irfft2(white * band * grain / frequency)
        textures.append(np.clip((noise - noise.mean()) / noise.std(), -3, 3))
    return np.array(textures, np.float32)
