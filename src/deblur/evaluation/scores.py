"""Score a restorer on whole images, beside the score of doing nothing. Needs neither torch nor a loss."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from deblur.data.pairs import Pair
from deblur.data.scenes import scene_of
from deblur.errors import DataError
from deblur.evaluation.statistics import bootstrap
from deblur.images import Pixels, Rgb8, from_rgb8, to_rgb8
from deblur.interval import Interval
from deblur.metrics import ms_ssim, psnr_db, scales_that_fit, ssim

NOTHING_TO_GAIN_DB = 10 * math.log10(12 * 255**2)
"""58.9 dB: the input differs from the reference by less than rounding to 8 bit does, a variance of 1/12."""


@dataclass(frozen=True)
class Score:
    """One image: the restored result and the blurry input, each against the sharp reference, on 8 bit.

    ``ms_ssim`` is NaN where nobody asked for it.
    """

    name: str
    scene: str
    psnr_db: float
    ssim: float
    psnr_input_db: float
    ssim_input: float
    ms_ssim: float = float("nan")

    @property
    def can_gain(self) -> bool:
        """Whether the input is far enough from the reference to become better."""
        return self.psnr_input_db < NOTHING_TO_GAIN_DB


@dataclass(frozen=True)
class Scored:
    """An image with its place in the set and its score: ``output`` as the restorer gave it (clamped), ``restored`` the
    same in 8 bit."""

    index: int
    score: Score
    blurry: Rgb8
    output: Pixels
    restored: Rgb8
    sharp: Rgb8


class Scores:
    """A set of images. All figures are means over ``images``.

    Those on which nothing can be gained are ``left_out``: a single black or motionless one, restored a little less than
    perfectly, would decide the mean.
    """

    def __init__(self, scored: Sequence[Score]) -> None:
        self.images = [score for score in scored if score.can_gain]
        self.left_out = [score for score in scored if not score.can_gain]

    def mean(self, field: str) -> float:
        """Mean of one field of :class:`Score`.

        Raises:
            DataError: nothing can be gained on any image.
        """
        return float(np.mean([getattr(score, field) for score in self._some]))

    @property
    def gain_db(self) -> Interval:
        """Mean PSNR gain over the blurry input, with its 95 % interval by scene. Raises as :meth:`mean` does."""
        gains = [score.psnr_db - score.psnr_input_db for score in self._some]
        return bootstrap(gains, [score.scene for score in self._some])

    @property
    def _some(self) -> list[Score]:
        if not self.images:
            names = ", ".join(score.name for score in self.left_out[:5])
            raise DataError(
                f"Blurry and sharp are the same in all {len(self.left_out)} pairs that validate ({names}): nothing can "
                "be gained on them. Give test_data in which something is blurred."
            )
        return self.images


class EvaluationSet:
    """A fixed set of pairs; the inputs' own scores are computed once.

    Args:
        pairs: in their order.
        scenes: of each pair; None: their names tell.
    """

    def __init__(self, pairs: Sequence[Pair], scenes: Sequence[str] | None = None) -> None:
        self.pairs = list(pairs)
        self.scenes = [scene_of(pair.name) for pair in pairs] if scenes is None else list(scenes)
        self._inputs: dict[int, tuple[float, float]] = {}

    def score(
        self,
        restore: Callable[[Pixels], Pixels],
        on_image: Callable[[Scored], None] = lambda scored: None,
        on_done: Callable[[int, int], None] = lambda done, total: None,
        *,
        with_ms_ssim: bool = False,
    ) -> Scores:
        """Restore and score every pair.

        Args:
            restore: ``(H, W, 3)`` float32 in ``[0, 1]`` -> the same.
            on_image: told each image with its score.
            on_done: told how many are done, none at first, and of how many.
            with_ms_ssim: score MS-SSIM, too, which takes as long as the other two together.
        """
        scores = []
        on_done(0, len(self.pairs))
        for index, (pair, scene) in enumerate(zip(self.pairs, self.scenes, strict=True)):
            blurry, sharp = pair.load()
            output = restore(from_rgb8(blurry))
            restored = to_rgb8(output)
            psnr_input_db, ssim_input = self._input_score(index, blurry, sharp)
            figures = (psnr_db(restored, sharp), ssim(restored, sharp), psnr_input_db, ssim_input)
            score = Score(pair.name, scene, *figures, ms_ssim(restored, sharp) if with_ms_ssim else float("nan"))
            on_image(Scored(index, score, blurry, output, restored, sharp))
            scores.append(score)
            on_done(len(scores), len(self.pairs))
        return Scores(scores)

    def _input_score(self, index: int, blurry: Rgb8, sharp: Rgb8) -> tuple[float, float]:
        if index not in self._inputs:
            try:
                scales_that_fit(min(sharp.shape[:2]))
            except ValueError as error:
                raise DataError(f"{self.pairs[index].name}: {error}") from error
            self._inputs[index] = (psnr_db(blurry, sharp), ssim(blurry, sharp))
        return self._inputs[index]
