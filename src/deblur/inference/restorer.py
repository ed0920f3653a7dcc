"""The restorer: an engine and a tiling make a function from pixels to restored pixels."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from deblur.errors import ModelError, RequestError
from deblur.images import Pixels
from deblur.inference.engine import Engine
from deblur.inference.tiling import Plan, Tiling, blend_tiles, plan_tiles


@dataclass(frozen=True)
class Restorer:
    """Restore whole images of any size by tiled inference.

    Validation, verification, the command line and the server all go through this one class, so that a figure measured
    in training is what a user gets.
    """

    engine: Engine
    tiling: Tiling

    def plan(self, pixels: Pixels) -> Plan:
        """The tiles that ``pixels`` will be cut into."""
        return plan_tiles(pixels.shape[0], pixels.shape[1], self.tiling)

    def __call__(
        self, pixels: Pixels, strength: float = 1.0, on_tile: Callable[[int, int], None] = lambda done, total: None
    ) -> Pixels:
        """``(H, W, 3)`` float32 in ``[0, 1]`` -> the same, restored and clamped.

        Args:
            pixels: the blurry image.
            strength: 0 to 1; the result is ``blurry + strength * (restored - blurry)``.
            on_tile: told (tiles done, tiles in all) after each tile; an exception it raises stops the work.

        Raises:
            RequestError: ``strength`` out of range.
            ModelError: the model returned something that is not a number.
        """
        if not 0.0 <= strength <= 1.0:
            raise RequestError(f"strength is {strength:g}; allowed are 0 to 1.")
        plan = self.plan(pixels)
        restored = pixels
        for done, restored in enumerate(blend_tiles(pixels, plan, self._restore_tile), start=1):  # noqa: B007
            on_tile(done, len(plan))
        return np.clip(pixels + np.float32(strength) * (restored - pixels), 0.0, 1.0, dtype=np.float32)

    def _restore_tile(self, tile: Pixels) -> Pixels:
        batch = np.ascontiguousarray(tile.transpose(2, 0, 1)[None])
        restored = self.engine(batch)
        if restored.shape != batch.shape:
            raise ModelError(f"The model answered {restored.shape} to a tile of {batch.shape}.")
        if not np.isfinite(restored).all():
            raise ModelError("The model's output holds values that are not numbers.")
        return restored[0].transpose(1, 2, 0)
