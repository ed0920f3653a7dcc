"""``python -m experiments.gpu_minutes --data FOLDER --out NEW_FOLDER``: better weights from a few minutes on a GPU.

Checks, a benchmark of the training step, a training with the preset ``weights``, export in half precision, evaluation
beside the weights that it began with, and the decision that ``deblur promote`` would make. It gets by without mlflow,
tyro and openvino, and no file of a network up to 4 million parameters is larger than 16 MiB::

    figures.json    everything measured so far, written anew after every stage
    model/          the best weights in full precision: the next minutes begin with ``--init NEW_FOLDER/model``
    half/           the same in half precision, to be shipped

FOLDER has photographs in ``photos/NAME/``, pairs in ``pairs/NAME/train/``, and pairs that choose the best epoch in
``pairs/NAME/val/``. ``photos/cc0/`` trains and chooses nothing: blurred by frozen kernels it decides.
"""

import argparse
import importlib.metadata
import os
import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from deblur.benchmarks.machine import describe_machine
from deblur.data.report_sets import ReportSet, grid_of, open_report_sets
from deblur.errors import DataError, SettingError
from deblur.evaluation.contest import decide
from deblur.evaluation.evaluation import evaluate
from deblur.evaluation.ways import Way, model_ways
from deblur.export.verified import export_verified
from deblur.files import write_json
from deblur.inference.locating import BUNDLED, bundled_folder
from deblur.inference.model_folder import open_model, read_info
from deblur.models.checkpoint import network_from
from deblur.training.budget import Pace, epochs_within
from deblur.training.data import Data
from deblur.training.device import pick_device
from deblur.training.processes import Processes
from deblur.training.progress import Progress
from deblur.training.recipe import data_of, held, pace_of, run
from deblur.training.settings import TrainSettings

HELD_OUT = "cc0"
JUDGED = ("kernel=8,12 size=256", "size=384")
"""What is made of the photographs that decide: blurred, and as they are."""
PHOTO_WEIGHT = 4
"""Of all photographs together; each folder of pairs has 1."""
LAST_SHARE = 0.3
"""Of the minutes, kept for export and evaluation."""
BENCHMARK_SHARE = 0.03
"""Of the minutes, for the steps of each way."""
PACKAGES = ("torch", "numpy", "pillow", "simplejpeg", "onnx", "onnxruntime", "onnxscript", "scikit-image", "filelock")
TINY: dict[str, Any] = {"batch_size": 4, "patch_size": 64, "epoch_images": 8, "val_images": 2, "num_workers": 0}
CURVE = ("lr", "train_loss", "images_per_second", "data_wait", "psnr", "psnr_gain", "ssim", "seconds")


def main(arguments: Sequence[str] | None = None) -> None:
    """All of it; see the module."""
    began, options = time.monotonic(), _options(arguments)
    device = pick_device("cpu" if options.rehearse else options.device)
    first = bundled_folder() if options.init == BUNDLED else Path(options.init)
    open_model(first)
    options.out.mkdir(parents=True)
    versions = {name: importlib.metadata.version(name) for name in PACKAGES}
    figures: dict[str, Any] = {"machine": describe_machine(device), "versions": versions}

    def keep(**stage: Any) -> None:
        figures.update(stage, minutes=(time.monotonic() - began) / 60)
        write_json(options.out / "figures.json", figures)

    def say(line: str) -> None:
        print(f"{time.monotonic() - began:6.1f} s  {line}", flush=True)

    with tempfile.TemporaryDirectory() as scratch:
        settings = settings_of(options, device, Path(scratch) / "run")
        data = held(settings, data_of(settings), device)
        keep(settings=settings.flat(), datasets=data.datasets)

        deadline = began + 60 * options.minutes * (1 - LAST_SHARE)
        seconds = 0.0 if options.rehearse else 60 * options.minutes * BENCHMARK_SHARE
        settings, pace, rates = benchmark(settings, data, device, seconds, deadline)
        keep(benchmark=rates)
        say(f"{1 / pace.image_s:.0f} crops/s, compiled: {settings.run.compile}")

        epochs, images = 1, settings.data.epoch_images or 1
        if not options.rehearse:
            epochs, images = epochs_within(deadline - time.monotonic(), pace, images, settings.schedule.batch_size)
        settings = settings.but(num_epochs=epochs, epoch_images=images)
        result = run(settings, replace(data, epoch_images=images), Progress(on_line=say))
        assert result is not None
        assert result.scores is not None
        shutil.copytree(result.record.model_folder, options.out / "model")
        lines = [each["metrics"] for each in result.record.epochs if "lr" in each["metrics"]]
        curve = [{key: line[key] for key in CURVE if key in line} for line in lines]
        keep(crops=epochs * images, epochs=curve)

    half, info = options.out / "half", read_info(options.out / "model")
    psnr_db, name = result.scores.mean("psnr_db"), read_info(first).name
    network = network_from(options.out / "model")
    export_verified(network, half, data.validation, info.tiling, name=name, half=True, psnr_db=psnr_db)
    say(f"exported {half}, {psnr_db:.3f} dB")
    ways = model_ways([(str(folder), open_model(folder)) for folder in (half, first)])
    keep(**judged(options, ways))
    say(f"better than {first} by the rule of promote: {figures['wins']}")
    if chose := settings.run.test_data:
        keep(chose_the_epoch=evaluate(_some(open_report_sets(chose), options), ways).figures)


