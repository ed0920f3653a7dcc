"""How sure a mean is: the bootstrap by scene, with percentiles that are honest for few scenes.

Frames of one scene are alike: they say less than as many scenes would. So scenes are drawn again, not images (Efron and
Tibshirani 1993); where there are fewer than five of them, images are, and the interval says so.
"""

from collections.abc import Sequence
from math import inf, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm
from scipy.stats import t as student_t

from deblur.interval import Interval

DRAWS, SEED = 10_000, 2026
GROUPS_AT_LEAST = 5
"""No draw goes beyond the least value: four images that gain by chance all four, once in 16, would look sure."""


def bootstrap(values: Sequence[float], scenes: Sequence[str], *, by_image: bool = False) -> Interval:
    """Mean over images with its 95 % interval, deterministic; of fewer than five images the interval is infinite.

    Plain percentiles of n drawn groups are too narrow by sqrt((n - 1) / n), and by what Student's t is wider than the
    normal distribution. So the expanded ones are taken: ``Phi(-sqrt(n / (n - 1)) t(0.975, n - 1))`` and its mirror
    instead of 2.5 and 97.5 % (Hesterberg 2015, "What Teachers Should Know About the Bootstrap").

    How often that is right was measured (documentation/evaluation.md), and the tests draw it again.

    Args:
        values: a figure of each image, or the difference of two models' figures.
        scenes: the scene of each; with fewer than five scenes, images are drawn instead.
        by_image: draw images in any case.

    Raises:
        ValueError: no values, or not as many scenes.
    """
    if not len(values) or len(values) != len(scenes):
        raise ValueError(f"{len(values)} values and {len(scenes)} scenes; give one scene a value, at least one.")
    names = sorted(set(scenes))
    by_scene = len(names) >= GROUPS_AT_LEAST and not by_image
    member = np.array([names.index(scene) for scene in scenes]) if by_scene else np.arange(len(values))
    sums, sizes = np.bincount(member, values), np.bincount(member)
    low, high = _bounds(sums, sizes) if len(sums) >= GROUPS_AT_LEAST else (-inf, inf)
    return Interval(float(np.mean(values)), low, high, len(sums), "scenes" if by_scene else "images")


def _bounds(sums: NDArray[Any], sizes: NDArray[Any]) -> tuple[float, float]:
    """Of the means of groups drawn again, the expanded percentiles."""
    n = len(sums)
    drawn = np.random.default_rng(SEED).integers(n, size=(DRAWS, n))
    means = sums[drawn].sum(axis=1) / sizes[drawn].sum(axis=1)
    tail = norm.cdf(-sqrt(n / (n - 1)) * student_t.ppf(0.975, n - 1))
    low, high = np.quantile(means, (tail, 1 - tail))
    return float(low), float(high)
