"""The training loop, told as an outline: an epoch of steps, a validation on whole images, the record, the best."""

import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from deblur.data.crops import RunOrder
from deblur.data.pairs import evenly_chosen
from deblur.errors import DeblurError, NonFiniteTraining
from deblur.evaluation.panels import centre_crop, side_by_side
from deblur.evaluation.scores import Benchmark, Rgb8, Score, Scores
from deblur.inference.restorer import Restorer
from deblur.inference.tiling import Tiling
from deblur.losses import restoration_loss
from deblur.models.engine import TorchEngine
from deblur.models.unet import DeblurUNet
from deblur.registry.record import RunRecord
from deblur.training.checkpoint import LAST, best_name, save_checkpoint

LEARNING_RATE_END = 1e-6
SKIPPED_STEPS_LIMIT = 20
PANEL_PHOTOS, PANEL_SIDE_PX = 3, 320

Batch = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Schedule:
    """How long, how fast, when to look and when to give up."""

    num_epochs: int
    learning_rate: float
    weight_decay: float
    clip_norm: float
    patience: int
    eval_every: int


@dataclass(frozen=True)
class Progress:
    """Told how many crops the run will see, how many were just seen, and lines for people; does nothing by default."""

    on_start: Callable[[int], None] = lambda images: None
    on_images: Callable[[int], None] = lambda images: None
    on_line: Callable[[str], None] = lambda line: None


@dataclass
class Outcome:
    """How a run ended."""

    best_psnr_db: float = float("-inf")
    best_epoch: int = 0
    epoch: int = 0
    annealed: bool = True
    skipped_steps: int = 0


def fit(
    network: DeblurUNet,
    loader: DataLoader[Batch],
    order: RunOrder,
    benchmark: Benchmark,
    tiling: Tiling,
    schedule: Schedule,
    record: RunRecord,
    device: torch.device,
    on_epoch: Callable[[RunRecord], object] = lambda record: None,
    progress: Progress | None = None,
    check_signals: Callable[[], None] = lambda: None,
) -> Outcome:
    """Train ``network``; the record gets every epoch's metrics, panels, ``last.pth`` and the best checkpoint.

    The cosine schedule covers exactly ``num_epochs`` of ``loader``. The best checkpoint is the one with the highest
    mean PSNR over the benchmark's whole images, restored by tiles and rounded to 8 bit. ``check_signals`` is called
    between steps and images, never during a write, and may raise.

    Raises:
        NonFiniteTraining: loss or gradients were not finite in more than 20 steps.
    """
    progress = progress or Progress()
    network.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.AdamW(network.parameters(), lr=schedule.learning_rate, weight_decay=schedule.weight_decay)
    steps = schedule.num_epochs * len(loader)
    progress.on_start(steps * (loader.batch_size or 1))
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps, eta_min=LEARNING_RATE_END)
    restorer = Restorer(TorchEngine(network, device), tiling)
    outcome = Outcome()
    best: Path | None = None
    shown = evenly_chosen(benchmark.pairs, PANEL_PHOTOS)
    Benchmark(shown).score(restorer, _panel_writer(record, 0, len(shown), check_signals))

    for epoch in range(1, schedule.num_epochs + 1):
        # One pass of random crops.
        started = time.perf_counter()
        outcome.epoch, order.epoch = epoch, epoch - 1
        network.train()
        losses, norms = [], []
        for batch in _batches(loader):
            loss, norm = _step(network, optimizer, batch, device, schedule.clip_norm)
            if np.isfinite(loss) and np.isfinite(norm):
                losses.append(loss)
                norms.append(norm)
            else:
                outcome.skipped_steps += 1
                if outcome.skipped_steps > SKIPPED_STEPS_LIMIT:
                    raise NonFiniteTraining(
                        f"Loss or gradients were not finite in {outcome.skipped_steps} steps (epoch {epoch}); the last "
                        f"good state is {record.folder / LAST}. Lower --learning_rate, or look for broken images."
                    )
            cosine.step()
            progress.on_images(len(batch[0]))
            check_signals()
        metrics = {
            "train_loss": _mean(losses),
            "grad_norm": _mean(norms),
            "lr": optimizer.param_groups[0]["lr"],
            "skipped_steps": float(outcome.skipped_steps),
        }

        # Whole validation images, through the path that users get.
        is_last = epoch == schedule.num_epochs
        if epoch % schedule.eval_every == 0 or is_last:
            scores = benchmark.score(restorer, _panel_writer(record, epoch, len(benchmark.pairs), check_signals))
            metrics |= validation_metrics(scores)
        metrics["seconds"] = time.perf_counter() - started

        # The best is kept under its published name, the newest as last.pth.
        psnr_db = metrics.get("psnr", float("-inf"))
        improved = psnr_db > outcome.best_psnr_db
        if improved:
            outcome.best_psnr_db, outcome.best_epoch = psnr_db, epoch
        state = {
            "epoch": epoch,
            "model_state_dict": network.state_dict(),
            "optimizer_state_dict": optimizer.state_dict(),
            "scheduler_state_dict": cosine.state_dict(),
            "psnr": psnr_db,
            "ssim": metrics.get("ssim", float("nan")),
            "architecture": network.architecture,
            "settings": {key: str(value) for key, value in record.run["settings"].items()},
            "best_psnr": outcome.best_psnr_db,
            "best_epoch": outcome.best_epoch,
            "torch_rng_state": torch.get_rng_state(),
        }
        save_checkpoint(record.folder / LAST, state)
        if improved:
            superseded, best = best, record.folder / best_name(epoch, psnr_db)
            save_checkpoint(best, state)
            if superseded:
                superseded.unlink()

        record.log_epoch(epoch, metrics)
        on_epoch(record)
        progress.on_line(describe(epoch, schedule.num_epochs, metrics, improved))
        if "psnr" in metrics and epoch - outcome.best_epoch >= schedule.patience and not is_last:
            outcome.annealed = False
            break
    return outcome


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
    line = f"epoch {epoch}/{epochs}  train {metrics['train_loss']:.4f}  lr {metrics['lr']:.1e}"
    if "psnr" in metrics:
        line += (
            f"  val {metrics['val_loss']:.4f}  PSNR {metrics['psnr']:.2f} dB (input {metrics['baseline_psnr']:.2f}, "
            f"{metrics['psnr_gain']:+.2f})  SSIM {metrics['ssim']:.4f} (input {metrics['baseline_ssim']:.4f})"
        )
    return line + f"  {metrics['seconds']:.0f} s" + ("  best" if improved else "")


