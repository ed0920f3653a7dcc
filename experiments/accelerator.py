"""``python -m experiments.accelerator``: a network on a GPU, 2048x2048, in bf16, beside plain float32 torch.

Ways take turns; figures are medians. Times are of the network on pixels that are already there, and from uint8 pixels
in the host's memory to restored ones there.
"""

import copy
import json
import statistics
import time
from collections.abc import Callable
from typing import Any, Literal

import torch
import tyro
from torch import Tensor

from deblur.benchmarks.machine import describe_machine, matmul_flops_per_s, synchronize
from deblur.data.crops import to_float
from deblur.models import build
from deblur.models.network import Network
from deblur.training.device import pick_device


def main(
    network: Literal["DeblurUNet", "FastUNet"] = "DeblurUNet",
    width: int = 32,
    side: int = 2048,
    rounds: int = 20,
    device: str = "auto",
) -> None:
    """Print milliseconds as JSON.

    Args:
        network: Which one, with random weights.
        width: Channels of its first level.
        side: Of the square photo, px.
        rounds: Timings of each way; medians count.
        device: cuda, or cpu to try the command out.
    """
    where = pick_device(device)
    model = build({"name": network, "width": width}).to(where).eval()
    photo = torch.randint(0, 256, (1, side, side, 3), dtype=torch.uint8)
    times = milliseconds(ways_of(model, photo, where), rounds, where)
    peak = matmul_flops_per_s(torch.bfloat16, where, None if where.type == "cuda" else 512)
    print(json.dumps({**describe_machine(where), "matmul_bf16_tflops": peak / 1e12, "ms": times}, indent=2))


def ways_of(model: Network, photo: Tensor, device: torch.device) -> dict[str, Callable[[], Tensor]]:
    """Each way by name.

    Args:
        model: in evaluation mode, on ``device``.
        photo: ``(1, H, W, 3)`` uint8 in the host's memory.
        device: where to compute.
    """
    pinned = photo.pin_memory() if device.type == "cuda" else photo
    there = to_float(photo.to(device).permute(0, 3, 1, 2))
    plain, last = there.contiguous(), there.contiguous(memory_format=torch.channels_last)
    fast = copy.deepcopy(model).to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def bf16(network: Network, pixels: Tensor) -> Tensor:
        with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16):
            restored: Tensor = network(pixels)
        return restored

    def f32(tf32: bool) -> Tensor:
        with torch.inference_mode(), torch.backends.cudnn.flags(enabled=True, allow_tf32=tf32):
            restored: Tensor = model(plain)
        return restored

    def whole() -> Tensor:
        pixels = to_float(pinned.to(device, non_blocking=True).permute(0, 3, 1, 2))
        restored = bf16(fast, pixels).float().clamp(0, 1).mul(255).round().to(torch.uint8)
        return restored.permute(0, 2, 3, 1).contiguous().cpu()

    compiled: Any = torch.compile(fast) if device.type == "cuda" else fast
    return {
        "float32": lambda: f32(tf32=False),
        "float32, TF32 (torch's default)": lambda: f32(tf32=True),
        "bf16, channels last": lambda: bf16(fast, last),
        "bf16, compiled": lambda: bf16(compiled, last),
        "bf16, channels last, host to host": whole,
    }


def milliseconds(ways: dict[str, Callable[[], Tensor]], rounds: int, device: torch.device) -> dict[str, float]:
    """The median of each way, which take turns."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds + 3):
        for name, way in ways.items():
            synchronize(device)
            started = time.perf_counter()
            way()
            synchronize(device)
            if number >= 3:
                times[name].append(1000 * (time.perf_counter() - started))
    return {name: statistics.median(values) for name, values in times.items()}


if __name__ == "__main__":
    tyro.cli(main)
