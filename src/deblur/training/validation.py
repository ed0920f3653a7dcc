"""What a validation is told as: metrics for the record, a line for a person, panels of a few photos."""

import itertools
from collections.abc import Callable

from deblur.data.pairs import evenly_chosen
from deblur.evaluation.panels import centre_crop, side_by_side
from deblur.evaluation.scores import Score, Scores
from deblur.images import Rgb8
from deblur.registry.record import RunRecord

PANEL_PHOTOS, PANEL_SIDE_PX = 3, 320


def validation_metrics(scores: Scores) -> dict[str, float]:
    """The metrics of a validation, each beside the blurry input's own."""
    return {
        "val_loss": scores.mean("loss"),
        "psnr": scores.mean("psnr_db"),
        "ssim": scores.mean("ssim"),
        "baseline_psnr": scores.mean("psnr_input_db"),
        "baseline_ssim": scores.mean("ssim_input"),
        "psnr_gain": scores.gain_db.mean,
    }


def verified_metrics(scores: Scores) -> dict[str, float]:
    """What verification of the written file measured."""
    return {
        "verified_psnr": scores.mean("psnr_db"),
        "verified_ssim": scores.mean("ssim"),
        "verified_gain": scores.gain_db.mean,
    }


def describe(epoch: int, epochs: int, metrics: dict[str, float], improved: bool) -> str:
    """One line a person reads."""
    line = f"epoch {epoch}/{epochs}"
    if "train_loss" in metrics:
        line += f"  train {metrics['train_loss']:.4f}"
    line += f"  lr {metrics['lr']:.1e}"
    if "psnr" in metrics:
        line += (
            f"  val {metrics['val_loss']:.4f}  PSNR {metrics['psnr']:.2f} dB (input {metrics['baseline_psnr']:.2f}, "
            f"{metrics['psnr_gain']:+.2f})  SSIM {metrics['ssim']:.4f} (input {metrics['baseline_ssim']:.4f})"
        )
    return line + f"  {metrics['seconds']:.0f} s" + ("  best" if improved else "")


def panel_writer(record: RunRecord, epoch: int, pairs: int) -> Callable[[Score, Rgb8, Rgb8, Rgb8], None]:
    """Panels of a few validation photos, the same each time, spread over all; their centres at full resolution."""
    shown = set(evenly_chosen(range(pairs), PANEL_PHOTOS))
    number = itertools.count()

    def write(score: Score, *images: Rgb8) -> None:
        if next(number) not in shown:
            return
        title = f"epoch {epoch}" if epoch else "before training"
        captions = (f"blurry {score.psnr_input_db:.2f} dB", f"{title}: {score.psnr_db:.2f} dB", "sharp")
        panel = side_by_side([centre_crop(image, PANEL_SIDE_PX) for image in images], captions)
        record.log_panel(score.name, epoch, panel)

    return write
