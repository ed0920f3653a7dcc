"""``deblur bench infer``: our inference, the published loop and MONAI on one photo, beside the machine's own limit.

Every round runs each way once and multiplies matrices in between, so that what else the machine does falls on all
alike; figures are medians over the rounds. Memory, and the time from process start to the first answer, are of
processes of their own.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from PIL import Image
from rich.console import Console
from rich.table import Table
from torch.utils.flop_counter import FlopCounterMode

from deblur.benchmarks.machine import describe_machine, matmul_flops_per_s
from deblur.benchmarks.one_photo import WAYS, Restore
from deblur.data.photos import installed_photos
from deblur.errors import ModelError, SettingError
from deblur.export.onnx import export_model
from deblur.files import write_json
from deblur.images import Photo, Rgb8, encode
from deblur.inference.engine import Engine, Run, Tiles, begin, precision_of
from deblur.inference.engines import open_engine
from deblur.inference.model_folder import ONNX_FILE, Model, read_info
from deblur.inference.photo import restore_photo
from deblur.inference.restorer import Restorer
from deblur.inference.tiling import plan_tiles
from deblur.models.checkpoint import network_from
from deblur.models.unet import DeblurUNet

PUBLISHED, MONAI, TORCH_SAME_TILES = tuple(WAYS)[:3]
F32, BF16, AUTO = tuple(WAYS)[-3:]
FULL_HD = (1080, 1920)
SMALL_PHOTO = (512, 512)
"""What the first answer is measured on."""
SCALED_WAYS = (PUBLISHED, "ours, torch f32", AUTO)
"""The ways in the picture."""
SLOW_UP_TO_MEGAPIXELS = 4.0
"""Torch is not asked for larger photos: its time grows in proportion, and its memory is known by then."""


class Stopwatch:
    """An engine that keeps the time its calls take."""

    def __init__(self, engine: Engine) -> None:
        self.engine, self.seconds = engine, 0.0

    def __call__(self, batch: Tiles, /) -> Tiles:
        return self.begin().call(batch)

    def begin(self) -> Run:
        """A run of the engine, timed."""
        run = begin(self.engine)

        def call(batch: Tiles) -> Tiles:
            started = time.perf_counter()
            restored = run.call(batch)
            self.seconds += time.perf_counter() - started
            return restored

        return Run(call, run.cancel)


def bench(
    folder: Path | None,
    megapixels: Sequence[float],
    runs: int,
    json_file: Path | None,
    picture: Path | None,
    tracking: bool,
    console: Console,
) -> dict[str, Any]:
    """Measure, print the table, write what was asked for; returns every figure. See ``deblur bench infer``.

    Args:
        folder: a model folder; None takes DeblurUNet of full width with random weights, which cost the same time.
        megapixels: sizes for the scaling of time and memory.
        runs: rounds.
        json_file, picture: where figures and drawing go.
        tracking: whether to log to MLflow, too.
        console: where the table goes.

    Raises:
        SettingError: nothing to measure.
    """
    if runs < 1 or not megapixels or min(megapixels) <= 0:
        raise SettingError(f"runs is {runs} and megapixels {megapixels}; they must be above 0.")
    with tempfile.TemporaryDirectory(prefix="deblur-bench-") as scratch:
        folder = folder or _random_model(Path(scratch) / "model")
        figures: dict[str, Any] = {
            "machine": describe_machine() | {p: version(p) for p in ("openvino", "onnxruntime") if find_spec(p)},
            "model": read_info(folder).architecture,
            "photo": list(FULL_HD),
            "runs": runs,
        }
        figures |= _compare(folder, runs, console)
        small, full_hd = (_written(shape, Path(scratch)) for shape in (SMALL_PHOTO, FULL_HD))
        # From the start of a process to the answer to its first photo, and its peak memory by then.
        answers = [_in_a_process(AUTO, folder, small, console) for _ in range(runs)]
        figures["first_answer"] = {key: [each[key] for each in answers] for key in ("answered_s", "peak_mb")}
        figures["peak_mb"] = {
            way: _in_a_process(way, folder, full_hd, console)["peak_mb"] for way in figures["seconds"]
        }
        figures["scaling"] = _scaling(folder, Path(scratch), megapixels, console)
    figures["ratios"] = ratios(figures)
    _print(figures, console)
    if json_file:
        write_json(json_file, figures)
    if picture:
        draw(figures["scaling"], picture)
    if tracking:
        from deblur.registry.benchmarks import log_benchmark

        log_benchmark("bench infer", figures, [file for file in (json_file, picture) if file])
    return figures


def ratios(figures: dict[str, Any]) -> dict[str, float]:
    """What the seconds come to: how much faster than whom, and how near the machine's limit in the same precision."""
    seconds = {way: median(values) for way, values in figures["seconds"].items()}
    whole, network = median(figures["file_to_file_s"]), median(figures["network_s"])
    limit_s = figures["flops_of_the_image"] / median(figures[f"matmul_{figures['auto_precision']}_flops_per_s"])
    pairs = [(PUBLISHED, way) for way in (BF16, F32, AUTO)] + [(MONAI, BF16), (MONAI, TORCH_SAME_TILES)]
    found = {
        f"{slow} / {fast}": seconds[slow] / seconds[fast] for slow, fast in pairs if {slow, fast} <= seconds.keys()
    }
    return found | {
        "all but the network, share of file to file": (whole - network) / whole,
        "network / matrix limit": network / limit_s,
    }


