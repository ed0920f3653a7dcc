"""What a figure was measured on: the machine in words, and its limit, the matrix product in the same dtype."""

import os
import platform
import time
from typing import Any

import torch

from deblur import project


def describe_machine(device: torch.device | str = "cpu") -> dict[str, Any]:
    """Processor (and accelerator), cores, threads, versions: what a reader needs beside a figure."""
    described = {
        "processor": project.processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "system": f"{platform.system()} {platform.machine()}",
    }
    if torch.device(device).type == "cuda":
        described["accelerator"] = torch.cuda.get_device_name(device)
    return described


def matmul_flops_per_s(dtype: torch.dtype, device: torch.device | str = "cpu", side: int | None = None) -> float:
    """The best of five square matrix products, in floating-point operations a second (2 side^3 each).

    Args:
        dtype: of both factors.
        device: where to multiply.
        side: rows and columns; None takes 2048 on a CPU and 8192 on an accelerator.
    """
    device = torch.device(device)
    side = side or (2048 if device.type == "cpu" else 8192)
    a, b = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    a @ b
    seconds = []
    for _ in range(5):
        synchronize(device)
        started = time.perf_counter()
        a @ b
        synchronize(device)
        seconds.append(time.perf_counter() - started)
    return 2.0 * side**3 / min(seconds)


def synchronize(device: torch.device) -> None:
    """Wait until an accelerator has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
