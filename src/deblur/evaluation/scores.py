"""Score a restorer on whole images, beside the score of doing nothing."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from deblur.data.pairs import Pair
from deblur.errors import DataError
from deblur.evaluation.statistics import Interval, mean_interval
from deblur.images import Pixels, Rgb8, from_rgb8, to_rgb8
from deblur.losses import restoration_loss, scales_that_fit
from deblur.metrics import psnr_db, ssim


@dataclass(frozen=True)
class Score:
    """One image: the restored result and the blurry input, each against the sharp reference, on 8 bit."""

    name: str
    psnr_db: float
    ssim: float
    psnr_input_db: float
    ssim_input: float
    loss: float


@dataclass(frozen=True)
class Scores:
    """A set of images. All figures are means over images."""

    images: list[Score]

    def mean(self, field: str) -> float:
        """Mean of one field of :class:`Score`."""
        return float(np.mean([getattr(score, field) for score in self.images]))

    @property
    def gain_db(self) -> Interval:
        """Mean PSNR gain over the blurry input, with its 95 % interval over images."""
        return mean_interval([score.psnr_db - score.psnr_input_db for score in self.images])


class EvaluationSet:
    """A fixed set of pairs; the inputs' own scores are computed once."""

    def __init__(self, pairs: Sequence[Pair]) -> None:
        self.pairs = list(pairs)
        self._inputs: dict[int, tuple[float, float]] = {}

    def score(
        self,
        restore: Callable[[Pixels], Pixels],
        on_image: Callable[[Score, Rgb8, Rgb8, Rgb8], None] = lambda score, blurry, restored, sharp: None,
    ) -> Scores:
        """Restore and score every pair; ``on_image`` is told each score with blurry, restored and sharp pixels."""
        images = []
        for index, pair in enumerate(self.pairs):
            blurry, sharp = pair.load()
            output = restore(from_rgb8(blurry))
            restored = to_rgb8(output)
            psnr_input_db, ssim_input = self._input_score(index, blurry, sharp)
            loss = _loss(output, sharp)
            score = Score(pair.name, psnr_db(restored, sharp), ssim(restored, sharp), psnr_input_db, ssim_input, loss)
            on_image(score, blurry, restored, sharp)
            images.append(score)
        return Scores(images)

    def _input_score(self, index: int, blurry: Rgb8, sharp: Rgb8) -> tuple[float, float]:
        if index not in self._inputs:
            try:
                scales_that_fit(min(sharp.shape[:2]))
            except ValueError as error:
                raise DataError(f"{self.pairs[index].name}: {error}") from error
            self._inputs[index] = (psnr_db(blurry, sharp), ssim(blurry, sharp))
        return self._inputs[index]


def _loss(output: Pixels, sharp: Rgb8) -> float:
    as_batch = (torch.from_numpy(x.transpose(2, 0, 1)[None].copy()) for x in (output, from_rgb8(sharp)))
    with torch.inference_mode():
        return float(restoration_loss(*as_batch))
