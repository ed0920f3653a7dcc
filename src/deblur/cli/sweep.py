"""``deblur sweep``: several trainings that differ in a few settings, side by side."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import tyro
from rich.table import Table

from deblur.cli.console import console, counted, say, show
from deblur.cli.options import parse
from deblur.cli.train import parsed, share_cores
from deblur.errors import SettingError

if TYPE_CHECKING:
    from deblur.training.settings import TrainSettings
    from deblur.training.sweep import Trained, Trial

SWITCHED = {"true": True, "false": False}


@dataclass(frozen=True)
class Sweep:
    """Train with every combination of some settings' values, and compare the results.

    All further arguments are those of 'deblur train'. In MLflow the trainings are child runs of one run. The same
    command, given again, goes on where a sweep was interrupted.
    """

    out: tyro.conf.Positional[Path]
    """Folder of the sweep; each training gets a folder in it."""
    vary: tuple[str, ...]
    """Settings of 'deblur train' with their values, all behind one --vary: "learning_rate=1e-3,3e-3"
    "residual=true,false" "train_data=photos:mine leaves,leaves". NAME=LOW..HIGH draws values between the two, evenly in
    the logarithm."""
    trials: int | None = None
    """Train only this many of the combinations, chosen by chance; by default all."""
    data: tuple[str, ...] = ()
    """Score all trials on these sets at the end, as 'deblur evaluate' does, and compare each with the first."""


def sweep(arguments: Sequence[str]) -> int:
    """Parse a sweep and run it; returns the exit code."""
    chosen, rest = parse(Sweep, "deblur sweep", arguments, return_unknown_args=True)
    if sum(each == "--vary" or each.startswith("--vary=") for each in arguments) > 1:
        raise SettingError("--vary is given more than once. Write all that varies behind one.")
    share_cores()
    from deblur.training import sweep as training
    from deblur.training.processes import is_first
    from deblur.training.terminal import progress_of

    trials = training.trials_of(dict(_varied(text) for text in chosen.vary), chosen.trials)
    done: list[Trained] = []
    for trained in training.sweep(chosen.out, trials, partial(_settings, rest), partial(progress_of, console), say):
        done.append(trained)
    if done:
        _report(done)
    if done and chosen.data:
        _evaluate(done, chosen.data)
    return int(is_first() and len(done) < len(trials))


def _varied(text: str) -> tuple[str, list[str]]:
    name, equals, values = text.partition("=")
    if not equals or not values:
        raise SettingError(f"--vary {text!r} is not understood; it must be NAME=VALUE,VALUE.")
    return name.strip().lstrip("-").replace("-", "_"), [value.strip() for value in values.split(",")]


def _settings(rest: Sequence[str], trial: "Trial", folder: Path) -> "TrainSettings":
    arguments, switches = [*rest, "--output_dir", str(folder)], dict[str, bool]()
    for name, value in trial.values.items():
        if value.lower() in SWITCHED:
            switches[name] = SWITCHED[value.lower()]
        else:
            arguments += [f"--{name}", *value.split()]
    made = parsed(arguments)
    for name in switches:
        if not isinstance(made.flat().get(name), bool):
            raise SettingError(f"--vary {name}: a training has no such setting that is true or false.")
    settings = made.but(**switches).resolved()
    if settings.run.dry_run:
        raise SettingError("A sweep has no dry run; that of 'deblur train' prints the settings of one training.")
    if settings.run.registered_model_name:
        raise SettingError("A sweep registers nothing. Register its best: deblur ship FOLDER --name NAME.")
    return settings


def _report(done: "Sequence[Trained]") -> None:
    names = list(done[0].trial.values)
    table = Table("trial", *names, "PSNR dB", "folder")
    for each in sorted(done, key=lambda trained: -trained.psnr_db):
        values = [each.trial.values[name] for name in names]
        table.add_row(str(each.trial.number), *values, f"{each.psnr_db:.3f}", str(each.result.record.folder))
    console.print(table)


def _evaluate(done: "Sequence[Trained]", data: Sequence[str]) -> None:
    from deblur.data.report_sets import open_report_sets
    from deblur.evaluation.evaluation import evaluate
    from deblur.evaluation.tables import tables_of
    from deblur.evaluation.ways import model_ways
    from deblur.library import open_model

    sets = open_report_sets(data, None)
    folders = [(each.trial.name, each.result.record.model_folder) for each in done]
    ways = model_ways([(name, open_model(folder)) for name, folder in folders])
    with counted(sets) as on_done:
        show(tables_of(evaluate(sets, ways, on_done=on_done), None, 2.0))
