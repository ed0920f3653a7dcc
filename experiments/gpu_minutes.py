"""``python -m experiments.gpu_minutes --data FOLDER --out NEW_FOLDER``: better weights from a few minutes on a GPU.

A check of what the device blurs, a training with the preset ``weights``, export in full and in half precision, the
decision that ``deblur promote`` would make, and an evaluation beside the weights that it began with. What is worth most
is written first, and no later stage takes it away: one that fails is told and passed over, and where the time is cut
off, what was written before is whole. It gets by without mlflow, tyro and openvino. It leaves seven files; none is
larger than 16 MiB where the network has up to 4 million parameters::

    figures.json    everything measured so far, and what failed: written anew after every stage
    weights.pth     the best weights so far, written after every validation; 'deblur export' takes them
    model/          the best weights as a model folder: the next minutes begin with ``--init NEW_FOLDER/model``
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
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from deblur.benchmarks.machine import describe_machine
from deblur.data.crops import Key, RunOrder
from deblur.data.loading import feed_of
from deblur.data.report_sets import ReportSet, grid_of, open_report_sets
from deblur.errors import DataError, SettingError
from deblur.evaluation.contest import decide
from deblur.evaluation.evaluation import evaluate
from deblur.evaluation.ways import Way, model_ways
from deblur.export.verified import export_verified
from deblur.files import write_json
from deblur.inference.locating import BUNDLED, bundled_folder
from deblur.inference.model_folder import open_model
from deblur.models.checkpoint import load_checkpoint, network_from, save_checkpoint
from deblur.registry.record import RunRecord
from deblur.training.budget import Pace, epochs_within
from deblur.training.device import pick_device
from deblur.training.processes import Processes
from deblur.training.progress import Progress
from deblur.training.recipe import Job, data_of, pace_of, run
from deblur.training.settings import TrainSettings

HELD_OUT = "cc0"
JUDGED = ("kernel=8,12 size=256", "size=384")
"""What is made of the photographs that decide: blurred, and as they are."""
PHOTO_WEIGHT = 4
"""Of all photographs together; each folder of pairs has 1."""
LAST_SHARE, LATE_SHARE = 0.2, 0.1
"""Of the minutes, kept for export and evaluation; a training that is slower than measured is ended at the second."""
PACE_SHARE = 0.03
"""Of the minutes, for steps that measure the speed."""
CHECKED, MOST_APART = 16, 1.0
"""So many samples as the device makes them, without noise, may differ from the loaders' by so much, codes of 255 on
average over a sample."""
EPOCHS, VALIDATIONS_WORTH = 8, 10
"""At most so many epochs, each so many times as long as its validation, which gives weights that nothing takes away."""
WAYS_TO_TRAIN: tuple[dict[str, Any], ...] = (
    {},
    {"compile": False},
    {"compile": False, "data_on_device": False},
    {"compile": False, "data_on_device": False, "synthesis": "loader"},
)
"""Changes to the settings, one after the other until one works: the first is the fastest."""
PACKAGES = ("torch", "numpy", "pillow", "simplejpeg", "onnx", "onnxruntime", "onnxscript", "scikit-image", "filelock")
TINY: dict[str, Any] = {"batch_size": 4, "patch_size": 64, "epoch_images": 8, "val_images": 2, "num_workers": 0}
KEPT = ("epoch", "psnr", "ssim", "architecture", "settings", "model_state_dict")
"""Of a checkpoint: without the optimizer's moments it has a third of the size."""
CURVE = ("lr", "train_loss", "images_per_second", "data_wait", "psnr", "psnr_gain", "ssim", "seconds")


