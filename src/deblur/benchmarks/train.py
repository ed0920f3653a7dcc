"""``deblur bench train``: our training step beside the plain one, and both beside the machine's limit.

The plain step is what a tutorial writes: float32, contiguous tensors, the same network, loss, optimizer and clipping.
Both are timed in turns, with the matrix products that stand for the limit in between, so that a noisy machine is noisy
for all of them.
"""

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import nn
from torch.utils.data import Dataset
from torch.utils.flop_counter import FlopCounterMode

from deblur.benchmarks.machine import describe_machine, matmul_flops_per_s, synchronize
from deblur.data.batches import Batch
from deblur.data.blurred import BlurredCrops, Photos
from deblur.data.crops import RunOrder
from deblur.data.loading import feed_of
from deblur.data.pair_crops import PairCrops
from deblur.data.pairs import find_pairs
from deblur.data.photos import installed_photos
from deblur.files import write_json
from deblur.models.unet import DeblurUNet
from deblur.training.optimization import Optimization
from deblur.training.settings import TrainSettings
from deblur.training.state import TrainingState
from deblur.training.step import AUTOCAST, Lesson, optimizer_step

OPTIMIZATION = Optimization(learning_rate=2e-4)


def bench(
    width: int,
    batch_size: int,
    patch_px: int,
    precision: str,
    device: torch.device,
    rounds: int,
    steps: int,
    workers: int,
    train_data: Path | None,
    compiled: bool,
    json_file: Path | None,
    console: Console,
) -> None:
    """Measure, print the table, write it where asked for; see ``deblur bench train``.

    The network, the loss and the optimizer are those of training.
    """
    noise = torch.Generator().manual_seed(0)
    blurry, sharp = (torch.rand(batch_size, 3, patch_px, patch_px, generator=noise) for _ in range(2))
    batch, dtype = Batch(blurry, sharp), AUTOCAST[precision] or torch.float32
    plain_step, flops = _plain(width, batch, device)
    state = TrainingState(_network(width), TrainSettings().new_objective(), OPTIMIZATION, 10**6, device, precision)
    lesson = Lesson(state)
    if compiled:
        state.network.compile()
    ways = {"plain": (plain_step, torch.float32), "ours": (lambda: optimizer_step(state, lesson, [batch]), dtype)}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    peaks: dict[torch.dtype, list[float]] = {kind: [] for _, kind in ways.values()}
    memory: dict[str, float | None] = {}
    for round_number in range(-1, rounds):  # the first warms up
        for name, (step, _) in ways.items():
            taken_s, memory[name] = _timed(step, device)
            if round_number >= 0:
                seconds[name].append(taken_s)
        for kind, found in peaks.items():
            found.append(matmul_flops_per_s(kind, device))
    table = Table("step", "dtype", "ms", "images/s", "TFLOP/s", "of peak", "MiB", title=f"DeblurUNet, width {width}")
    figures: dict[str, Any] = {"machine": describe_machine(device), "width": width, "compiled": compiled}
    for name, (_, kind) in ways.items():
        step_s, peak = statistics.median(seconds[name]), statistics.median(peaks[kind])
        figures[name] = {
            "dtype": str(kind).removeprefix("torch."),
            "seconds": step_s,
            "images_per_s": batch_size / step_s,
            "tflops_per_s": flops / step_s / 1e12,
            "peak_tflops_per_s": peak / 1e12,
            "memory_mib": memory[name],
        }
        rate, share = f"{flops / step_s / 1e12:.3f}", f"{flops / step_s / peak:.0%} of {peak / 1e12:.3f}"
        mib = "" if memory[name] is None else f"{memory[name]:.0f}"
        row = (f"{1000 * step_s:.0f}", f"{batch_size / step_s:.2f}", rate, share, mib)
        table.add_row(name, figures[name]["dtype"], *row)
    speedup = figures["speedup"] = figures["plain"]["seconds"] / figures["ours"]["seconds"]
    loaded, waited = _loaded(state, lesson, _samples(train_data, patch_px), batch_size, steps, workers)
    figures |= {"batch_size": batch_size, "patch_px": patch_px, "workers": workers}
    figures |= {"loaded_images_per_s": loaded, "data_wait": waited}
    console.print(table)
    console.print(
        f"batch {batch_size} of {patch_px} px{', compiled' * compiled}: ours is {speedup:.2f} times faster; with "
        f"{workers} loading processes {loaded:.2f} images/s, waiting for data {waited:.1%} of the time\n"
        f"{figures['machine']}",
        soft_wrap=True,
    )
    if json_file:
        write_json(json_file, figures)


def _network(width: int) -> DeblurUNet:
    torch.manual_seed(0)
    return DeblurUNet(width, residual=True)


def _plain(width: int, batch: Batch, device: torch.device) -> tuple[Callable[[], None], int]:
    """The plain step, and the floating-point operations of its forward and backward pass."""
    network, objective = _network(width).to(device), TrainSettings().new_objective().to(device)
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


def _timed(step: Callable[[], object], device: torch.device) -> tuple[float, float | None]:
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
    order, pin = RunOrder((steps + ready) * batch_size, batch_size), state.device.type == "cuda"
    batches = feed_of(samples, order, accumulate=1, workers=workers, pin_memory=pin).batches()
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
