"""Several trainings that differ in a few settings: every combination of some values, or some of them by chance.

Each trial is an ordinary run in a folder of its own. What is finished is not trained again, and what was interrupted
goes on, so the same command resumes a sweep.
"""

import itertools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from deblur.errors import DeblurError, DiskFull, FolderInUse, SettingError, TrackerError
from deblur.files import write_json
from deblur.training.processes import is_first
from deblur.training.progress import Progress
from deblur.training.recipe import Result, run
from deblur.training.settings import TrainSettings

SWEEP_FILE = "sweep.json"
PARENT = "mlflow.parentRunId"
VERIFIED = "verified_psnr"
NAME_LENGTH = 80


@dataclass(frozen=True)
class Trial:
    """One combination: each setting's name and its value as text."""

    number: int
    values: Mapping[str, str]

    @property
    def told(self) -> str:
        """In words."""
        return " ".join(f"{name}={value}" for name, value in self.values.items())

    @property
    def name(self) -> str:
        """Of its folder."""
        safe = "".join(c if c.isalnum() or c in "-_.=" else "-" for c in self.told)
        return f"{self.number:02d}-{safe[:NAME_LENGTH]}"


@dataclass(frozen=True)
class Trained:
    """A trial and the run that it became."""

    trial: Trial
    result: Result

    @property
    def psnr_db(self) -> float:
        """Of the verified file on the validation images."""
        found = [line["metrics"] for line in self.result.record.epochs if VERIFIED in line["metrics"]]
        return float(found[-1][VERIFIED])


def trials_of(varied: Mapping[str, Sequence[str]], count: int | None) -> list[Trial]:
    """The combinations to train.

    Args:
        varied: setting -> its values as text; ``LOW..HIGH`` is drawn between the two, evenly in the logarithm.
        count: so many, by chance; None takes every combination. More of them begin with the same.

    Raises:
        SettingError: nothing varies, or a range and no count.
    """
    ranges = {name: bounds for name, values in varied.items() if (bounds := _range_of(values))}
    if not varied or (count is not None and count < 1):
        raise SettingError("Nothing to try: vary must name a setting and its values, trials be 1 or more.")
    if ranges and count is None:
        raise SettingError(f"{', '.join(ranges)} is a range without end; say how many trials to draw.")
    listed = {name: values for name, values in varied.items() if name not in ranges}
    grid = [dict(zip(listed, chosen, strict=True)) for chosen in itertools.product(*listed.values())]
    if count is not None:
        np.random.default_rng(0).shuffle(grid)
        grid = list(itertools.islice(itertools.cycle(grid), count if ranges else min(count, len(grid))))
    trials = []
    for number, chosen in enumerate(grid, 1):
        drawn = np.random.default_rng(number)
        values = {name: f"{low * (high / low) ** drawn.random():.4g}" for name, (low, high) in ranges.items()}
        trials.append(Trial(number, {name: (chosen | values)[name] for name in varied}))
    return trials


def sweep(
    folder: Path,
    trials: Sequence[Trial],
    settings_of: Callable[[Trial, Path], TrainSettings],
    watched: Callable[[], AbstractContextManager[Progress]],
    on_line: Callable[[str], None],
) -> Iterator[Trained]:
    """Train one trial after the other.

    Args:
        folder: gets a folder for each trial; its name is the sweep's in the tracker.
        trials: of :func:`trials_of`.
        settings_of: a trial and its folder -> resolved settings.
        watched: what is told how a trial's run goes.
        on_line: told which trial begins, and what the tracker fails with.

    Raises:
        SettingError: settings of a trial that make no sense; all are looked at before the first trains.
        DiskFull, FolderInUse: the same sweep goes on with that trial. Whatever else a training fails with is told, and
            the next one begins.
    """
    resolved = [settings_of(trial, folder / trial.name) for trial in trials]
    tracked = resolved[0].run.tracking != "off" and is_first()
    parent = _parent(folder, on_line) if tracked else None
    for trial, settings in zip(trials, resolved, strict=True):
        on_line(f"trial {trial.number} of {len(trials)}: {trial.told}")
        try:
            with watched() as progress:
                result = run(settings, progress=progress, tags={PARENT: parent} if parent else {}, name=trial.told)
        except (DiskFull, FolderInUse):
            raise
        except DeblurError as error:
            on_line(f"trial {trial.number} failed: {error}")
            continue
        if result is not None:  # of several processes one has it
            yield Trained(trial, result)


def _parent(folder: Path, on_line: Callable[[str], None]) -> str | None:
    """The run in the tracker that trials belong to: the one that an earlier call began, or a new one."""
    from deblur.registry.tracking import group_run, require_mlflow

    require_mlflow()
    file = folder / SWEEP_FILE
    known: str | None = json.loads(file.read_text(encoding="utf-8"))["run_id"] if file.is_file() else None
    try:
        run_id = group_run(f"sweep {folder.name}", known)
    except TrackerError as error:
        on_line(f"the trials do not stand together in the tracker. {error}")
        return known
    folder.mkdir(parents=True, exist_ok=True)
    write_json(file, {"run_id": run_id})
    return run_id


def _range_of(values: Sequence[str]) -> tuple[float, float] | None:
    low, dots, high = values[0].partition("..") if len(values) == 1 else ("", "", "")
    if not dots:
        return None
    with suppress(ValueError):
        if 0 < float(low) < float(high):
            return float(low), float(high)
    raise SettingError(f"{values[0]} is no range; it must be LOW..HIGH with 0 < LOW < HIGH.")
