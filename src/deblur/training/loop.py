"""The training loop, told as an outline: an epoch of steps, a validation on whole images, the record, the best.

Wherever it ends, by its last epoch, a signal, a broken image or a kill, what is saved lets it go on to the same bits.
"""

import itertools
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.data import DataLoader

from deblur.data.batches import Batch
from deblur.data.crops import RunOrder
from deblur.data.loading import batches_of, end_workers
from deblur.data.pairs import evenly_chosen
from deblur.errors import DataError, DeblurError, ModelError, NonFiniteTraining, PhotoError, SettingError
from deblur.evaluation.scores import EvaluationSet, Scores
from deblur.inference.restorer import Restorer
from deblur.inference.tiling import Tiling
from deblur.models.checkpoint import Best, best_name, load_checkpoint, read_state, save_checkpoint, save_state
from deblur.models.engine import TorchEngine
from deblur.registry.record import EVENTS_FILE, RunRecord
from deblur.training.processes import Processes
from deblur.training.state import Counters, Schedule, StepResult, TrainingState, require_finite
from deblur.training.step import optimizer_step
from deblur.training.stopping import StopRequest
from deblur.training.validation import PANEL_PHOTOS, describe, panel_writer, validation_metrics

GO_ON, NON_FINITE, ENDED = b"go on", b"non-finite", b"ended"
REMEDY = (
    "Begin a new run with a lower --learning_rate or --precision f32; --init with this folder starts it from the last "
    "good weights."
)


@dataclass(frozen=True)
class Progress:
    """Told how many crops the run will see, how many were just seen, and lines for people; does nothing by default."""

    on_start: Callable[[int], None] = lambda images: None
    on_images: Callable[[int], None] = lambda images: None
    on_line: Callable[[str], None] = lambda line: None


