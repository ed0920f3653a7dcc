"""``deblur train``, which is ``python src/train.py``: the settings of a training, parsed, and the run."""

import inspect
import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, field, make_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from deblur.cli.console import console, say
from deblur.cli.options import flowing, parse
from deblur.errors import SettingError

if TYPE_CHECKING:
    from deblur.training.settings import TrainSettings

FURTHER = "documentation/training.md tells what each --preset sets, and more of the settings."


def train(arguments: Sequence[str]) -> int:
    """Parse the settings and run them; returns the exit code."""
    share_cores()
    settings = parsed(arguments).resolved()
    if settings.run.dry_run:
        _print_settings(settings)
        return 0
    from deblur.training.recipe import run
    from deblur.training.terminal import progress_of

    with progress_of(console) as progress:
        run(settings, progress=progress)
    return 0


def share_cores() -> None:
    """Threads of torch that wait for each other go to sleep soon, so that the processes that load get the cores.

    GNU's OpenMP reads it when torch is imported; its threads spin for milliseconds otherwise.
    """
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")


def parsed(arguments: Sequence[str]) -> "TrainSettings":
    """The settings that a command line names: the groups flat, and the network's own arguments as the last one.

    The preset decides what the others are by default, and the network which arguments there are.
    """
    from deblur.models import ARCHITECTURES
    from deblur.training.presets import PRESETS
    from deblur.training.settings import TrainSettings

    preset = TrainSettings.of_preset(_named(arguments, "preset", PRESETS, "published"))
    network = _named(arguments, "network", ARCHITECTURES, preset.network.network)
    defaults = preset.but(network=network)
    for option in defaults.network.options:
        if any(hasattr(group, option) for group in defaults.groups):
            raise SettingError(
                f"{network} has an argument {option}, but that is a setting's name. Rename the argument."
            )
    groups = dict(vars(defaults)) | {network: _options(network)(**defaults.network.options)}
    flat = make_dataclass(
        "TrainSettings", [(name, type(group), field(default=group)) for name, group in groups.items()]
    )
    found = parse(
        tyro.conf.OmitArgPrefixes[flat],  # type: ignore[misc,valid-type]
        "train.py" if Path(sys.argv[0]).name == "train.py" else "deblur train",
        arguments,
        default=flat(),
        description=f"{flowing(TrainSettings.__doc__ or '')}\n\n{FURTHER}",
        use_underscores=True,
    )
    values = dict(vars(found))
    chosen = asdict(values.pop(network))
    return TrainSettings(**values).but(**chosen)


def _options(name: str) -> Any:
    """A network's own arguments as a dataclass that tyro can show: their types, defaults and the docstring's words."""
    import docstring_parser

    from deblur.models import ARCHITECTURES, options_of

    network = ARCHITECTURES[name]
    texts = {param.arg_name: param.description or "" for param in docstring_parser.parse(network.__doc__ or "").params}
    kinds = inspect.get_annotations(network.__init__, eval_str=True)
    described = [
        (
            option,
            Annotated[kinds[option], tyro.conf.arg(help=flowing(texts.get(option, "")))],
            field(default=default),
        )
        for option, default in options_of(name).items()
    ]
    return make_dataclass(name, described, frozen=True, namespace={"__doc__": f"What {name} alone takes."})


def _named(arguments: Sequence[str], name: str, known: Iterable[str], default: str) -> str:
    """The value of a flag, looked for before the rest is parsed, because it decides the rest's defaults."""
    value = default
    for i, argument in enumerate(arguments):
        if argument == f"--{name}" and i + 1 < len(arguments):
            value = arguments[i + 1]
        elif argument.startswith(f"--{name}="):
            value = argument.partition("=")[2]
    return value if value in known else default  # tyro refuses an unknown one, with its list


def _print_settings(settings: "TrainSettings") -> None:
    from deblur.training.recipe import resolve

    for key, value in resolve(settings).items():
        say(f"{key:24}{value}")