def photo_of(shape: tuple[int, int]) -> Rgb8:
    """A photograph of that height and width, enlarged from one that is installed."""
    (china,) = (photo.pixels for photo in installed_photos() if photo.name == "china")
    return np.array(Image.fromarray(china).resize(shape[::-1], Image.Resampling.BICUBIC))


def flops_per_pixel(network: torch.nn.Module) -> float:
    """Floating-point operations a pixel (a multiplication and an addition are two), counted at 256x256."""
    counter = FlopCounterMode(display=False)
    with counter, torch.inference_mode():
        network(torch.rand(1, 3, 256, 256))
    return counter.get_total_flops() / 256**2


def draw(scaling: list[dict[str, Any]], picture: Path) -> None:
    """Seconds and peak memory against megapixels, a line a way."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4), layout="constrained")
    panels = figure.subplots(1, 2)
    for panel, field, label in zip(panels, ("restore_s", "peak_mb"), ("seconds", "peak memory, MB"), strict=True):
        for way in dict.fromkeys(point["way"] for point in scaling):
            points = [point for point in scaling if point["way"] == way]
            panel.plot([p["megapixels"] for p in points], [p[field] for p in points], marker="o", label=way)
        panel.set(xlabel="megapixels", ylabel=label, xlim=(0, None), ylim=(0, None))
        panel.grid(alpha=0.3)
    panels[0].legend()
    figure.savefig(picture, dpi=120)


def _compare(folder: Path, runs: int, console: Console) -> dict[str, Any]:
    """Rounds over all ways on a 1920x1080 photo, its way from file to file, and the machine's matrix products."""
    rgb = photo_of(FULL_HD)
    ways = _opened(folder, console)
    stopwatch = Stopwatch(open_engine(folder / ONNX_FILE))
    info = read_info(folder)
    model, file = Model(info, Restorer(stopwatch, info.tiling)), encode(Photo(rgb))
    for way, restore in ways.items():
        restore(photo_of(SMALL_PHOTO) if "torch" in way else rgb.copy())  # compiled, caches filled
    _file_to_file(file, model)
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    dtypes = {"f32": torch.float32} | ({"bf16": torch.bfloat16} if BF16 in ways else {})  # without it, it takes minutes
    found: dict[str, list[float]] = {"file_to_file_s": [], "network_s": []}
    found |= {f"matmul_{name}_flops_per_s": [] for name in dtypes}
    for number in range(1, runs + 1):
        for way, restore in ways.items():
            console.print(f"round {number} of {runs}: {way}", style="dim")
            for name, dtype in dtypes.items():
                found[f"matmul_{name}_flops_per_s"].append(matmul_flops_per_s(dtype))
            seconds[way].append(_seconds(restore, rgb.copy()))
        stopwatch.seconds = 0.0
        found["file_to_file_s"].append(_seconds(_file_to_file, file, model))
        found["network_s"].append(stopwatch.seconds)
    flops = flops_per_pixel(network_from(folder).eval()) * rgb.shape[0] * rgb.shape[1]
    plan = plan_tiles(*FULL_HD, info.tiling)
    described = {"flops_of_the_image": flops, "computed_share": plan.computed_share}
    described["auto_precision"] = precision_of(stopwatch.engine)
    return {"seconds": seconds, **described, **found}


