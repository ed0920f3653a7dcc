"""``deblur VERB``: what VERBS lists. Each verb imports what it needs when it runs.

Exit codes: 0 done; 1 could not be done, or not for every file (the reason is on stderr); 2 the command line makes no
sense; 3 training stopped being numbers; 4 the disk is full; 5 a model could not be verified or registered; 6 another
trainer works in the output folder; 130 or 143 ended by Ctrl-C or SIGTERM. After 3, 4, 6, 130 and 143 the same command
goes on where the run was; after 5 it makes the registration.
"""

import inspect
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro
from rich.console import Console
from rich.markup import escape

from deblur.cli.bench import BENCHES
from deblur.cli.doctor import doctor
from deblur.cli.opening import Opened, Opening, locate, opener
from deblur.cli.samples import samples
from deblur.cli.synth import synth
from deblur.errors import DeblurError, SettingError

if TYPE_CHECKING:
    from deblur.training.config import TrainConfig

TRAINING_PACKAGES = ("torch", "mlflow", "skimage", "scipy", "onnx", "onnxscript", "filelock", "matplotlib")
console = Console(highlight=False)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a verb; returns the exit code."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    try:
        if arguments[:1] == ["train"]:
            return _train(list(arguments[1:]))
        if arguments[:1] == ["bench"]:
            return int(
                tyro.extras.subcommand_cli_from_dict(
                    BENCHES, prog="deblur bench", args=list(arguments[1:]), use_underscores=False
                )
                or 0
            )
        return int(
            tyro.extras.subcommand_cli_from_dict(VERBS, prog="deblur", args=arguments, use_underscores=False) or 0
        )
    except DeblurError as error:
        _complain(str(error))
        return error.exit_code
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in TRAINING_PACKAGES:
            raise
        _complain(f"{error.name} is not installed, and this needs it: pip install 'deblurkit[train]'.")
        return 1
    except OSError as error:
        if error.filename is None:
            raise
        _complain(f"{error.filename} cannot be read or written ({error.strerror}).")
        return 1
    except KeyboardInterrupt:
        return 130


def _complain(sentence: str) -> None:
    Console(stderr=True, highlight=False).print(f"deblur: {sentence}", style="red", markup=False, soft_wrap=True)


def restore(
    photo: tyro.conf.Positional[Path],
    out: tyro.conf.Positional[Path | None] = None,
    opening: Opened = Opening(),
    overwrite: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
) -> int:
    """Restore a photo, or every photo in a folder.

    Args:
        photo: A photo, or a folder of photos.
        out: Where to; by default PHOTO.deblurred.EXT, or the folder FOLDER.deblurred.
        opening: Model and engine.
        overwrite: Replace files that exist.
    """
    from rich.progress import Progress

    from deblur.inference.files import Report, restore_file, restore_folder

    if not (photo.is_file() or photo.is_dir()):
        raise SettingError(f"There is no file or folder {photo}.")
    restorer = opener(opening)(locate(opening.model)).restorer
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task(escape(photo.name), total=None)
        if photo.is_file():

            def on_tile(done: int, total: int) -> None:
                progress.update(task, completed=done, total=total)

            target = restore_file(restorer, photo, out, overwrite=overwrite, on_tile=on_tile)
            progress.console.print(str(target), markup=False, soft_wrap=True)
            return 0

        def on_report(report: Report, total: int) -> None:
            progress.update(task, advance=1, total=total)
            line = f"{report.photo}: {report.trouble}" if report.trouble else str(report.output)
            progress.console.print(line, markup=False, soft_wrap=True, style="red" if report.trouble else None)

        reports = restore_folder(restorer, photo, out, overwrite=overwrite, on_report=on_report)
    failed = sum(report.trouble is not None for report in reports)
    console.print(f"{len(reports) - failed} restored, {failed} not.")
    return 1 if failed or not reports else 0


