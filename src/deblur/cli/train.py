"""``deblur train``, which is ``python src/train.py``: the settings of a training, parsed, and the run."""

import inspect
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import tyro

from deblur.cli.console import console

if TYPE_CHECKING:
    from deblur.training.config import TrainConfig


def train(arguments: list[str]) -> int:
    """Parse the settings and run them; returns the exit code."""
    share_cores()
    from deblur.training.config import TrainConfig, presets

    defaults = presets()[_preset_named(arguments, tuple(presets()))]
    config = tyro.cli(
        TrainConfig,
        prog="train.py",
        args=arguments,
        default=defaults,
        description=inspect.cleandoc(TrainConfig.__doc__ or ""),
        use_underscores=True,
    )
    config = config.resolved()
    if config.dry_run:
        _print_settings(config)
        return 0
    from deblur.training.recipe import run
    from deblur.training.terminal import progress_of

    with progress_of(console) as progress:
        run(config, progress=progress)
    return 0


def share_cores() -> None:
    """Threads of torch that wait for each other go to sleep soon, so that the processes that load get the cores.

    GNU's OpenMP reads it when torch is imported; its threads spin for milliseconds otherwise.
    """
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")


def _preset_named(arguments: Sequence[str], names: tuple[str, ...]) -> str:
    """The value of --preset, looked for before the rest is parsed, because it decides the rest's defaults."""
    value = "published"
    for i, argument in enumerate(arguments):
        if argument == "--preset" and i + 1 < len(arguments):
            value = arguments[i + 1]
        elif argument.startswith("--preset="):
            value = argument.partition("=")[2]
    return value if value in names else "published"  # tyro refuses an unknown one, with its list


def _print_settings(config: "TrainConfig") -> None:
    from deblur.training.recipe import resolve

    for key, value in resolve(config).items():
        console.print(f"{key:24}{value}", markup=False, soft_wrap=True)
