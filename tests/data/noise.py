"""Samples for sets on disk, in a module that workers import quickly."""

import os
from dataclasses import dataclass

import numpy as np

from deblur.errors import DataError
from deblur.images import Rgb8


@dataclass(frozen=True)
class Noise:
    """Pairs of noise; ``ends_at`` ends the process, as an interruption does, ``dies_at`` a worker without a word.

    ``fails_at`` is a sample that cannot be made.
    """

    seed: int = 0
    side_px: int = 24
    ends_at: int | None = None
    dies_at: int | None = None
    fails_at: int | None = None

    def __call__(self, index: int) -> dict[str, Rgb8]:
        """Sample ``index``: every second one is a pixel wider."""
        if index == self.ends_at:
            raise KeyboardInterrupt
        if index == self.dies_at:
            os._exit(9)
        if index == self.fails_at:
            raise DataError(f"{index} cannot be made.")
        rng = np.random.default_rng((self.seed, index))
        sharp = rng.integers(0, 256, (self.side_px, self.side_px + index % 2, 3), dtype=np.uint8)
        return {"sharp": sharp, "blur": sharp // 2}
