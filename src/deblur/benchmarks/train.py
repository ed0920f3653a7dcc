"""``deblur bench train``: our training step beside the plain one, and both beside the machine's limit.

The plain step is what a tutorial writes: float32, contiguous tensors, the same network, loss, optimizer and clipping.
Both are timed in turns, with the matrix products that stand for the limit in between, so that a noisy machine is noisy
for all of them.
"""

import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torch.utils.flop_counter import FlopCounterMode

from deblur.benchmarks.machine import describe_machine, matmul_flops_per_s, synchronize
from deblur.data.batches import Batch, Loaded, collate
from deblur.data.blurred import BlurredCrops, Photos
from deblur.data.crops import RunOrder
from deblur.data.pair_crops import PairCrops
from deblur.data.pairs import find_pairs
from deblur.data.photos import installed_photos
from deblur.losses.objective import Objective
from deblur.models.unet import DeblurUNet
from deblur.training.optimization import Optimization
from deblur.training.settings import TrainSettings
from deblur.training.state import TrainingState
from deblur.training.step import AUTOCAST, Lesson, optimizer_step

OPTIMIZATION = Optimization(learning_rate=2e-4)


@dataclass(frozen=True)
class StepFigures:
    """A kind of step: seconds (median), images and model FLOP a second, and the share of the matrix peak that is."""

    name: str
    dtype: str
    seconds: float
    images_per_s: float
    tflops_per_s: float
    peak_tflops_per_s: float
    memory_mib: float | None

    @property
    def peak_share(self) -> float:
        """Model FLOP/s over the measured matrix product's in the same dtype."""
        return self.tflops_per_s / self.peak_tflops_per_s


@dataclass(frozen=True)
class TrainFigures:
    """What a machine makes of training; ``data_wait`` is the share of time that steps wait for their images."""

    machine: dict[str, Any]
    network: str
    batch_size: int
    patch_px: int
    plain: StepFigures
    ours: StepFigures
    speedup: float
    workers: int
    loaded_images_per_s: float
    data_wait: float

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        shares = {"plain_peak_share": self.plain.peak_share, "ours_peak_share": self.ours.peak_share}
        return asdict(self) | shares


def benchmark_training(
    *,
    width: int,
    batch_size: int,
    patch_px: int,
    precision: str,
    device: torch.device,
    rounds: int,
    steps: int,
    workers: int,
    train_data: Path | None = None,
    compiled: bool = False,
) -> TrainFigures:
    """Measure; the network, the loss and the optimizer are those of training.

    Args:
        width: of DeblurUNet.
        batch_size: crops a step.
        patch_px: side of a crop.
        precision: of our step: ``f32``, ``bf16`` or ``fp16``.
        device: where to train.
        rounds: how often each step is timed; medians count.
        steps: steps from the loader, for the share of time that they wait.
        workers: processes that load.
        train_data: pairs to load; by default installed photographs with synthetic blur.
        compiled: whether our network is compiled first.
    """
    noise = torch.Generator().manual_seed(0)
    blurry, sharp = (torch.rand(batch_size, 3, patch_px, patch_px, generator=noise) for _ in range(2))
    batch = Batch(blurry, sharp)
    plain_step, flops = _plain(width, batch, device)
    state = TrainingState(_network(width), _objective(), OPTIMIZATION, 10**6, device, precision)
    lesson = Lesson(state)
    if compiled:
        state.network.compile()

    def our_step() -> None:
        optimizer_step(state, lesson, [batch])

    dtype = AUTOCAST[precision] or torch.float32
    times: dict[str, list[float]] = {"plain": [], "ours": []}
    peaks: dict[torch.dtype, list[float]] = {}
    memory: dict[str, float | None] = {}
    for round_number in range(-1, rounds):  # the first warms up
        for name, step in (("plain", plain_step), ("ours", our_step)):
            seconds, memory[name] = _timed(step, device)
            if round_number >= 0:
                times[name].append(seconds)
        for each in {torch.float32, dtype}:
            peaks.setdefault(each, []).append(matmul_flops_per_s(each, device))

    def figures(name: str, dtype: torch.dtype) -> StepFigures:
        seconds, peak = statistics.median(times[name]), statistics.median(peaks[dtype])
        dtype_name = str(dtype).removeprefix("torch.")
        rate = flops / seconds / 1e12
        return StepFigures(name, dtype_name, seconds, batch_size / seconds, rate, peak / 1e12, memory[name])

    plain, ours = figures("plain", torch.float32), figures("ours", dtype)
    loaded, waited = _loaded(state, lesson, _samples(train_data, patch_px), batch_size, steps, workers)
    return TrainFigures(
        machine=describe_machine(device),
        network=f"DeblurUNet, width {width}" + (", compiled" if compiled else ""),
        batch_size=batch_size,
        patch_px=patch_px,
        plain=plain,
        ours=ours,
        speedup=plain.seconds / ours.seconds,
        workers=workers,
        loaded_images_per_s=loaded,
        data_wait=waited,
    )