class Trainer:
    """Trains a state to the end of its schedule; the record gets metrics, panels, states and the best checkpoint.

    The best checkpoint is the one with the highest mean PSNR over the benchmark's whole images, restored with the
    averaged weights by tiles and rounded to 8 bit.

    Args:
        state: fresh, or loaded to go on from.
        module: the network as a step calls it (see ``step.optimizer_step``).
        loader: this process's micro-batches, in the order of ``order``; its data set names samples by ``name_of``.
        order: which samples a step takes.
        benchmark: the validation pairs.
        tiling: for validation; the exported model gets the same.
        schedule: how long, how fast, when to look, when to save and when to give up.
        record: where the run is written.
        accumulate: micro-batches a step.
        processes: that train together; the main one validates and writes.
        stop: a signal that asks to stop.
        on_epoch: called when an epoch is recorded.
        progress: told how it goes.
    """

    def __init__(
        self,
        state: TrainingState,
        module: nn.Module,
        loader: DataLoader[Batch],
        order: RunOrder,
        benchmark: EvaluationSet,
        tiling: Tiling,
        schedule: Schedule,
        record: RunRecord,
        *,
        accumulate: int = 1,
        processes: Processes = Processes(),
        stop: StopRequest | None = None,
        on_epoch: Callable[[], None] = lambda: None,
        progress: Progress = Progress(),
    ) -> None:
        self.state, self.module, self.loader, self.order = state, module, loader, order
        self.benchmark, self.schedule, self.record, self.accumulate = benchmark, schedule, record, accumulate
        self.processes, self.stop, self.on_epoch, self.progress = processes, stop or StopRequest(), on_epoch, progress
        self.restorer = Restorer(TorchEngine(state.served, state.device), tiling)
        self.saved_at = time.monotonic()
        self.superseded_when_saved = list(state.counters.superseded)
        self.unsaved: list[tuple[int, dict[str, float]]] = []

    def fit(self) -> Counters:
        """Train; returns how the run ended.

        Raises:
            NonFiniteTraining: more steps than the limit were not finite, again after going back to the last good state.
            SystemExit: a signal came; the state is saved.
            DataError, PhotoError: an image is broken; the state is saved.
            DiskFull: no room; the last state is untouched.
            SettingError: the device has not enough memory.
        """
        try:
            self._main_does(self._begin)
            while self.state.counters.epoch < self.schedule.num_epochs and not self.state.counters.stopped_early:
                try:
                    self._train_epoch()
                    counters, growths = self.state.counters, self.state.counters.growths
                    self._main_does(self._record_epoch)
                    if not self.processes.is_main:
                        counters.next_epoch()
                    counters.stopped_early, grown = self.processes.any(
                        counters.stopped_early, counters.growths > growths
                    )
                    counters.growths = growths + grown
                except NonFiniteTraining as error:
                    self._roll_back(error)
                except (SystemExit, DataError, PhotoError):
                    self._save()
                    raise
            self._main_does(self._end)
        except torch.OutOfMemoryError as error:
            raise SettingError(
                f"{self.state.device} has not enough memory for this step. Raise --accumulate (the same result in less "
                "memory), or lower --batch_size or --patch_size."
            ) from error
        finally:
            end_workers(self.loader)
        return self.state.counters

    def _main_does(self, work: Callable[[], None]) -> None:
        """Only the main process works; the others wait, and end as it does."""
        verdict = GO_ON
        raised: BaseException | None = None
        if self.processes.is_main:
            try:
                work()
            except BaseException as error:
                raised = error
                verdict = NON_FINITE if isinstance(error, NonFiniteTraining) else ENDED
        verdict = self.processes.told(verdict)
        if raised:
            raise raised
        if verdict == NON_FINITE:
            raise NonFiniteTraining("The main process found values that are not numbers.")
        if verdict == ENDED:
            raise DeblurError("The main process has ended; its own message says why.")

    def _begin(self) -> None:
        """A state to come back to and panels of doing nothing yet, where the run is new."""
        self.progress.on_start(self.schedule.num_epochs * self.order.steps * self.order.batch_size)
        self.progress.on_images(self.state.counters.step * self.order.batch_size)
        if self.state.counters.step == 0:
            self._save()
            self._score(EvaluationSet(evenly_chosen(self.benchmark.pairs, PANEL_PHOTOS)), 0)

    def _end(self) -> None:
        """A best there must be, also where it was lost after the last validation."""
        counters = self.state.counters
        if counters.best is None:
            metrics = validation_metrics(self._score(self.benchmark, counters.epoch))
            counters.psnr_db, counters.ssim = metrics["psnr"], metrics["ssim"]
            self._keep_best(counters.epoch)
            self._save()
        self._drop(counters.superseded)

    def _train_epoch(self) -> None:
        """What is left of the pass of random crops that the counters stand in."""
        counters = self.state.counters
        first_step = counters.step - counters.epoch * self.order.steps
        offset = counters.rollbacks * self.schedule.num_epochs * self.order.epoch_images  # other samples than before
        self.order.start(counters.epoch, first_step, offset, self.schedule.strength(counters))
        self.state.network.train()
        batches = batches_of(self.loader)
        for step in range(first_step, self.order.steps):
            started = time.perf_counter()
            micro_batches = self._next(batches)
            waited_s = time.perf_counter() - started
            result = optimizer_step(self.state, self.module, micro_batches, self.schedule.clip_norm, self.processes)
            counters.step += 1
            counters.sums.add(result, self.order.batch_size, time.perf_counter() - started, waited_s)
            self.progress.on_images(self.order.batch_size)
            if not result.finite:
                self._skip(step, result)
            if time.monotonic() - self.saved_at >= 60 * self.schedule.save_minutes:
                self._save()

    def _next(self, batches: Iterator[Batch]) -> list[Batch]:
        """A step's micro-batches; a signal or a broken image in one process ends all, between two steps."""
        micro_batches: list[Batch] = []
        trouble: DeblurError | None = None
        try:
            self.stop.waiting = self.processes.count == 1
            if self.stop.waiting:
                self.stop.check()
            micro_batches = list(itertools.islice(batches, self.accumulate))
        except (DataError, PhotoError) as error:
            trouble = error
        finally:
            self.stop.waiting = False
        stop, broken = self.processes.any(self.stop.signal is not None, trouble is not None)
        if trouble:
            raise trouble
        if broken:
            raise DataError("Another process met a broken image; its own message names it.")
        if stop:
            raise SystemExit(128 + (self.stop.signal or signal.SIGTERM))
        return micro_batches

    def _skip(self, step: int, result: StepResult) -> None:
        """Count and name what a step that changed nothing was made of; too many of them end the attempt."""
        counters = self.state.counters
        counters.skipped_steps += 1
        counters.skipped_since_rollback += not result.overflow
        names = [self.loader.dataset.name_of(key) for key in self.order.keys_of(step)]  # type: ignore[attr-defined]
        if self.processes.is_main:
            values = {"loss": str(result.loss), "grad_norm": str(result.grad_norm), "samples": names}
            event = "overflow_step" if result.overflow else "skipped_step"
            self.record.log_event(event, epoch=counters.epoch + 1, step=counters.step, **values)
        if result.overflow:
            return  # the scaler has lowered fp16's scale
        self.progress.on_line(
            f"step {counters.step} (epoch {counters.epoch + 1}) skipped: loss {result.loss:g}, gradient norm "
            f"{result.grad_norm:g}; samples: {', '.join(names)}"
        )
        if counters.skipped_since_rollback > self.schedule.nonfinite_limit:
            raise NonFiniteTraining(
                f"Loss or gradients were not finite in {counters.skipped_since_rollback} steps (--nonfinite_limit "
                f"{self.schedule.nonfinite_limit}). The last good state and the samples are in {self.record.folder} "
                f"({EVENTS_FILE}). {REMEDY}"
            )

    def _record_epoch(self) -> None:
        """Score whole validation images, through the path that users get; keep the best; record; save."""
        counters, schedule = self.state.counters, self.schedule
        epoch = counters.epoch + 1
        is_last = epoch == schedule.num_epochs
        validated = epoch % schedule.eval_every == 0 or is_last
        started = time.perf_counter()
        metrics = self._training_metrics()
        improved = False
        if validated:
            metrics |= validation_metrics(self._score(self.benchmark, epoch))
            counters.psnr_db, counters.ssim = metrics["psnr"], metrics["ssim"]
            improved = metrics["psnr"] > counters.best_psnr_db
        metrics["seconds"] = counters.sums.seconds + time.perf_counter() - started
        if improved:
            self._keep_best(epoch)
        if validated:
            counters.grow_if_stalled(epoch)
        counters.next_epoch(early=validated and not is_last and epoch - counters.best_epoch >= schedule.patience)
        self.unsaved.append((epoch, metrics))
        if validated and not self._save():
            raise NonFiniteTraining(f"After epoch {epoch} the weights hold values that are not numbers. {REMEDY}")
        self.progress.on_line(describe(epoch, schedule.num_epochs, metrics, improved))

    def _training_metrics(self) -> dict[str, float]:
        counters, sums = self.state.counters, self.state.counters.sums
        metrics = {"lr": self.state.optimizer.param_groups[0]["lr"], "skipped_steps": float(counters.skipped_steps)}
        metrics["severity"] = self.order.strength
        if sums.steps:
            metrics |= {"train_loss": sums.loss / sums.steps, "grad_norm": sums.grad_norm / sums.steps}
        if sums.seconds:
            metrics |= {"images_per_second": sums.images / sums.seconds, "data_wait": sums.waited_s / sums.seconds}
        return metrics

    def _score(self, benchmark: EvaluationSet, epoch: int) -> Scores:
        """Scores of the averaged weights, with panels of a few photos; stops between tiles when asked to."""
        write_panel = panel_writer(self.record, epoch, len(benchmark.pairs))
        try:
            return benchmark.score(lambda pixels: self.restorer(pixels, check=self.stop.check), write_panel)
        except ModelError as error:
            raise NonFiniteTraining(f"Validation after epoch {epoch}: {error} {REMEDY}") from error

    def _keep_best(self, epoch: int) -> None:
        """Write the averaged weights under the published name; the one before goes when no saved state names it."""
        counters = self.state.counters
        checkpoint = {
            "epoch": epoch,
            "model_state_dict": self.state.served.state_dict(),
            "optimizer_state_dict": self.state.optimizer.state_dict(),
            "psnr": counters.psnr_db,
            "ssim": counters.ssim,
            "architecture": self.state.network.architecture,
            "settings": self.record.run["settings"],
        }
        require_finite(checkpoint["model_state_dict"], "the averaged network")
        file = best_name(epoch, counters.psnr_db)
        digest = save_checkpoint(self.record.folder / file, checkpoint)
        if counters.best and counters.best.file != file:
            counters.superseded.append(counters.best.file)
        counters.best = Best(file, digest, epoch, counters.psnr_db)

    def _save(self) -> bool:
        """Record the epochs since the last save and commit the state; False where a number in it is not one.

        No epoch is recorded that going back could make unhappen.
        """
        self.saved_at = time.monotonic()
        if not self.processes.is_main:
            return True
        try:
            snapshot = self.state.state_dict()
        except NonFiniteTraining:
            return False  # in mid-epoch the steps to come are not finite either, and are dealt with there
        for epoch, metrics in self.unsaved:
            self.record.log_epoch(epoch, metrics)
        save_state(self.record.folder, snapshot, self.state.counters.best)
        self._drop(self.superseded_when_saved)
        self.superseded_when_saved = list(self.state.counters.superseded)
        if self.unsaved:
            self.unsaved.clear()
            self.on_epoch()
        return True

    def _drop(self, files: Sequence[str]) -> None:
        """Best checkpoints of this run that a better one has superseded."""
        for file in list(files):
            (self.record.folder / file).unlink(missing_ok=True)
            self.state.counters.superseded.remove(file)

    def _roll_back(self, error: NonFiniteTraining) -> None:
        """Go back to the last good state, once, and on with other samples; the second time the run ends."""
        before = self.state.counters
        if before.rollbacks:
            raise error
        saved = read_state(self.record.folder).data if self.processes.is_main else b""
        self.state.load_state_dict(load_checkpoint(self.processes.told(saved)))
        counters = self.state.counters
        counters.rollbacks, counters.skipped_steps = before.rollbacks + 1, before.skipped_steps
        counters.skipped_since_rollback = 0
        self.superseded_when_saved = list(counters.superseded)
        self.unsaved.clear()
        if self.processes.is_main:
            self.record.log_event("rolled_back", from_step=before.step, to_step=counters.step, reason=str(error))
        self.progress.on_line(f"back to step {counters.step} (epoch {counters.epoch}), on with other samples: {error}")
