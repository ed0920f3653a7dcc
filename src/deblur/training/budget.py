"""A budget by the clock, turned into epochs and crops: speed is measured first, by steps that are forgotten.

So the run that follows is like any other of that many epochs: it anneals by its end, and with the same numbers it comes
out the same again.
"""

import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from deblur.data.crops import CropSizes
from deblur.data.loading import Feed, end_workers
from deblur.errors import SettingError
from deblur.models.checkpoint import save_state
from deblur.training.state import TrainingState
from deblur.training.step import Lesson, optimizer_step
from deblur.training.validation import Validation

MEASURING_SHARE = 0.05
"""Of the budget, for steps; validation and a save come on top."""


@dataclass(frozen=True)
class Pace:
    """Seconds a crop takes, mean over the run's sizes and with waiting, and an epoch beside its steps."""

    image_s: float
    epoch_s: float


def measured(
    state: TrainingState,
    feed: Feed,
    validation: Validation,
    sizes: CropSizes,
    seconds: float,
    folder: Path,
    check: Callable[[], None],
) -> Pace:
    """How fast a run is: its steps with crops of each size, a validation and a save.

    Args:
        state: fresh; used up.
        feed: with steps enough.
        validation: of the state.
        sizes: of the run's crops.
        seconds: for all steps.
        folder: for a state that nobody needs.
        check: called between steps; an exception it raises stops the work.
    """
    lesson, image_s, began = Lesson(state), 0.0, 0.0
    state.network.train()
    try:
        for until, side_px in sizes.parts:
            feed.order.side_at = lambda step, side_px=side_px: side_px  # type: ignore[misc]
            feed.order.start(0)
            step_s = _step_s(state, lesson, feed, seconds / len(sizes.parts), check)
            image_s += (until - began) * step_s / feed.order.batch_size
            began = until
    finally:
        end_workers(feed.loader)
    started = time.perf_counter()
    validation.metrics(0, check)
    save_state(folder, state.state_dict())
    return Pace(image_s, time.perf_counter() - started)


def _step_s(state: TrainingState, lesson: Lesson, feed: Feed, seconds: float, check: Callable[[], None]) -> float:
    """Mean over the steps that fit in ``seconds``, two at least, after one that does not count."""
    batches = feed.batches()
    began = first_done = time.perf_counter()
    for step in itertools.count():
        check()
        optimizer_step(state, lesson, list(itertools.islice(batches, feed.accumulate)))
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
