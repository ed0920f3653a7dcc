"""``deblur VERB``: what VERBS lists. Each verb imports what it needs when it runs.

Exit codes: 0 done; 1 could not be done, or not for every file (the reason is on stderr); 2 the command line makes no
sense; 3 training stopped being numbers; 4 the disk is full; 5 a model could not be verified or registered; 6 another
process works in the output folder; 130 or 143 ended by Ctrl-C or SIGTERM. After 3, 4, 6, 130 and 143 the same command
goes on where the run was; after 5 it makes the registration.
"""

import re
import sys
from collections.abc import Callable, Sequence

import tyro

from deblur.cli.bench import BENCHES
from deblur.cli.card import card
from deblur.cli.compare import compare
from deblur.cli.console import complain, tolerant_output
from deblur.cli.demo import demo
from deblur.cli.doctor import doctor
from deblur.cli.evaluate import evaluate
from deblur.cli.export import export
from deblur.cli.importing import import_network
from deblur.cli.options import flowing, parse, with_dashes
from deblur.cli.package import package
from deblur.cli.pairs import pairs
from deblur.cli.promote import promote
from deblur.cli.register import register
from deblur.cli.restore import restore
from deblur.cli.samples import samples
from deblur.cli.serve import serve
from deblur.cli.ship import ship
from deblur.cli.sweep import sweep
from deblur.cli.synth import synth
from deblur.cli.teach import teach
from deblur.cli.train import train
from deblur.errors import DeblurError, ModelError, PhotoTooLarge, SettingError
from deblur.files import pasteable

TRAINING_PACKAGES = ("torch", "mlflow", "skimage", "scipy", "onnx", "onnxscript", "matplotlib")
FILM_PACKAGES = ("av", "cv2")
SENTENCE = re.compile(r"(?<=\.)\s")
"""Where one ends and another begins."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a verb; returns the exit code."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    with tolerant_output():
        try:
            return _run(arguments)
        except DeblurError as error:
            complain(str(error))
            return error.exit_code
        except ModuleNotFoundError as error:
            package = (error.name or "").partition(".")[0]
            if package not in TRAINING_PACKAGES + FILM_PACKAGES:
                raise
            extra = "train,film" if package in FILM_PACKAGES else "train"
            complain(f"{error.name} is not installed, and this needs it: pip install 'deblurkit[{extra}]'.")
            return 1
        except OSError as error:
            if error.filename is None:
                raise
            complain(f"{pasteable(error.filename)} cannot be read or written ({error.strerror}).")
            return 1
        except KeyboardInterrupt:
            return 130


def _run(arguments: list[str]) -> int:
    if arguments[:1] in (["train"], ["sweep"]):
        return {"train": train, "sweep": sweep}[arguments[0]](arguments[1:])
    verbs, prog = VERBS, "deblur"
    if arguments[:1] == ["bench"]:
        verbs, prog, arguments = BENCHES, "deblur bench", arguments[1:]
    if arguments[:1] and arguments[0] in verbs:
        verb = verbs[arguments[0]]
        try:
            return int(parse(verb, f"{prog} {arguments[0]}", arguments[1:]) or 0)
        except (ModelError, PhotoTooLarge, SettingError) as error:
            raise type(error)(with_dashes(str(error), verb)) from error
    lines = {name: _line(verb) for name, verb in verbs.items()}
    return int(tyro.extras.subcommand_cli_from_dict(lines, prog=prog, args=arguments))


def _line(verb: Callable[..., int]) -> Callable[[], int]:
    """A verb in the list of verbs, which has the first sentence of its help page. No command line gets to run it."""

    def listed() -> int:
        return 2

    listed.__doc__ = SENTENCE.split(flowing(verb.__doc__ or ""))[0]
    return listed


def _train() -> int:
    """Train a network, verify the best checkpoint, and register it."""
    return 2  # reached only through its help text: main hands 'train' to train


def _sweep() -> int:
    """Train with every combination of some settings' values, and compare the results."""
    return 2  # as _train


def _bench() -> int:
    """Measure this machine."""
    return 2  # reached only through its help text: main hands 'bench' to BENCHES


VERBS: dict[str, Callable[..., int]] = {
    "train": _train,
    "sweep": _sweep,
    "restore": restore,
    "compare": compare,
    "serve": serve,
    "package": package,
    "evaluate": evaluate,
    "promote": promote,
    "card": card,
    "register": register,
    "export": export,
    "import": import_network,
    "ship": ship,
    "samples": samples,
    "synth": synth,
    "teach": teach,
    "pairs": pairs,
    "bench": _bench,
    "doctor": doctor,
    "demo": demo,
}
