"""``deblur VERB``: train, restore, serve, register, ship, bench, demo. A verb imports what it needs when it runs.

Exit codes: 0 done; 1 could not be done, or not for every file (the reason is on stderr); 2 the command line makes no
sense; 3 training stopped being numbers; 4 the disk is full; 5 a model could not be verified or registered; 6 another
trainer works in the output folder; 130 or 143 ended by Ctrl-C or SIGTERM. After 3, 4, 6, 130 and 143 the same command
goes on where the run was; after 5 it makes the registration.
"""

import inspect
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro
from rich.console import Console
from rich.markup import escape

from deblur.errors import DeblurError, SettingError

if TYPE_CHECKING:
    from deblur.inference.model_folder import Model, ModelInfo, OpenEngine
    from deblur.inference.tiling import Tiling
    from deblur.training.config import TrainConfig

Engine = Literal["auto", "openvino", "onnxruntime", "torch"]
TRAINING_PACKAGES = ("torch", "mlflow", "skimage", "scipy", "onnx", "onnxscript", "filelock")
console = Console(highlight=False)


@dataclass(frozen=True)
class Opening:
    """Which model restores, and how it runs."""

    model: str | None = None
    """A model folder or models:/NAME@champion; by default DEBLUR_MODEL, else the champion of the local registry, else
    the bundled model."""
    engine: Engine = "auto"
    """What runs the network; auto takes openvino on x86-64, else onnxruntime, and torch for a device other than cpu."""
    precision: Literal["auto", "f32", "bf16"] = "auto"
    """What it computes in; auto takes bf16 where engine and processor have it."""
    threads: int | None = None
    """Threads of the network; by default one a core."""
    device: str = "cpu"
    """cpu, cuda or mps; other than cpu needs torch."""
    tile: int | None = None
    """Cut into squares of this many px (512 as published) instead of tiles fitted to the photo."""
    overlap: int | None = None
    """Overlap of neighbouring tiles, px; by default what the model was validated with."""


Opened = Annotated[Opening, tyro.conf.arg(name="")]


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

    if not photo.exists():
        raise SettingError(f"There is no {photo}.")
    restorer = _opener(opening)(_locate(opening.model)).restorer
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
        port: Port to listen on.
    """
    import uvicorn

    from deblur.serving.api import create_app
    from deblur.serving.model_store import ModelStore

    store = ModelStore(lambda: _locate(opening.model), _opener(opening))
    console.print(f"serving on http://{host}:{port}  (POST /api/deblur, GET /api/health)")
    uvicorn.run(create_app(store), host=host, port=port, log_level="warning", timeout_graceful_shutdown=20)
    return 0


def register(
    checkpoint: tyro.conf.Positional[Path], name: str, test_data: Path | None = None, val_images: int | None = None
) -> int:
    """Export, verify and register a checkpoint.

    Args:
        checkpoint: A best_model_*.pth.
        name: The registered model's name.
        test_data: Folder of validation pairs; by default the one it was trained with.
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
    from deblur.demo import run_demo

    run_demo(photos, console)
    return 0


def train() -> int:
    """Train DeblurUNet on pairs, verify the best checkpoint, register it. 'deblur train --help' lists all settings."""
    return 2  # reached only through its help text: main hands 'train' to _train


def bench_train(
    width: int = 32,
    batch_size: int | None = None,
    patch_size: int = 256,
    precision: Literal["auto", "f32", "bf16", "fp16"] = "auto",
    device: str = "auto",
    rounds: int = 5,
    steps: int = 5,
    workers: int | None = None,
    train_data: Path | None = None,
    compile: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
    json: Path | None = None,
) -> int:
    """Time our training step beside the plain float32 one and the machine's matrix products.

    Args:
        width: Channels of DeblurUNet's first level.
        batch_size: Crops a step; by default 4 on a CPU, 24 on a GPU.
        patch_size: Side of a crop, px.
        precision: Of our step; auto takes bf16 where the hardware has it.
        device: cpu, cuda or auto.
        rounds: Timings of each step; medians count.
        steps: Steps with real loading, for the share of time that they wait for data.
        workers: Processes that load; by default one a core, at most 8.
        train_data: Folder of pairs to load; by default installed photographs with synthetic blur.
        compile: Compile our network first.
        json: Write all figures to this file, too.
    """
    from deblur.benchmarks.train import benchmark_training, report
    from deblur.registry.record import write_json
    from deblur.training.recipe import pick_device, pick_precision

    where = pick_device(device)
    figures = benchmark_training(
        width=width,
        batch_size=batch_size or (4 if where.type == "cpu" else 24),
        patch_px=patch_size,
        precision=pick_precision(precision, where),
        device=where,
        rounds=rounds,
        steps=steps,
        workers=min(os.cpu_count() or 1, 8) if workers is None else workers,
        train_data=train_data,
        compiled=compile,
    )
    report(figures, console)
    if json:
        write_json(json, figures.as_dict())
    return 0


