"""``python -m experiments.bf16 MODEL PAIRS ...``: what bf16 does to a model's results, on any machine.

bf16 is emulated: every operation computes in float32 on inputs that were rounded to bf16, and its result is rounded.
Engines fuse operations and round less often.
"""

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from rich.console import Console
from rich.table import Table
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

from deblur.benchmarks.tiles import restored
from deblur.data.pairs import find_pairs
from deblur.export.group_norm import channelwise
from deblur.inference.engine import Tiles
from deblur.inference.model_folder import read_info
from deblur.inference.restorer import Restorer
from deblur.metrics import psnr_db
from deblur.models.checkpoint import network_from


class Rounded(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Inside, what an operation returns is rounded to bf16."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """The operation, then the rounding."""
        return tree_map_only(torch.Tensor, rounded, func(*args, **(kwargs or {})))


def rounded(values: torch.Tensor) -> torch.Tensor:
    """float32 of bf16's precision: 8 bits of mantissa, to nearest even."""
    return values.bfloat16().float() if values.dtype == torch.float32 else values


class ExportedEngine:
    """The network as it is exported; with ``bf16``, its weights and all that it computes are rounded."""

    def __init__(self, network: torch.nn.Module, bf16: bool) -> None:
        self.network, self.bf16 = channelwise(network).eval(), bf16
        if bf16:
            self.network.load_state_dict({name: rounded(value) for name, value in self.network.state_dict().items()})

    def __call__(self, batch: Tiles, /) -> Tiles:
        """``(B, 3, h, w)`` -> the same."""
        pixels = torch.from_numpy(batch)
        with torch.inference_mode(), Rounded() if self.bf16 else nullcontext():  # type: ignore[no-untyped-call]
            restored = self.network(rounded(pixels) if self.bf16 else pixels)
        return np.asarray(restored.numpy(), dtype=np.float32)


def main(model: tyro.conf.Positional[Path], pairs: tyro.conf.Positional[tuple[Path, ...]], images: int = 4) -> None:
    """Print a row for every folder of pairs.

    Args:
        model: A model folder.
        pairs: Folders of pairs.
        images: Of each, the first ones.
    """
    network, info = network_from(model), read_info(model)
    engines = [ExportedEngine(network, bf16) for bf16 in (False, True)]
    distance = info.golden.distance(engines[1])
    table = Table("pairs", "input dB", "f32 dB", "bf16 dB", "f32 against bf16", "largest difference of an image")
    for folder in pairs:
        rows = []
        for pair in find_pairs(folder)[:images]:
            blurry, sharp = pair.load()
            f32, bf16 = (restored(Restorer(engine, info.tiling), blurry)[0] for engine in engines)
            rows.append([psnr_db(blurry, sharp), psnr_db(f32, sharp), psnr_db(bf16, sharp), psnr_db(f32, bf16)])
        means, found = np.mean(rows, axis=0), np.array(rows)
        largest = np.abs(found[:, 1] - found[:, 2]).max()
        table.add_row(str(folder), *(f"{value:.3f}" for value in means), f"{largest:.4f}")
    console = Console()
    console.print(table)
    console.print(f"golden input off by {distance:.2g}")


if __name__ == "__main__":
    tyro.cli(main)
