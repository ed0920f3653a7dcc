"""The training loop, told as an outline: an epoch of steps, a validation on whole images, the record, the best.

Wherever it ends, by its last epoch, a signal, a broken image or a kill, what is saved lets it go on to the same bits.
"""

import itertools
import signal
import struct
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import torch

from deblur.data.batches import Loaded
from deblur.data.loading import Feed, end_workers
from deblur.errors import DataError, DeblurError, NonFiniteTraining, PhotoError, SettingError
from deblur.models.checkpoint import Best, best_name, load_checkpoint, read_state, save_checkpoint, save_state
from deblur.registry.record import EVENTS_FILE, RunRecord
from deblur.training.energy import EnergyMeter
from deblur.training.optimization import after_validation
from deblur.training.processes import Processes
from deblur.training.progress import Progress
from deblur.training.state import Counters, StepResult, Timetable, TrainingState, require_finite
from deblur.training.step import Lesson, optimizer_step
from deblur.training.stopping import StopRequest
from deblur.training.validation import REMEDY, Validation, describe

GO_ON, NON_FINITE, ENDED = b"go on", b"non-finite", b"ended"


@dataclass(eq=False)
class Trainer:
    """Trains a state to the end of its timetable; the record gets metrics, panels, states and the best checkpoint.

    The best checkpoint is the one with the highest mean PSNR over the validation's whole images.

    Args:
        state: fresh, or loaded to go on from.
        feed: this process's micro-batches, and which samples a step takes.
        validation: of the state.
        timetable: how long, when to look, when to save and when to give up.
        record: where the run is written.
        processes: that train together; the main one validates and writes.
        stop: a signal that asks to stop.
        progress: told how it goes.
    """

    state: TrainingState
    feed: Feed
    validation: Validation
    timetable: Timetable
    record: RunRecord
    processes: Processes = Processes()
    stop: StopRequest = field(default_factory=StopRequest)
    progress: Progress = Progress()

    def __post_init__(self) -> None:
        changing = bool(self.state.objective.features) and self.state.decay.kind != "none"
        self.lesson = self.processes.averaging(Lesson(self.state), changing)
        self.energy = EnergyMeter(self.state.device)
        self.saved_at = time.monotonic()
        self.superseded_when_saved = list(self.state.counters.superseded)
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
            # A new run first saves a state to come back to, and panels of the untrained network.
            self._main_does(self._begin)
            while self.state.counters.epoch < self.timetable.num_epochs and not self.state.counters.stopped_early:
                try:
                    # What is left of the epoch's steps.
                    self._train_epoch()
                    # One process validates, keeps the best, writes the record and saves the state.
                    growths = self.state.counters.growths
                    self._main_does(self._record_epoch)
                    # All hear what it decided: whether to stop, whether blur grows.
                    self._agree(growths)
                except NonFiniteTraining as error:
                    # Once: back to the last good state, and on with other samples.
                    self._roll_back(error)
                except (SystemExit, DataError, PhotoError):
                    # Stopped between two steps: nothing is lost.
                    self._save()
                    raise
            # There is a best checkpoint, whatever happened.
            self._main_does(self._end)
        except torch.OutOfMemoryError as error:
            raise SettingError(
                f"{self.state.device} has not enough memory for this step. Raise accumulate (the same result in less "
                "memory), or lower batch_size or patch_size."
            ) from error
        finally:
            end_workers(self.feed.loader)
        return self.state.counters

    def _agree(self, growths: int) -> None:
        """Processes that did not validate count the epoch, and learn what the main one decided."""
        counters = self.state.counters
        if not self.processes.is_main:
            counters.next_epoch()
        counters.stopped_early, grown = self.processes.any(counters.stopped_early, counters.growths > growths)
        counters.growths = growths + grown
        for group in self.state.optimizer.param_groups:
            (group["lr"],) = struct.unpack("d", self.processes.told(struct.pack("d", group["lr"])))

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
        self.progress.on_start(self.timetable.num_epochs * self.feed.order.steps * self.feed.order.batch_size)
        self.progress.on_images(self.state.counters.step * self.feed.order.batch_size)
        if self.state.counters.step == 0:
            self._save()
            self.validation.panels_of_doing_nothing(self.stop.check)

    def _end(self) -> None:
        counters = self.state.counters
        if counters.best is None:  # lost after the last validation
            self._validate(counters.epoch)
            self._keep_best(counters.epoch)
            self._save()
        self._drop(counters.superseded)

    def _validate(self, epoch: int) -> dict[str, float]:
        metrics = self.validation.metrics(epoch, self.stop.check)
        self.state.counters.psnr_db, self.state.counters.ssim = metrics["psnr"], metrics["ssim"]
        return metrics

    def _train_epoch(self) -> None:
        """What is left of the pass of random crops that the counters stand in."""
        counters, order = self.state.counters, self.feed.order
        first_step = counters.step - counters.epoch * order.steps
        offset = counters.rollbacks * self.timetable.num_epochs * order.epoch_images  # other samples than before
        order.start(counters.epoch, first_step, offset, self.timetable.strength(counters))
        self.state.network.train()
        batches = self.feed.batches()
        for step in range(first_step, order.steps):
            started = time.perf_counter()
            micro_batches = self._next(batches)
            waited_s = time.perf_counter() - started
            result = optimizer_step(self.state, self.lesson, micro_batches, self.processes)
            counters.step += 1
            counters.sums.add(result, order.batch_size, time.perf_counter() - started, waited_s)
            self.progress.on_images(order.batch_size)
            if not result.finite:
                self._skip(step, result)
            if time.monotonic() - self.saved_at >= 60 * self.timetable.save_minutes:
                self._save()

    def _next(self, batches: Iterator[Loaded]) -> list[Loaded]:
        """A step's micro-batches; a signal or a broken image in one process ends all, between two steps."""
        micro_batches: list[Loaded] = []
        trouble: DeblurError | None = None
        try:
            self.stop.waiting = self.processes.count == 1
            if self.stop.waiting:
                self.stop.check()
            micro_batches = list(itertools.islice(batches, self.feed.accumulate))
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
        names = self.feed.names_of(step)
        if self.processes.is_main:
            terms = {name: str(value) for name, value in result.terms.items()}
            values = {"loss": str(result.loss), **terms, "grad_norm": str(result.grad_norm), "samples": names}
            event = "overflow_step" if result.overflow else "skipped_step"
            self.record.log_event(event, epoch=counters.epoch + 1, step=counters.step, **values)
        if result.overflow:
            return  # the scaler has lowered fp16's scale
        self.progress.on_line(
            f"step {counters.step} (epoch {counters.epoch + 1}) skipped: loss {result.loss:g}, gradient norm "
            f"{result.grad_norm:g}; samples: {', '.join(names)}"
        )
        if counters.skipped_since_rollback > self.timetable.nonfinite_limit:
            raise NonFiniteTraining(
                f"Loss or gradients were not finite in {counters.skipped_since_rollback} steps (nonfinite_limit "
                f"{self.timetable.nonfinite_limit}). The last good state and the samples are in {self.record.folder} "
                f"({EVENTS_FILE}). {REMEDY}"
            )

    def _record_epoch(self) -> None:
        """Score whole validation images, through the path that users get; keep the best; record; save."""
        counters, timetable = self.state.counters, self.timetable
        epoch = counters.epoch + 1
        is_last = epoch == timetable.num_epochs
        validated = epoch % timetable.eval_every == 0 or is_last
        started = time.perf_counter()
        metrics = self._training_metrics()
        improved = False
        if validated:
            metrics |= self._validate(epoch)
            improved = metrics["psnr"] > counters.best_psnr_db
        metrics["seconds"] = counters.sums.seconds + time.perf_counter() - started
        metrics |= self._spent(metrics["seconds"])
        if improved:
            self._keep_best(epoch)
        if validated:
            counters.grow_if_stalled(epoch)
            after_validation(self.state.schedule, metrics["psnr"])
        counters.next_epoch(early=validated and not is_last and epoch - counters.best_epoch >= timetable.patience)
        self.unsaved.append((epoch, metrics))
        if validated and not self._save():
            raise NonFiniteTraining(f"After epoch {epoch} the weights hold values that are not numbers. {REMEDY}")
        self.progress.on_line(describe(epoch, timetable.num_epochs, metrics, improved))

    def _training_metrics(self) -> dict[str, float]:
        counters, sums = self.state.counters, self.state.counters.sums
        metrics = {"lr": self.state.optimizer.param_groups[0]["lr"], "skipped_steps": float(counters.skipped_steps)}
        metrics["severity"] = self.feed.order.strength
        if sums.steps:
            metrics |= {"train_loss": sums.loss / sums.steps, "grad_norm": sums.grad_norm / sums.steps}
            metrics |= {f"train_{name}": value / sums.steps for name, value in sums.terms.items()}
        if sums.seconds:
            metrics |= {"images_per_second": sums.images / sums.seconds, "data_wait": sums.waited_s / sums.seconds}
        return metrics

    def _spent(self, seconds: float) -> dict[str, float]:
        """Time and energy of the run up to the end of this epoch, where all of it was measured."""
        counters = self.state.counters
        self._count_energy()
        told = {}
        if counters.seconds is not None:
            counters.seconds += seconds
            told["train_seconds"] = counters.seconds
        if counters.joules is not None:
            told["train_energy_kj"] = counters.joules / 1000
        return told

    def _count_energy(self) -> None:
        """Of this process's machine and GPU: all of it where no others train along."""
        counters, joules = self.state.counters, self.energy.joules() if self.processes.count == 1 else None
        counters.joules = None if joules is None or counters.joules is None else counters.joules + joules

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
        self._count_energy()
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
            self.progress.on_epoch()
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