def serve(opening: Opened = Opening(), host: str = "127.0.0.1", port: int = 7071) -> int:
    """Serve the HTTP API: POST a photo to /api/deblur.

    Args:
        opening: Model and engine.
        host: Address to listen on.
        port: Port to listen on; 0 takes a free one.
    """
    import socket

    import uvicorn

    from deblur.serving.api import create_app
    from deblur.serving.model_store import ModelStore

    if not 0 <= port <= 65_535:
        raise SettingError(f"--port is {port}; allowed are 0 to 65535.")
    app = create_app(ModelStore(lambda: locate(opening.model), opener(opening)))
    try:
        listening = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        raise SettingError(f"Nothing can listen on {host}, port {port} ({error}). Choose another --port.") from error
    with listening:
        port = listening.getsockname()[1]
        console.print(f"serving on http://{host}:{port}  (POST /api/deblur, GET /api/health)", soft_wrap=True)
        uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=20)).run([listening])
    return 0


def register(
    checkpoint: tyro.conf.Positional[Path], name: str, test_data: tuple[str, ...] = (), val_images: int | None = None
) -> int:
    """Export, verify and register a checkpoint.

    Args:
        checkpoint: A best_model_*.pth.
        name: The registered model's name.
        test_data: Sources of validation pairs; by default those it was trained with.
        val_images: Verify on this many pairs, spread evenly; by default as in training.
    """
    from deblur.registry.versions import describe_version
    from deblur.training.registering import register_checkpoint

    version, scores = register_checkpoint(checkpoint, name, test_data, val_images)
    console.print(
        f"the written file scores {scores.mean('psnr_db'):.2f} dB (input {scores.mean('psnr_input_db'):.2f} dB)\n"
        f"registered: {describe_version(name, version)}"
    )
    return 0


def export(
    weights: tyro.conf.Positional[Path],
    folder: tyro.conf.Positional[Path],
    name: str = "deblur",
    test_data: tuple[str, ...] = (),
    half: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
    freeze: tuple[str, ...] = (),
) -> int:
    """Write weights as a model folder, which restore and serve take.

    Args:
        weights: A checkpoint, the output folder of a training (its newest averaged weights), or a model folder.
        folder: Where model.onnx and model.json go.
        name: What the model is called.
        test_data: Sources of validation pairs to verify the written file on.
        half: Keep the weights in float16: half the file, the same arithmetic.
        freeze: Sources of training crops, whose statistics take GroupNorm's place: faster, and the same however a
            photo is cut. Compare the scores with and without.
    """
    from deblur.training.exporting import export_weights

    scores = export_weights(weights, folder, name, test_data, half, freeze)
    console.print(str(folder), markup=False, soft_wrap=True)
    if scores:
        console.print(f"scores {scores.mean('psnr_db'):.3f} dB (input {scores.mean('psnr_input_db'):.3f} dB)")
    return 0


def ship(run_dir: tyro.conf.Positional[Path], name: str | None = None) -> int:
    """Send a run recorded on disk to MLflow.

    Args:
        run_dir: The --output_dir of the training.
        name: Register the run's verified model under this name, too.
    """
    from deblur.training.registering import ship_record

    run_id, version = ship_record(run_dir, name)
    console.print(f"run {run_id}" + (f", {name} version {version}" if version else ""))
    return 0


def demo(photos: Path | None = None) -> int:
    """Train, track, register, serve and restore, on photos that are here already; under ten minutes on two cores.

    Args:
        photos: A folder of sharp photos to use instead of those that came with the dependencies.
    """
    _share_cores()
    from deblur.demo import run_demo

    run_demo(photos, console)
    return 0


def train() -> int:
    """Train a network, verify the best checkpoint, register it. 'deblur train --help' lists all settings."""
    return 2  # reached only through its help text: main hands 'train' to _train


def bench() -> int:
    """Measure this machine: 'deblur bench --help' lists what can be measured."""
    return 2  # reached only through its help text: main hands 'bench' to BENCHES


VERBS: dict[str, Callable[..., int]] = {
    "train": train,
    "restore": restore,
    "serve": serve,
    "register": register,
    "export": export,
    "ship": ship,
    "samples": samples,
    "synth": synth,
    "bench": bench,
    "doctor": doctor,
    "demo": demo,
}


def _train(arguments: list[str]) -> int:
    _share_cores()
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


def _share_cores() -> None:
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