def bench_infer(
    model: str | None = None,
    megapixels: tuple[float, ...] = (0.5, 1.0, 2.0736, 8.0),
    runs: int = 5,
    json: Path | None = None,
    picture: Path | None = None,
    tracking: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
) -> int:
    """What this machine makes of inference: ours, the published loop and MONAI, beside the machine's own limit.

    Args:
        model: A model folder or models:/NAME@champion; by default DeblurUNet of full width with random weights.
        megapixels: Sizes of the photos for time and memory; 2.0736 is 1920x1080, on which the table is measured.
        runs: Runs of each row; the table says medians.
        json: Write every figure to this file.
        picture: Draw time and memory against megapixels into this PNG.
        tracking: Log the figures to MLflow, too.
    """
    from deblur.benchmarks.infer import bench

    bench(_locate(model) if model else None, megapixels, runs, json, picture, tracking, console)
    return 0


def bench_tiles(
    model: str,
    pairs: Path,
    tiles: tuple[int, ...] = (128, 192, 256, 384, 512, 768, 1024),
    halo: int = 0,
    precision: Literal["auto", "f32", "bf16"] = "f32",
    json: Path | None = None,
) -> int:
    """What the size of the tile does to the picture: PSNR, seams and colour, against the whole image as one tile.

    Args:
        model: A model folder or models:/NAME@champion.
        pairs: Folder of pairs.
        tiles: Tile sizes, px.
        halo: How much of the overlap is thrown away instead of blended, on either side, px.
        precision: What the network computes in.
        json: Write every figure to this file.
    """
    from deblur.benchmarks.tiles import bench

    bench(_locate(model), pairs, tiles, halo, precision, json, console)
    return 0


def bench() -> int:
    """Measure this machine: 'deblur bench --help' lists what can be measured."""
    return 2  # reached only through its help text: main hands 'bench' to BENCHES


BENCHES: dict[str, Callable[..., int]] = {"train": bench_train, "infer": bench_infer, "tiles": bench_tiles}

VERBS: dict[str, Callable[..., int]] = {
    "train": train,
    "restore": restore,
    "serve": serve,
    "register": register,
    "ship": ship,
    "bench": bench,
    "demo": demo,
}


def _train(arguments: list[str]) -> int:
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


def _opener(opening: Opening) -> "Callable[[Path], Model]":
    from deblur.inference.model_folder import open_model, read_info

    open_engine = _engine_opener(opening)
    return lambda folder: open_model(folder, open_engine, _tiling(opening, read_info(folder)))


def _tiling(opening: Opening, info: "ModelInfo") -> "Tiling":
    """The model's own tiling, or the squares that were asked for."""
    own = info.tiling
    if opening.tile is None and opening.overlap is None:
        return own
    from deblur.inference.tiling import Tiling

    overlap_px = own.overlap_px if opening.overlap is None else opening.overlap
    halo_px = min(own.halo_px, overlap_px // 2)
    return Tiling(opening.tile or own.tile_px, overlap_px, own.rule, halo_px, fitted=opening.tile is None)


def _engine_opener(opening: Opening) -> "OpenEngine":
    from deblur.inference.engine import open_engine

    engine, device = opening.engine, opening.device
    if engine in ("openvino", "onnxruntime") and device != "cpu":
        raise SettingError(f"--engine {engine} runs on the CPU here; for --device {device} take --engine torch.")
    if engine != "torch" and device == "cpu":
        return lambda onnx_file: open_engine(onnx_file, engine, opening.precision, opening.threads)
    from deblur.models.engine import TorchEngine
    from deblur.training.checkpoint import network_from
    from deblur.training.recipe import pick_device

    return lambda onnx_file: TorchEngine(
        network_from(onnx_file.parent), pick_device(device), opening.precision, opening.threads
    )


def _locate(model: str | None) -> Path:
    """The model folder; the registry (and mlflow with it) is touched only where it is needed."""
    from deblur.serving.model_store import locate_model

    def fetch(uri: str) -> Path:
        from deblur.registry.versions import fetch

        return fetch(uri)

    def champion() -> str | None:
        from deblur.registry.versions import local_champion

        return local_champion()

    return locate_model(model, fetch, champion)
