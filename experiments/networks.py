"""``python -m experiments.networks``: every architecture's size and speed, as the table in documentation/networks.md.

Each is exported with random weights and runs on one 256x256 tile in float32. Networks and engines take turns; figures
are medians over the rounds.
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

from deblur.benchmarks.infer import flops_per_pixel
from deblur.benchmarks.machine import describe_machine
from deblur.export.onnx import export_model
from deblur.inference.engine import Engine
from deblur.inference.engines import EngineName, open_engine
from deblur.inference.model_folder import ONNX_FILE
from deblur.inference.tiling import Tiling
from deblur.models import ARCHITECTURES, build, parameter_count

ENGINES: tuple[EngineName, ...] = ("onnxruntime", "openvino")
SIDE_PX = 256


def main(networks: tyro.conf.Positional[tuple[str, ...]] = tuple(ARCHITECTURES), rounds: int = 5) -> None:
    """Print the table as Markdown.

    Args:
        networks: Which, with their default arguments; all of them by default.
        rounds: Timings of each network with each engine.
    """
    console = Console(width=120)
    console.print(", ".join(f"{key} {value}" for key, value in describe_machine().items()), soft_wrap=True)
    sizes: dict[str, str] = {}
    engines: dict[tuple[str, str], Engine] = {}
    with tempfile.TemporaryDirectory() as scratch:
        for name in networks:
            torch.manual_seed(0)
            network, folder = build({"name": name}).eval(), Path(scratch) / name
            gmacs = flops_per_pixel(network) * SIDE_PX**2 / 2e9
            sizes[name] = f"{parameter_count(network):,} | {gmacs:.1f}"
            export_model(network, folder, name=name, tiling=Tiling(SIDE_PX, 0, network.size_rule))
            engines |= {(name, engine): open_engine(folder / ONNX_FILE, engine, "f32") for engine in ENGINES}
            console.print(f"exported {name}", style="dim")
        times = milliseconds(engines, rounds)
    console.print(f"| network | parameters | GMACs | {' ms | '.join(ENGINES)} ms |\n|---|---|---|---|---|")
    for name, size in sizes.items():
        console.print(f"| {name} | {size} | {' | '.join(f'{times[name, engine]:.0f}' for engine in ENGINES)} |")


def milliseconds(engines: dict[tuple[str, str], Engine], rounds: int) -> dict[tuple[str, str], float]:
    """The median time of each engine for one tile; the first call, which compiles, does not count."""
    tile = np.random.default_rng(0).random((1, 3, SIDE_PX, SIDE_PX), dtype=np.float32)
    found = defaultdict(list)
    for engine in engines.values():
        engine(tile)
    for _ in range(rounds):
        for key, engine in engines.items():
            started = time.perf_counter()
            engine(tile)
            found[key].append(1e3 * (time.perf_counter() - started))
    return {key: median(values) for key, values in found.items()}


if __name__ == "__main__":
    tyro.cli(main)