def report(figures: TrainFigures, console: Console) -> None:
    """The figures as a table."""
    table = Table("step", "dtype", "ms", "images/s", "TFLOP/s", "of peak", "MiB", title=figures.network)
    for step in (figures.plain, figures.ours):
        table.add_row(
            step.name,
            step.dtype,
            f"{1000 * step.seconds:.0f}",
            f"{step.images_per_s:.2f}",
            f"{step.tflops_per_s:.3f}",
            f"{step.peak_share:.0%} of {step.peak_tflops_per_s:.3f}",
            "" if step.memory_mib is None else f"{step.memory_mib:.0f}",
        )
    console.print(table)
    console.print(
        f"batch {figures.batch_size} of {figures.patch_px} px: ours is {figures.speedup:.2f} times faster; with "
        f"{figures.workers} loading processes {figures.loaded_images_per_s:.2f} images/s, waiting for data "
        f"{figures.data_wait:.1%} of the time\n{figures.machine}",
        soft_wrap=True,
    )


def _network(width: int) -> DeblurUNet:
    torch.manual_seed(0)
    return DeblurUNet(width, residual=True)


def _objective() -> Objective:
    return TrainSettings().new_objective()


def _plain(width: int, batch: Batch, device: torch.device) -> tuple[Callable[[], None], int]:
    """The plain step, and the floating-point operations of its forward and backward pass."""
    network, objective = _network(width).to(device), _objective().to(device)
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=OPTIMIZATION.learning_rate, weight_decay=OPTIMIZATION.weight_decay
    )

    def step() -> None:
        there = batch.on(device)
        optimizer.zero_grad()
        loss, _ = objective(network(there.blurry), there)
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), OPTIMIZATION.clip_norm)
        optimizer.step()
        loss.item()

    with FlopCounterMode(display=False) as counter:
        network(batch.on(device).blurry).sum().backward()
    return step, counter.get_total_flops()


def _timed(step: Callable[[], None], device: torch.device) -> tuple[float, float | None]:
    """Seconds, and on a GPU the most memory taken beyond what lay there before, in MiB."""
    held = 0
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        held = torch.cuda.memory_allocated(device)
    synchronize(device)
    started = time.perf_counter()
    step()
    synchronize(device)
    seconds = time.perf_counter() - started
    return seconds, (torch.cuda.max_memory_allocated(device) - held) / 2**20 if device.type == "cuda" else None


def _samples(train_data: Path | None, patch_px: int) -> Dataset[Any]:
    if train_data is not None:
        return PairCrops(find_pairs(train_data), patch_px, seed=0)
    return BlurredCrops(Photos(installed_photos(), 0), patch_px, seed=0)


def _loaded(
    state: TrainingState, lesson: Lesson, samples: Dataset[Any], batch_size: int, steps: int, workers: int
) -> tuple[float, float]:
    """Images a second with real loading, and the share of time that steps wait; what lay ready at first is left out."""
    ready = 2 + 2 * workers  # each worker loads two batches ahead
    order = RunOrder((steps + ready) * batch_size, batch_size)
    loader = DataLoader[Loaded](
        samples,
        batch_size,
        sampler=order,
        num_workers=workers,
        pin_memory=state.device.type == "cuda",
        generator=torch.Generator(),
        collate_fn=collate,
    )
    batches: Iterator[Loaded] = iter(loader)
    waited = total = 0.0
    for number in range(steps + ready):
        started = time.perf_counter()
        batch = next(batches)
        got = time.perf_counter()
        optimizer_step(state, lesson, [batch])
        if number >= ready:
            waited += got - started
            total += time.perf_counter() - started
    return steps * batch_size / total, waited / total
