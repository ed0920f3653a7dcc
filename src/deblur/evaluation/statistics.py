"""How sure a mean is."""

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
