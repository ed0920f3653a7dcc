"""``deblur bench WHAT``: measure this machine."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

import tyro

from deblur.cli.console import console
from deblur.cli.outputs import check_outputs
from deblur.errors import SettingError


def train(
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
    """Time our training step, beside a plain one in float32 and matrix products.

    Args:
        width: Channels of DeblurUNet's first level.
        batch_size: Crops in a step; by default 4 on a CPU, 24 on a GPU.
        patch_size: Side of a crop, px.
        precision: What our step computes in: auto takes bf16 where the hardware has it, else f32.
        device: Where to train: cpu, cuda, or auto, which takes a GPU if there is one.
        rounds: How often each step is timed; the median counts.
        steps: Number of steps with real loading, which tell how much of the time they wait for data.
        workers: Number of processes that load; by default one for each core, at most 8.
        train_data: Folder of pairs to load; by default installed photographs with synthetic blur are loaded.
        compile: Compile our network first (torch.compile).
        json: Write every figure to this file.
    """
    from deblur.benchmarks.train import bench
    from deblur.training.device import pick_device, pick_precision

    check_outputs(json)
    for name, value in (("width", width), ("patch-size", patch_size), ("rounds", rounds), ("steps", steps)):
        if value < 1:
            raise SettingError(f"--{name} is {value}; it must be at least 1.")
    where = pick_device(device)
    bench(
        width,
        batch_size or (4 if where.type == "cpu" else 24),
        patch_size,
        pick_precision(precision, where),
        where,
        rounds,
        steps,
        min(os.cpu_count() or 1, 8) if workers is None else workers,
        train_data,
        compile,
        json,
        console,
    )
    return 0


def infer(
    model: str | None = None,
    megapixels: tuple[float, ...] = (0.5, 1.0, 2.0736, 8.0),
    runs: int = 5,
    json: Path | None = None,
    picture: Path | None = None,
    tracking: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
) -> int:
    """Time how photos are restored, beside the published loop and MONAI.

    The time of the network also stands beside the limit that this machine's matrix products set.

    Args:
        model: A model folder or models:/NAME@champion; by default a DeblurUNet of full width with random weights.
        megapixels: Sizes of the photos on which time and memory are measured; 2.0736 is 1920x1080, the size of the
            table.
        runs: How often each row of the table is timed; it shows the median.
        json: Write every figure to this file.
        picture: Draw time and memory against megapixels into this file, a .png or .jpg.
        tracking: Log every figure to MLflow, too.
    """
    from deblur.benchmarks.infer import bench
    from deblur.library import locate

    check_outputs(json, picture=picture)
    bench(locate(model) if model else None, megapixels, runs, json, picture, tracking, console)
    return 0


def tiles(
    model: str,
    pairs: Path,
    tiles: tuple[int, ...] = (128, 192, 256, 384, 512, 768, 1024),
    halo: int = 0,
    precision: Literal["auto", "f32", "bf16"] = "f32",
    json: Path | None = None,
) -> int:
    """Measure what the size of tiles does to the picture: PSNR, seams and colour.

    Each size is compared with the whole image as one tile.

    Args:
        model: A model folder or models:/NAME@champion.
        pairs: Folder of pairs.
        tiles: Sides of the tiles, px.
        halo: How much of the overlap is thrown away on either side instead of blended, px.
        precision: What the network computes in.
        json: Write every figure to this file.
    """
    from deblur.benchmarks.tiles import bench
    from deblur.library import locate

    check_outputs(json)
    bench(locate(model), pairs, tiles, halo, precision, json, console)
    return 0


def data(
    sources: tyro.conf.Positional[tuple[str, ...]],
    patch_size: int = 256,
    workers: int | None = None,
    rounds: int = 5,
    seconds: float = 1.0,
    average: int | None = None,
    cache: Path | None = None,
    json: Path | None = None,
) -> int:
    """Time how many crops a second a training set gives, with and without the cache.

    Args:
        sources: Sources of training data, as --train_data of 'deblur train': a folder of pairs, photos:FOLDER,
            frames:FOLDER, or leaves.
        patch_size: Side of a crop, px.
        workers: Number of processes that load; by default one for each core, at most 8.
        rounds: How often each way is timed; the median counts.
        seconds: How long each timing takes, in seconds.
        average: Number of frames of a sequence that are averaged into a blurry image, an odd number; by default 7.
        cache: Build the cache of decoded images in this folder and keep it; by default it is deleted afterwards.
        json: Write every figure to this file.
    """
    from deblur.benchmarks.data import bench

    check_outputs(json)
    count = min(os.cpu_count() or 1, 8) if workers is None else workers
    bench(sources, patch_size, count, rounds, seconds, average, cache, json, console)
    return 0


BENCHES: dict[str, Callable[..., int]] = {"train": train, "infer": infer, "tiles": tiles, "data": data}