def _opened(folder: Path, console: Console) -> dict[str, Restore]:
    """The ways that this machine can go, and a word on each that it cannot."""
    opened = {}
    for way, open_way in WAYS.items():
        try:
            opened[way] = open_way(folder)
        except SettingError as error:
            console.print(f"without '{way}': {error}", style="dim", soft_wrap=True)
    return opened


def _file_to_file(file: bytes, model: Model) -> None:
    photo, _ = restore_photo(model, file)
    encode(photo)


def _seconds(work: Callable[..., object], *arguments: object) -> float:
    started = time.perf_counter()
    work(*arguments)
    return time.perf_counter() - started


def _scaling(folder: Path, scratch: Path, megapixels: Sequence[float], console: Console) -> list[dict[str, Any]]:
    """Time and peak memory of photos of growing size, each in a process of its own."""
    points = []
    for size in megapixels:
        height = round((size * 1e6 * 9 / 16) ** 0.5)
        photo = _written((height, round(size * 1e6 / height)), scratch)
        for way in SCALED_WAYS:
            if size <= SLOW_UP_TO_MEGAPIXELS or "torch" not in way:
                points.append({"way": way, "megapixels": size, **_in_a_process(way, folder, photo, console)})
    return points


def _in_a_process(way: str, folder: Path, photo: Path, console: Console) -> dict[str, Any]:
    console.print(f"{photo.stem}: {way}, in a process of its own", style="dim")
    command = [sys.executable, "-m", "deblur.benchmarks.one_photo", way, str(folder), str(photo), str(time.time())]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        said = done.stderr.strip().splitlines() or [f"it ended with {done.returncode}"]
        raise ModelError(f"'{way}' failed on {photo.name}: {said[-1]}")
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def _random_model(folder: Path) -> Path:
    """DeblurUNet of full width, never trained: it takes as long as a trained one."""
    torch.manual_seed(0)
    network = DeblurUNet()
    export_model(network, folder, name="random", tiling=network.tiling())
    return folder


def _written(shape: tuple[int, int], scratch: Path) -> Path:
    """A photo of that height and width as a JPEG, which is what photos are."""
    path = scratch / f"{shape[1]}x{shape[0]}.jpg"
    path.write_bytes(encode(Photo(photo_of(shape)), "jpeg"))
    return path


def _print(figures: dict[str, Any], console: Console) -> None:
    machine = ", ".join(f"{key} {value}" for key, value in figures["machine"].items())
    console.print(f"{machine}\nmodel {figures['model']}, 1920x1080, medians of {figures['runs']}", soft_wrap=True)
    table = Table("way", "seconds", "frames/s", "times as fast as the published loop", "peak memory, MB")
    slowest = median(figures["seconds"][PUBLISHED])
    for way, values in figures["seconds"].items():
        seconds, peak_mb = median(values), figures["peak_mb"][way]
        table.add_row(way, *_pace(seconds), f"{slowest / seconds:.2f}", f"{peak_mb:.0f}")
    console.print(table)
    for name, ratio in figures["ratios"].items():
        console.print(f"{name}: {ratio:.3f}")
    for dtype in ("f32", "bf16"):
        if rates := figures.get(f"matmul_{dtype}_flops_per_s"):
            console.print(f"matrix product {dtype}: {median(rates) / 1e9:.0f} GFLOP/s")
    answer = {key: median(values) for key, values in figures["first_answer"].items()}
    console.print(f"first answer after {answer['answered_s']:.2f} s, peak memory {answer['peak_mb']:.0f} MB")
    table = Table("way", "megapixels", "seconds", "frames/s", "peak memory, MB")
    for point in figures["scaling"]:
        pace, peak_mb = _pace(point["restore_s"]), point["peak_mb"]
        table.add_row(point["way"], f"{point['megapixels']:g}", *pace, f"{peak_mb:.0f}")
    console.print(table)


def _pace(seconds: float) -> tuple[str, str]:
    """Seconds a frame, and frames a second."""
    return f"{seconds:.2f}", f"{1 / seconds:.3g}"