def _step(
    network: DeblurUNet, optimizer: torch.optim.Optimizer, batch: Batch, device: torch.device, clip_norm: float
) -> tuple[float, float]:
    """One step; returns loss and gradient norm before clipping. A step that is not finite changes no weight."""
    blurry, sharp = (x.to(device, memory_format=torch.channels_last, non_blocking=True) for x in batch)
    optimizer.zero_grad(set_to_none=True)
    loss = restoration_loss(network(blurry), sharp)
    loss.backward()  # type: ignore[no-untyped-call]
    norm = torch.nn.utils.clip_grad_norm_(network.parameters(), clip_norm)
    if torch.isfinite(loss) and torch.isfinite(norm):
        optimizer.step()
    return loss.item(), norm.item()


def _panel_writer(
    record: RunRecord, epoch: int, pairs: int, check_signals: Callable[[], None]
) -> Callable[[Score, Rgb8, Rgb8, Rgb8], None]:
    """Panels of a few validation photos, the same each time, spread over all; their centres at full resolution."""
    shown = set(evenly_chosen(range(pairs), PANEL_PHOTOS))
    number = itertools.count()

    def write(score: Score, *images: Rgb8) -> None:
        check_signals()
        if next(number) not in shown:
            return
        title = f"epoch {epoch}" if epoch else "before training"
        captions = (f"blurry {score.psnr_input_db:.2f} dB", f"{title}: {score.psnr_db:.2f} dB", "sharp")
        panel = side_by_side([centre_crop(image, PANEL_SIDE_PX) for image in images], captions)
        record.log_panel(score.name, epoch, panel)

    return write


def _batches(loader: DataLoader[Batch]) -> Iterator[Batch]:
    """The loader's batches; an error in a worker process comes out as itself, without the worker's traceback."""
    try:
        yield from loader
    except DeblurError as error:
        if not str(error).startswith("Caught "):
            raise
        raise type(error)(str(error).strip().splitlines()[-1].partition(": ")[2]) from error


def _mean(values: list[float]) -> float:
    return float(np.mean(values)) if values else float("nan")