def settings_of(options: argparse.Namespace, device: torch.device, output_dir: Path) -> TrainSettings:
    """The preset, with what suits a GPU.

    Raises:
        DataError: there is nothing to train on.
    """
    photos = [each for each in sorted(options.data.glob("photos/*/")) if each.name != HELD_OUT]
    pairs = [str(each) for each in sorted(options.data.glob("pairs/*/train/"))]
    if not photos and not pairs:
        raise DataError(f"{options.data} has neither photos/NAME/ nor pairs/NAME/train/ to train on.")
    counts = {each: len(list(each.iterdir())) for each in photos}
    weighted = [
        f"photos:{each}={PHOTO_WEIGHT * count / sum(counts.values()):.4f}" for each, count in counts.items() if count
    ]
    values = {
        "train_data": (*weighted, *pairs),
        "test_data": tuple(str(each) for each in sorted(options.data.glob("pairs/*/val/"))),
        "batch_size": options.batch_size,
        "patch_size": options.patch_size,
        "learning_rate": options.learning_rate,
        "precision": "bf16" if device.type == "cuda" else "auto",
        "epoch_images": 2**17,
        "num_workers": max((os.cpu_count() or 2) - 1, 1),
        "seed": options.seed,
    }
    return (
        TrainSettings.of_preset("weights")
        .but(init=options.init, device=str(device), output_dir=output_dir, data_on_device=True)
        .but(tracking="off", doctor="off", **values | (TINY if options.rehearse else {}))
        .resolved()
    )


def benchmark(
    settings: TrainSettings, data: Data, device: torch.device, seconds: float, deadline: float
) -> tuple[TrainSettings, Pace, dict[str, Any]]:
    """Crops a second with the images on the device, as it is and, on a GPU, compiled: (what is faster, its pace, all).

    Compiling pays where more crops are seen by the deadline, although it is done once more.
    """
    paces, rates, took_s = dict[bool, Pace](), dict[str, Any](), dict[bool, float]()
    for compiled in (False, True)[: 1 + (device.type == "cuda")]:
        started, name = time.monotonic(), "compiled" if compiled else "plain"
        try:
            paces[compiled] = pace_of(settings.but(compile=compiled), data, None, Processes(device=device), seconds)
        except RuntimeError as error:  # what torch.compile raises where it lacks a tool
            if not compiled:
                raise
            rates[name] = {"failed": str(error)[:500]}
            continue
        took_s[compiled] = time.monotonic() - started
        pace = paces[compiled]
        rates[name] = {"crops_per_s": 1 / pace.image_s, "epoch_s": pace.epoch_s, "measuring_s": took_s[compiled]}
    left_s = deadline - time.monotonic()
    best = max(paces, key=lambda way: (left_s - way * (took_s[way] - took_s[False])) / paces[way].image_s)
    return settings.but(compile=best), paces[best], rates


def judged(options: argparse.Namespace, ways: Sequence[Way]) -> dict[str, Any]:
    """New weights against the first, on photographs that trained and chose nothing."""
    photos = options.data / "photos" / HELD_OUT
    if not photos.is_dir():
        return {"wins": None, "verdict": f"none: there is no {photos}"}
    sharp = open_report_sets([f"photos:{photos}"])
    sets = [each for wanted in JUDGED for each in grid_of(sharp, wanted)]
    evaluation = evaluate(_some(sets, options), ways)
    try:
        verdict = decide(evaluation, ways[0].name, ways[1].name)
    except (DataError, SettingError) as error:
        return {"wins": None, "verdict": f"none: {error}", "held_out": evaluation.figures}
    return {"wins": verdict.wins, "verdict": asdict(verdict), "held_out": evaluation.figures}


def _some(sets: Sequence[ReportSet], options: argparse.Namespace) -> list[ReportSet]:
    """All of them, or a rehearsal's two pairs each."""
    most = 2 if options.rehearse else None
    return [replace(each, pairs=each.pairs[:most], scenes=each.scenes[:most]) for each in sets]


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="gpu_minutes", description="Better weights from a few minutes on a GPU.")
    parser.add_argument("--data", type=Path, required=True, help="photos/NAME, pairs/NAME/train, pairs/NAME/val")
    parser.add_argument("--out", type=Path, required=True, help="a new folder")
    parser.add_argument("--minutes", type=float, default=9.0, help="for all of it, but in a rehearsal")
    parser.add_argument("--init", default=BUNDLED, help="a model folder, such as an earlier OUT/model, or bundled")
    parser.add_argument("--device", default="cuda", help="cuda, cuda:1, or cpu")
    parser.add_argument("--batch_size", type=int, default=128)
    parser.add_argument("--patch_size", type=int, default=256, help="side of a crop, px")
    parser.add_argument("--learning_rate", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=0, help="another one for the next minutes")
    parser.add_argument("--rehearse", action="store_true", help="on the CPU, with tiny crops and two pairs a set")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
