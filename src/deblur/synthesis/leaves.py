"""Dead leaves: occluding discs of every size, the simplest images with the statistics of natural ones.

Radii follow a power law with exponent 3, which makes the image look alike at every scale (Lee, Mumford & Huang 2001).
"""

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

SUPERSAMPLING = 2
EXPONENT = 3.0


def power_law_radii(rng: np.random.Generator, count: int, smallest_px: float, largest_px: float) -> NDArray[np.float64]:
    """``count`` radii with density proportional to ``r ** -3`` between the limits (by inverting the distribution)."""
    power = 1.0 - EXPONENT
    u = rng.random(count)
    return (smallest_px**power + u * (largest_px**power - smallest_px**power)) ** (1 / power)


def dead_leaves(rng: np.random.Generator, height_px: int, width_px: int, discs: int = 600) -> NDArray[np.uint8]:
    """An image of occluding discs, ``(height, width, 3)`` uint8; later discs lie on top. Edges are anti-aliased."""
    height, width = height_px * SUPERSAMPLING, width_px * SUPERSAMPLING
    radii = power_law_radii(rng, discs, 1.5 * SUPERSAMPLING, max(height, width) / 3)
    # The largest first: smaller ones stay visible, as after infinitely many leaves, with far fewer of them.
    radii = np.sort(radii)[::-1] * rng.uniform(0.7, 1.3, discs)
    centres = rng.random((discs, 2)) * (width, height)
    base = rng.uniform(30, 225, 3)
    colours = np.clip(base + rng.normal(0, 55, (discs, 1)) + rng.normal(0, 25, (discs, 3)), 0, 255).astype(int)
    image = Image.new("RGB", (width, height), tuple(int(c) for c in base))
    draw = ImageDraw.Draw(image)
    for (x, y), r, colour in zip(centres, radii, colours, strict=True):
        draw.ellipse((x - r, y - r, x + r, y + r), fill=tuple(colour.tolist()))
    return np.asarray(image.reduce(SUPERSAMPLING))
