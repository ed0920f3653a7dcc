"""A budget by the clock, turned into epochs and crops: speed is measured first, by steps that are forgotten.

So the run that follows is like any other of that many epochs: it anneals by its end, and with the same numbers it comes
out the same again.
"""

import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass

from deblur.data.crops import CropSizes
from deblur.data.loading import end_workers
from deblur.errors import SettingError
from deblur.models.checkpoint import save_state
from deblur.training.loop import Trainer
from deblur.training.step import optimizer_step

MEASURING_SHARE = 0.05
"""Of the budget, for steps; validation and a save come on top."""


@dataclass(frozen=True)
class Pace:
    """Seconds a crop takes, mean over the run's sizes and with waiting, and an epoch beside its steps."""

    image_s: float
    epoch_s: float


def measured(trainer: Trainer, sizes: CropSizes, seconds: float, check: Callable[[], None]) -> Pace:
    """How fast a run is: its steps with crops of each size, a validation and a save.

    Args:
        trainer: with steps enough; used up.
        sizes: of the run's crops.
        seconds: for all steps.
        check: called between steps; an exception it raises stops the work.
    """
    state, order, image_s, began = trainer.state, trainer.feed.order, 0.0, 0.0
    state.network.train()
    try:
        for until, side_px in sizes.parts:
            order.side_at = lambda step, side_px=side_px: side_px  # type: ignore[misc]
            order.start(0)
            image_s += (until - began) * _step_s(trainer, seconds / len(sizes.parts), check) / order.batch_size
            began = until
    finally:
        end_workers(trainer.feed.loader)
    started = time.perf_counter()
    trainer.validation.metrics(0, check)
    save_state(trainer.record.folder, state.state_dict())
    return Pace(image_s, time.perf_counter() - started)


def _step_s(trainer: Trainer, seconds: float, check: Callable[[], None]) -> float:
    """Mean over the steps that fit in ``seconds``, two at least, after one that does not count."""
    batches = trainer.feed.batches()
    began = first_done = time.perf_counter()
    for step in itertools.count():
        check()
        optimizer_step(trainer.state, trainer.lesson, list(itertools.islice(batches, trainer.feed.accumulate)))
        now = time.perf_counter()
        if step == 0:
            first_done = now
        elif step >= 2 and now - began > seconds:
            return (now - first_done) / step
    raise AssertionError("counting ends")


def epochs_within(seconds: float, pace: Pace, epoch_images: int, batch_size: int) -> tuple[int, int]:
    """(epochs, crops an epoch) that fill ``seconds``: no shorter epochs than wished, where there is time for one.

    Args:
        seconds: for all of it, the validation of the written file too.
        pace: as measured.
        epoch_images: crops an epoch as wished.
        batch_size: crops a step.

    Raises:
        SettingError: there is no time for a step and a validation.
    """
    left_s = seconds - pace.epoch_s  # the written file is scored as an epoch is
    epochs = max(1, int(left_s / (epoch_images * pace.image_s + pace.epoch_s)))
    steps = int((left_s / epochs - pace.epoch_s) / pace.image_s) // batch_size
    if steps < 1:
        raise SettingError(
            f"minutes is too little: of it {max(seconds, 0) / 60:.2f} are left after measuring; a validation takes "
            f"{pace.epoch_s / 60:.2f} and is made at least twice, and a step takes "
            f"{batch_size * pace.image_s / 60:.2f}. Raise minutes, or lower val_images or batch_size."
        )
    return epochs, steps * batch_size
