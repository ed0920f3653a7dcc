"""``python -m experiments.networks``: every architecture's size and speed, as the table in documentation/networks.md.

Each is exported with random weights and restores one tile of 256x256 and one photo of 1920x1080, tiled as users get it,
with each engine and precision. All take turns; figures are medians over the rounds.
"""

import tempfile
import time
from collections import defaultdict
from pathlib import Path
from statistics import median

import numpy as np
import torch
import tyro
from rich.console import Console

from deblur.benchmarks.infer import FULL_HD, flops_per_pixel, photo_of
from deblur.benchmarks.machine import describe_machine
from deblur.cli.opening import Engine, Running, engine_opener
from deblur.export.onnx import export_model
from deblur.images import Rgb8
from deblur.inference.engine import Precision
from deblur.inference.model_folder import ONNX_FILE
from deblur.inference.restorer import Restorer
from deblur.models import ARCHITECTURES, build, parameter_count

WAYS: tuple[tuple[Engine, Precision], ...] = (
    ("torch", "f32"),
    ("torch", "bf16"),
    ("onnxruntime", "f32"),
    ("openvino", "f32"),
    ("openvino", "bf16"),
)
SIDE_PX = 256
TILE_PX = (512, 1024)
"""Of a photo's tiles: larger where a border as wide as the network's reach is thrown away."""
ONCE_FROM_S = 30.0
"""What takes longer is timed once."""


def main(networks: tyro.conf.Positional[tuple[str, ...]] = tuple(ARCHITECTURES), rounds: int = 5) -> None:
    """Print the table as Markdown.

    Args:
        networks: Which, with their default arguments; all of them by default.
        rounds: Timings of each network in each way.
    """
    console = Console(width=140)
    console.print(", ".join(f"{key} {value}" for key, value in describe_machine().items()), soft_wrap=True)
    heads = [f"{engine} {precision} {side}" for side in (SIDE_PX, "1080p") for engine, precision in WAYS]
    console.print(f"| network | parameters | GMACs | {' | '.join(heads)} |", soft_wrap=True)
    console.print(f"{'|---' * (3 + len(heads))}|")
    for name in networks:
        torch.manual_seed(0)
        network = build({"name": name}).eval()
        gmacs = flops_per_pixel(network) * SIDE_PX**2 / 2e9
        with tempfile.TemporaryDirectory() as folder:
            tiling = network.tiling(TILE_PX[bool(network.halo_px)])
            export_model(network, Path(folder), name=name, tiling=tiling)
            ways = [Restorer(engine_opener(Running(*way))(Path(folder) / ONNX_FILE), tiling) for way in WAYS]
            times = [
                *milliseconds(ways, photo_of((SIDE_PX, SIDE_PX)), rounds),
                *milliseconds(ways, photo_of(FULL_HD), rounds),
            ]
        row = [f"{parameter_count(network):,}", f"{gmacs:.1f}", *(f"{each:.0f}" for each in times)]
        console.print(f"| {name} | {' | '.join(row)} |", soft_wrap=True)


def milliseconds(ways: list[Restorer], photo: Rgb8, rounds: int) -> list[float]:
    """The median time of each for a photo; the first call, which compiles, does not count unless it takes long."""
    found: dict[int, list[float]] = defaultdict(list)
    for turn in range(1 + rounds):
        for number, restorer in enumerate(ways):
            if turn and found[number] and found[number][0] > 1e3 * ONCE_FROM_S:
                continue
            started = time.perf_counter()
            restorer.in_place(np.array(photo))
            found[number].append(1e3 * (time.perf_counter() - started))
    return [median(values[1:] or values) for _, values in sorted(found.items())]


if __name__ == "__main__":
    tyro.cli(main)
