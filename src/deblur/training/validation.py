"""Validation: whole images restored as users get them, scored, with panels of a few; and how that is told."""

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch

from deblur.data.batches import Batch
from deblur.data.pairs import evenly_chosen
from deblur.errors import ModelError, NonFiniteTraining
from deblur.evaluation.panels import side_by_side
from deblur.evaluation.scores import EvaluationSet, Scored, Scores
from deblur.images import Pixels, centre_crop, from_rgb8
from deblur.inference.restorer import Restorer
from deblur.inference.tiling import Tiling
from deblur.models.engine import TorchEngine
from deblur.registry.record import RunRecord
from deblur.training.progress import Progress
from deblur.training.state import TrainingState

PANEL_PHOTOS, PANEL_SIDE_PX = 3, 320
REMEDY = (
    "Begin a new run with a lower learning_rate or precision f32; init with this folder starts it from the last good "
    "weights."
)


@dataclass(frozen=True)
class Validation:
    """Scores a state's averaged weights on whole images, by tiles and rounded to 8 bit.

    Args:
        state: the network in training, and the objective whose value is told as val_loss.
        images: the validation pairs.
        tiling: how they are cut; the exported model gets the same.
        record: where panels go.
        progress: told how many images are done.
    """

    state: TrainingState
    images: EvaluationSet
    tiling: Tiling
    record: RunRecord
    progress: Progress = Progress()

    @property
    def restorer(self) -> Restorer:
        """Restores with the averaged weights."""
        return Restorer(TorchEngine(self.state.served, self.state.device), self.tiling)

    def metrics(self, epoch: int, check: Callable[[], None]) -> dict[str, float]:
        """All figures after ``epoch``, each beside the blurry input's own; ``check`` may stop the work between tiles.

        Raises:
            NonFiniteTraining: the network's output holds values that are not numbers.
            DataError: nothing can be gained on any image.
        """
        losses: list[dict[str, float]] = []

        def add_loss(scored: Scored) -> None:
            if scored.score.can_gain:
                losses.append(self._loss(scored))

        figures = told(self._score("validating", self.images, epoch, check, add_loss))
        return {name: sum(loss[name] for loss in losses) / len(losses) for name in losses[0]} | figures

    def panels_of_doing_nothing(self, check: Callable[[], None]) -> None:
        """Panels of the network before it was trained."""
        few = EvaluationSet(evenly_chosen(self.images.pairs, PANEL_PHOTOS))
        self._score("panels before training", few, 0, check, lambda scored: None)

    def _score(
        self,
        words: str,
        images: EvaluationSet,
        epoch: int,
        check: Callable[[], None],
        on_image: Callable[[Scored], None],
    ) -> Scores:
        restorer = self.restorer
        shown = evenly_chosen(range(len(images.pairs)), PANEL_PHOTOS)
        names = [images.pairs[index].name for index in shown]  # two sets may have one name
        panels = {
            index: name if name not in names[:i] else f"{name} {i + 1}"
            for i, (index, name) in enumerate(zip(shown, names, strict=True))
        }

        def restore(pixels: Pixels) -> Pixels:
            return restorer(pixels, check=check)

        def keep(scored: Scored) -> None:
            on_image(scored)
            if name := panels.get(scored.index):
                self._keep_panel(name, scored, epoch)

        try:
            return images.score(restore, keep, partial(self.progress.on_work, words))
        except ModelError as error:
            raise NonFiniteTraining(f"Validation after epoch {epoch}: {error} {REMEDY}") from error

    def _loss(self, scored: Scored) -> dict[str, float]:
        """The objective of the output, clamped but not rounded, and its terms; without a teacher, whom nobody asks."""
        objective = self.state.objective
        owned = next(itertools.chain(objective.parameters(), objective.buffers()), None)
        device = "cpu" if owned is None else owned.device  # a whole image's MS-SSIM takes gigabytes beside a training
        restored, blurry, sharp = (
            torch.from_numpy(pixels.transpose(2, 0, 1)[None].copy()).to(device)
            for pixels in (scored.output, from_rgb8(scored.blurry), from_rgb8(scored.sharp))
        )
        with torch.inference_mode():
            total, terms = objective(restored, Batch(blurry, sharp))
        told = {f"val_{name}": float(value) for name, value in terms.items()}
        return {"val_loss": float(total)} | told if terms else {}

    def _keep_panel(self, name: str, scored: Scored, epoch: int) -> None:
        """The photo's centre at full resolution."""
        title = f"epoch {epoch}" if epoch else "before training"
        score = scored.score
        captions = (f"blurry {score.psnr_input_db:.2f} dB", f"{title}: {score.psnr_db:.2f} dB", "sharp")
        images = [centre_crop(image, PANEL_SIDE_PX) for image in (scored.blurry, scored.restored, scored.sharp)]
        self.record.log_panel(name, epoch, side_by_side(images, captions))


def told(scores: Scores) -> dict[str, float]:
    """Scores as metrics; ``left_out_pairs`` only where there are some."""
    means = {
        "psnr": scores.mean("psnr_db"),
        "ssim": scores.mean("ssim"),
        "baseline_psnr": scores.mean("psnr_input_db"),
        "baseline_ssim": scores.mean("ssim_input"),
        "psnr_gain": scores.gain_db.mean,
    }
    return means | ({"left_out_pairs": float(len(scores.left_out))} if scores.left_out else {})


def verified_metrics(scores: Scores) -> dict[str, float]:
    """What verification of the written file measured."""
    return {
        "verified_psnr": scores.mean("psnr_db"),
        "verified_ssim": scores.mean("ssim"),
        "verified_ms_ssim": scores.mean("ms_ssim"),
        "verified_gain": scores.gain_db.mean,
    }


def describe(epoch: int, epochs: int, metrics: dict[str, float], improved: bool) -> str:
    """One line a person reads."""
    line = f"epoch {epoch}/{epochs}"
    if "train_loss" in metrics:
        line += f"  train {metrics['train_loss']:.4f}"
    line += f"  lr {metrics['lr']:.1e}"
    if "psnr" in metrics:
        line += f"  val {metrics['val_loss']:.4f}" if "val_loss" in metrics else ""
        line += (
            f"  PSNR {metrics['psnr']:.2f} dB (input {metrics['baseline_psnr']:.2f}, "
            f"{metrics['psnr_gain']:+.2f})  SSIM {metrics['ssim']:.4f} (input {metrics['baseline_ssim']:.4f})"
        )
    if "left_out_pairs" in metrics:
        line += f"  left out: {metrics['left_out_pairs']:.0f} (nothing to gain)"
    return line + f"  {metrics['seconds']:.0f} s" + ("  best" if improved else "")
