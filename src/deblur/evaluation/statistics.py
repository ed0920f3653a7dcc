"""How sure a mean is: Student's interval over images, and the bootstrap by scene.

Frames of one scene are alike: they say less than as many scenes would. So scenes are drawn again, not images (Efron and
Tibshirani 1993); where there are fewer than five of them, images are, and the interval says so.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import t as student_t


@dataclass(frozen=True)
class Interval:
    """A mean and the half-width of its 95 % confidence interval (Student's t over images)."""

    mean: float
    half_width: float

    @property
    def above_zero(self) -> bool:
        """Whether the whole interval lies above zero."""
        return self.mean - self.half_width > 0

    def __str__(self) -> str:
        return f"{self.mean:+.2f} +- {self.half_width:.2f}"


def mean_interval(values: list[float]) -> Interval:
    """Mean with its 95 % interval; of a single value the interval is infinite."""
    n = len(values)
    if n < 2:
        return Interval(float(np.mean(values)), float("inf"))
    half_width = student_t.ppf(0.975, n - 1) * np.std(values, ddof=1) / np.sqrt(n)
    return Interval(float(np.mean(values)), float(half_width))


DRAWS, SEED = 10_000, 2026
SCENES_AT_LEAST = 5


@dataclass(frozen=True)
class BootstrapInterval:
    """A mean and the 95 % interval that ``groups`` drawn again give it; ``by`` is what was drawn, scenes or images."""

    mean: float
    low: float
    high: float
    groups: int
    by: str

    def __str__(self) -> str:
        return f"{self.mean:+.2f} [{self.low:+.2f}, {self.high:+.2f}]"


def bootstrap(values: Sequence[float], scenes: Sequence[str]) -> BootstrapInterval:
    """Mean over images with its 95 % percentile interval, deterministic.

    Args:
        values: a figure of each image, or the difference of two models' figures.
        scenes: the scene of each; with fewer than five scenes, images are drawn instead.

    Raises:
        ValueError: no values, or not as many scenes.
    """
    if not len(values) or len(values) != len(scenes):
        raise ValueError(f"{len(values)} values and {len(scenes)} scenes; give one scene a value, at least one.")
    names = sorted(set(scenes))
    by_scene = len(names) >= SCENES_AT_LEAST
    member = np.array([names.index(scene) for scene in scenes]) if by_scene else np.arange(len(values))
    sums, sizes = np.bincount(member, values), np.bincount(member)
    drawn = np.random.default_rng(SEED).integers(len(sums), size=(DRAWS, len(sums)))
    means = sums[drawn].sum(axis=1) / sizes[drawn].sum(axis=1)
    low, high = np.percentile(means, (2.5, 97.5))
    return BootstrapInterval(
        float(np.mean(values)), float(low), float(high), len(sums), "scenes" if by_scene else "images"
    )
