"""A mean, and how sure it is: what evaluations compute, ``model.json`` keeps and people read, always in these words."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import inf, isfinite
from typing import Any


@dataclass(frozen=True)
class Interval:
    """A mean and the 95 % interval that ``groups`` drawn again give it; ``by`` is what was drawn, scenes or images.

    Of too few groups the interval is infinite.
    """

    mean: float
    low: float
    high: float
    groups: int
    by: str

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> "Interval":
        """Of JSON, where an infinite bound is null."""
        low, high = values["low"], values["high"]
        return cls(**{**values, "low": -inf if low is None else low, "high": inf if high is None else high})

    def as_json(self) -> dict[str, Any]:
        """The same the other way round."""
        return asdict(self) | ({} if isfinite(self.low) else {"low": None, "high": None})

    @property
    def above_zero(self) -> bool:
        """Whether the whole interval lies above zero."""
        return self.low > 0

    def __format__(self, figures: str) -> str:
        """``+0.88 [+0.40, +1.31]``, or ``+0.88 [too few images]``; ``figures`` is how each of them is written."""
        mean, low, high = (format(value, figures or "+z.2f") for value in (self.mean, self.low, self.high))
        return f"{mean} [{low}, {high}]" if isfinite(self.low) else f"{mean} [too few images]"

    def __str__(self) -> str:
        return format(self, "")
