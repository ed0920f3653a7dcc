"""The whole loop in a few minutes on two cores: train, track, register, serve, POST, look.

Three sets of pixels that never mix: held-back photos report; of each other photo the left part trains and the right
strip chooses the best checkpoint. Every reported figure is measured on what the service answered.
"""

import math
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image
from rich.console import Console
from rich.table import Table

from deblur import project
from deblur.data.blurred import BlurredCrops, Leaves, Photos
from deblur.data.folders import DEMO_PICTURE
from deblur.data.pairs import PairPixels, evenly_chosen, fingerprint
from deblur.data.photos import HELD_BACK, SharpPhoto, installed_photos, photos_in, shaken
from deblur.data.sources import Mixture
from deblur.errors import DataError, FolderInUse, ModelError
from deblur.evaluation.alignment import align
from deblur.evaluation.panels import save, side_by_side, stacked
from deblur.evaluation.scores import EvaluationSet
from deblur.evaluation.statistics import bootstrap
from deblur.images import Photo, Rgb8, centre_crop, decode, encode
from deblur.interval import Interval
from deblur.metrics import psnr_db
from deblur.models import build, parameter_count
from deblur.registry.record import RunRecord
from deblur.synthesis.degradations import ALONE
from deblur.training.data import Data
from deblur.training.recipe import Result, run
from deblur.training.resuming import sole_trainer
from deblur.training.settings import TrainSettings
from deblur.training.terminal import progress_of

NAME = "deblur-demo"
EPOCHS, EPOCH_IMAGES, LEARNING_RATE = 10, 1000, 2e-3
WIDTH, CROP_PX = 16, 128
TRAINING_SHARE, SELECTING_SIDE_PX, SELECTING_PAIRS = 0.7, 320, 36
VISIBLE_BLUR_DB = 40.0
"""A strip that the shake changes less than this (black sky, a smooth wall) says nothing about deblurring."""
SHAKES_PX = (4.5, 7.5, 10.5)
"""How far the camera moves over the reported photos; training draws from 3 to 12 px."""
RANGES = replace(
    ALONE,
    sharp=0,
    shake=1,
    length_px=(3.0, 12.0),
    roll_share=0,
    encoded_share=0,
    srgb_share=1,
    enlarged_share=0.5,
    shrunk_share=0,
)
"""Camera shake alone, as it is reported on: minutes do not teach a small network all that cameras do."""
REPORT_SEED, SELECT_SEED = 99, 98
PICTURE_ROWS, PICTURE_SIDE_PX = 3, 400
HEALTHY_WITHIN_S = 90
OWN_PHOTOS, OWN_SIDE_PX, OWN_SIDE_AT_LEAST_PX = 80, 1280, 256


@dataclass(frozen=True)
class Split:
    """Sharp pixels by use."""

    train: list[SharpPhoto]
    select: list[SharpPhoto]
    report: list[SharpPhoto]


@dataclass(frozen=True)
class Restored:
    """One blurry photo as the service answered it."""

    photo: str
    pair: PairPixels
    answer: Rgb8

    @cached_property
    def psnr_input_db(self) -> float:
        """The blurry photo's PSNR after the best shift: a shake does not tell where it was at half time."""
        return align(self.pair.blurry, self.pair.sharp).psnr_db

    @cached_property
    def psnr_db(self) -> float:
        """The answer's PSNR after its own best shift."""
        return align(self.answer, self.pair.sharp).psnr_db


def run_demo(folder: Path | None, console: Console) -> Interval:
    """Run it; returns the mean gain over the held-back photos.

    Raises:
        DeblurError: a stage failed; the message says which and what to do.
    """
    started = time.monotonic()
    split = split_installed() if folder is None else split_own(folder)
    settings = demo_settings()
    used, full = (
        parameter_count(build(each.network.architecture)) for each in (settings, TrainSettings.of_preset("fast"))
    )
    console.print(
        f"1/4 Training {settings.network.network} at width {WIDTH} ({used:,} parameters instead of {full:,}: this has "
        f"to fit into minutes on a CPU)\n    on {len(split.train)} photos and dead leaves, blurred by synthetic camera "
        f"shake;\n    a strip of each photo chooses the checkpoint, {len(split.report)} photos are held back."
    )
    result = trained(settings, split, console)

    console.print("2/4 Starting the service with the registered version.")
    with served(f"models:/{NAME}/{result.version}") as url:
        console.print(f"3/4 POSTing {len(split.report)} held-back photos, {len(SHAKES_PX)} shakes each, to {url}")
        restored = [
            Restored(photo.name, pair, decode(post(url, encode(Photo(pair.blurry)))).rgb8)
            for photo, shakes in zip(split.report, blurred(split.report, SHAKES_PX, REPORT_SEED), strict=True)
            for pair in shakes
        ]
    picture = settings.run.output_dir / DEMO_PICTURE
    save(draw(restored), picture)
    gain = report(restored, result, picture, console)
    console.print(f"\nDone in {(time.monotonic() - started) / 60:.1f} minutes.")
    return gain