class Minutes:
    """The clock, what is told, and the figures, which are on the disk after every stage."""

    def __init__(self, options: argparse.Namespace, **figures: Any) -> None:
        self.began, self.length_s, self.out = time.monotonic(), 60 * options.minutes, options.out
        self.figures = figures

    @property
    def seconds(self) -> float:
        """Since the beginning."""
        return time.monotonic() - self.began

    def say(self, line: str) -> None:
        """A line with the time."""
        print(f"{self.seconds:6.1f} s  {line}", flush=True)

    def keep(self, **stage: Any) -> None:
        """Add figures, and write all."""
        self.figures.update(stage, minutes=self.seconds / 60)
        write_json(self.out / "figures.json", self.figures)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Work whose failure must cost nothing else."""
        try:
            yield
        except (Exception, SystemExit) as error:
            self.say(f"{name} failed: {type(error).__name__}: {error}")
            self.keep(failed=self.figures.get("failed", {}) | {name: traceback.format_exc()[-2000:]})


def main(arguments: Sequence[str] | None = None) -> None:
    """All of it; see the module."""
    options = _options(arguments)
    device = pick_device("cpu" if options.rehearse else options.device)
    first = bundled_folder() if options.init == BUNDLED else Path(options.init)
    name = open_model(first).info.name
    options.out.mkdir(parents=True)
    minutes = Minutes(options, machine=describe_machine(device), versions=dict(_versions()))
    weights, model, half = (options.out / part for part in ("weights.pth", "model", "half"))
    with tempfile.TemporaryDirectory() as scratch:
        settings = settings_of(options, device, Path(scratch) / "run")
        settings, job, pace = _first_that_works(settings, device, minutes, 0.0 if options.rehearse else PACE_SHARE)
        minutes.keep(settings=settings.flat(), datasets=job.data.datasets, crops_per_s=1 / pace.image_s)
        minutes.say(f"{1 / pace.image_s:.0f} crops/s, {pace.epoch_s:.1f} s for a validation and a save")
        epochs, images = 1, settings.data.epoch_images or 1
        if not options.rehearse:
            left_s = minutes.length_s * (1 - LAST_SHARE) - minutes.seconds
            epoch_s = max(left_s / EPOCHS, VALIDATIONS_WORTH * pace.epoch_s)
            epochs, images = epochs_within(left_s, pace, int(epoch_s / pace.image_s), settings.schedule.batch_size)
        settings, record = settings.but(num_epochs=epochs, epoch_images=images), RunRecord(settings.run.output_dir)

        def on_epoch() -> None:
            with minutes.stage("weights"):
                if best := record.best_checkpoint:
                    checkpoint = load_checkpoint(best)
                    save_checkpoint(weights, {key: checkpoint[key] for key in KEPT})
                lines = [each["metrics"] for each in record.epochs if "lr" in each["metrics"]]
                curve = [{key: line[key] for key in CURVE if key in line} for line in lines]
                minutes.keep(crops=len(curve) * images, epochs=curve)

        def on_images(seen: int) -> None:
            if not options.rehearse and minutes.seconds > minutes.length_s * (1 - LATE_SHARE):
                raise SystemExit("the training is slower than was measured; the best weights so far are taken")

        with minutes.stage("training, or its export"):
            told = Progress(on_line=minutes.say, on_epoch=on_epoch, on_images=on_images)
            run(settings, replace(job.data, epoch_images=images), told)
            shutil.copytree(record.model_folder, model)

    if not weights.is_file():
        raise SystemExit("There are no weights; see above.")
    with minutes.stage("export in half precision"):
        network, psnr_db = network_from(weights), load_checkpoint(weights)["psnr"]
        tiling = settings.network.tiling(network)
        export_verified(network, half, job.data.validation, tiling, name=name, half=True, psnr_db=psnr_db)
        minutes.say(f"exported {half}, {psnr_db:.3f} dB")
    with minutes.stage("the decision"):
        ways = model_ways([(str(folder), open_model(folder)) for folder in (half, first)])
        minutes.keep(**judged(options, ways))
        minutes.say(f"better than {first} by the rule of promote: {minutes.figures['wins']}")
        if chose := settings.run.test_data:
            minutes.keep(chose_the_epoch=evaluate(_some(open_report_sets(chose), options), ways).figures)


def _first_that_works(
    settings: TrainSettings, device: torch.device, minutes: Minutes, share: float
) -> tuple[TrainSettings, Job, Pace]:
    """The settings, perhaps changed, with their data and speed: what does not work here is found out in seconds."""
    tried = list[TrainSettings]()
    for changed in (settings.but(**changes) for changes in WAYS_TO_TRAIN):
        if changed in tried:
            continue
        tried.append(changed)
        if not changed.data.data_on_device:
            changed = changed.but(cache=changed.run.output_dir.with_name("cache"))
        with minutes.stage(f"way to train {len(tried)}"):
            job = Job(changed, data_of(changed), processes=Processes(device=device))
            minutes.keep(codes_apart=_checked(job))
            return changed, job, pace_of(job, minutes.length_s * share)
    raise SystemExit("Nothing trains here; see above.")


def _checked(job: Job) -> float:
    """How far samples lie from the loaders', at most; a network would learn from pixels that are wrong, too."""
    quiet = job.settings.but(noise=0.0)
    theirs = data_of(quiet.but(synthesis="loader", data_on_device=False)).train
    order = RunOrder(CHECKED, CHECKED)
    feed = feed_of(data_of(quiet).train, order, accumulate=1, workers=0, pin_memory=False, resident=job.data.resident)
    (batch,) = (each.on(job.processes.device) for each in feed.batches())
    assert batch.keys is not None
    apart = 0.0
    for number, key in enumerate(batch.keys.tolist()):
        wanted = theirs[Key(key)]
        for made, by_loader in ((batch.blurry, wanted.blurry), (batch.sharp, wanted.sharp)):
            apart = max(apart, (255 * made[number].cpu() - by_loader).abs().mean().item())
    if not apart <= MOST_APART:
        raise ArithmeticError(f"The device's samples lie up to {apart:.2f} codes from the loaders', on average.")
    return apart


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
        "compile": options.compile,
        "synthesis": "device",
        "num_workers": max((os.cpu_count() or 2) - 1, 1),
        "seed": options.seed,
    }
    return (
        TrainSettings.of_preset("weights")
        .but(init=options.init, device=str(device), output_dir=output_dir, data_on_device=True)
        .but(tracking="off", doctor="off", **values | (TINY if options.rehearse else {}))
        .resolved()
    )


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


def _versions() -> Iterator[tuple[str, str]]:
    for name in PACKAGES:
        try:
            yield name, importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            yield name, "none"


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
    parser.add_argument("--compile", action="store_true", help="compile the network: minutes, twice; then faster")
    parser.add_argument("--seed", type=int, default=0, help="another one for the next minutes")
    parser.add_argument("--rehearse", action="store_true", help="on the CPU, with tiny crops and two pairs a set")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