def demo_settings() -> TrainSettings:
    """The 'fast' preset, cut to minutes."""
    settings = TrainSettings.of_preset("fast").but(
        registered_model_name=NAME,
        output_dir=project.root() / "checkpoints" / "demo",
        width=WIDTH,
        patch_size=CROP_PX,
        num_epochs=EPOCHS,
        epoch_images=EPOCH_IMAGES,
        learning_rate=LEARNING_RATE,
        severity="strong",
        num_workers=1,
    )
    return settings.resolved()


def trained(settings: TrainSettings, split: Split, console: Console) -> Result:
    """Train and register; a demo that was stopped before goes on, after one that was not a new run begins.

    Raises:
        FolderInUse: another demo trains.
        DeblurError: as :func:`run`.
    """
    record = RunRecord(settings.run.output_dir)
    try:
        with sole_trainer(record.folder):
            if record.registered:
                record.set_aside()
        with progress_of(console) as progress:
            result = run(settings, demo_data(split, settings), progress)
    except FolderInUse as error:
        raise FolderInUse(f"Another demo trains in {record.folder}. Wait for it, or stop it.") from error
    assert result is not None
    return result


def demo_data(split: Split, settings: TrainSettings) -> Data:
    """Blurred crops of photos and of dead leaves to train on, and shaken strips to choose the checkpoint by."""
    shaken_strips = [pair for shakes in blurred(split.select, SHAKES_PX, SELECT_SEED) for pair in shakes]
    visible = [pair for pair in shaken_strips if psnr_db(pair.blurry, pair.sharp) < VISIBLE_BLUR_DB]
    selecting = evenly_chosen(visible, SELECTING_PAIRS)
    seed = settings.data.seed
    cuttings = (Photos(split.train, seed), Leaves())
    crops = Mixture([BlurredCrops(c, settings.data.sizes.last_px, seed, RANGES) for c in cuttings], (1, 1), seed)
    trained_on = fingerprint([PairPixels(photo.name, photo.pixels, photo.pixels) for photo in split.train])
    told = f"{len(split.train)} photos and dead leaves"
    return Data(crops, EPOCH_IMAGES, EvaluationSet(selecting), f"{trained_on}-{fingerprint(selecting)}", told=told)


def split_installed() -> Split:
    """The photographs that came with the dependencies."""
    photos = installed_photos()
    return split_photos(photos, [photo for photo in photos if photo.name in HELD_BACK])


def split_own(folder: Path) -> Split:
    """A person's own sharp photos (at most 80, at 1280 px a side); up to eight are held back."""
    photos = [p for p in photos_in(folder, OWN_PHOTOS, OWN_SIDE_PX) if min(p.pixels.shape[:2]) >= OWN_SIDE_AT_LEAST_PX]
    if len(photos) < 6:
        raise DataError(
            f"{folder} holds {len(photos)} photos of at least {OWN_SIDE_AT_LEAST_PX} px a side; the demo needs 6 or "
            "more to train on and to hold back."
        )
    return split_photos(photos, evenly_chosen(photos, min(8, len(photos) // 3)))


def split_photos(photos: Sequence[SharpPhoto], held_back: Sequence[SharpPhoto]) -> Split:
    """Held-back photos report, whole. Of each other photo the left trains, and a strip at the right edge selects."""
    split = Split([], [], list(held_back))
    held = {photo.name for photo in held_back}
    for name, pixels in ((photo.name, photo.pixels) for photo in photos if photo.name not in held):
        cut = round(TRAINING_SHARE * pixels.shape[1])
        split.train.append(SharpPhoto(name, pixels[:, :cut]))
        split.select.append(SharpPhoto(name, centre_crop(pixels[:, cut:], SELECTING_SIDE_PX)))
    return split


def blurred(photos: Sequence[SharpPhoto], extents_px: Sequence[float], seed: int) -> Iterator[list[PairPixels]]:
    """Each photo under each shake, the same every time."""
    for i, photo in enumerate(photos):
        pairs = [shaken(photo, np.random.default_rng((seed, i, j)), extent) for j, extent in enumerate(extents_px)]
        yield [replace(p, name=f"{p.name} {extent:g} px") for p, extent in zip(pairs, extents_px, strict=True)]


@contextmanager
def served(model: str) -> Iterator[str]:
    """``deblur serve`` on a free port; gives its address once it answers, ends it afterwards."""
    port = free_port()
    command = [sys.executable, "-m", "deblur", "serve", "--model", model, "--port", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=os.environ | {"PYTHONUNBUFFERED": "1"})
    url = f"http://127.0.0.1:{port}"
    try:
        wait_until_healthy(url, process)
        yield url
    finally:
        process.terminate()
        process.wait(timeout=30)


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def post(url: str, photo: bytes) -> bytes:
    """POST a PNG; returns the answer's bytes."""
    request = urllib.request.Request(f"{url}/api/deblur", data=photo, headers={"Content-Type": "image/png"})
    with urllib.request.urlopen(request, timeout=120) as answer:
        data: bytes = answer.read()
        return data


def draw(restored: Sequence[Restored]) -> Image.Image:
    """Before, after and reference of the first photos at their middle shake, full resolution, a row each."""
    rows = []
    for item in restored[len(SHAKES_PX) // 2 :: len(SHAKES_PX)][:PICTURE_ROWS]:
        captions = (
            f"{item.photo}, blurry: {item.psnr_input_db:.2f} dB",
            f"restored: {item.psnr_db:.2f} dB ({item.psnr_db - item.psnr_input_db:+.2f})",
            "reference",
        )
        images = (item.pair.blurry, item.answer, item.pair.sharp)
        rows.append(side_by_side([centre_crop(image, PICTURE_SIDE_PX) for image in images], captions))
    return stacked(rows)


def report(restored: Sequence[Restored], result: Result, picture: Path, console: Console) -> Interval:
    """The table, the gain, and what to try next."""
    columns = ("held-back photo", "blurry dB", "restored dB", "gain dB")
    table = Table(*columns, title="means over three shakes, PSNR after the best shift")
    names, gains = list(dict.fromkeys(item.photo for item in restored)), []
    for name in names:
        before, after = _means(item for item in restored if item.photo == name)
        gains.append(after - before)
        table.add_row(name, f"{before:.2f}", f"{after:.2f}", f"{after - before:+.2f}")
    gain, (before, after) = bootstrap(gains, names), _means(restored)
    console.print("4/4 Result, measured on what the service answered:")
    console.print(table)
    unsure = "not surely above zero" if math.isfinite(gain.low) else "too few to tell"
    verdict = "above zero" if gain.above_zero else unsure
    console.print(
        f"blurry {before:.2f} dB, restored {after:.2f} dB, gain {gain} dB "
        f"(95 % interval over {len(names)} photos, {verdict})\n"
        f"picture: {picture}\n"
        f"run: {result.run_id}   model: {NAME} version {result.version}\n\n"
        f"Try next, in {project.root()}:\n"
        f"  {_command('mlflow')} ui\n"
        f"  {_command('deblur')} serve --model models:/{NAME}/{result.version}\n"
        f"  curl --data-binary @photo.jpg http://127.0.0.1:7071/api/deblur -o photo.deblurred.jpg",
        soft_wrap=True,
    )
    return gain


def _means(restored: Iterable[Restored]) -> tuple[float, float]:
    """PSNR before and after."""
    before, after = np.mean([(item.psnr_input_db, item.psnr_db) for item in restored], axis=0)
    return float(before), float(after)


def wait_until_healthy(url: str, process: "subprocess.Popen[bytes]") -> None:
    """Wait until a started service can restore; raises ModelError when it ends, cannot, or takes too long."""
    deadline = time.monotonic() + HEALTHY_WITHIN_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise ModelError(f"The service ended with {process.returncode} before it answered.")
        try:
            with urllib.request.urlopen(f"{url}/api/health", timeout=30):
                return
        except urllib.error.HTTPError as error:
            raise ModelError(f"The service is up but cannot restore: {error.read().decode()}") from error
        except OSError:
            time.sleep(0.2)
    raise ModelError(f"The service did not answer within {HEALTHY_WITHIN_S} s.")


def _command(name: str) -> str:
    """How to call an installed command from the project's root."""
    path = Path(sys.executable).parent / name
    return str(path.relative_to(project.root())) if path.is_relative_to(project.root()) else name
