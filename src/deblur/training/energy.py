"""The energy that a training takes, as far as the machine tells: of its processors and its GPU, not of the rest.

Linux shows what processor packages took (RAPL: Intel, Software Developer's Manual, volume 3B, 15.10; AMD's count in the
same way) to those who may read it, often root alone. NVIDIA's driver tells what a GPU took (NVML), where ``pynvml`` is
installed. What other programs took on the same processors is counted, too.
"""

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from importlib import import_module
from pathlib import Path

import torch

POWERCAP = Path("/sys/class/powercap")
Counter = tuple[Callable[[], int], int]
"""Reads how much it was so far, and at which value it begins again with 0; both in microjoules."""


class EnergyMeter:
    """Tells the energy since the last look. A look every few minutes is often enough not to miss a counter's turn.

    Args:
        device: that trains; of a GPU nothing is told unless the GPU's own energy can be.
        powercap: where the system shows the counters of its processors.
    """

    def __init__(self, device: torch.device, powercap: Path = POWERCAP) -> None:
        try:
            gpu = [_of_gpu(device)] if device.type == "cuda" else []
            self._counters = [*gpu, *_of_packages(powercap)]
            self._before = [read() for read, _ in self._counters]
        except Exception:  # pynvml has errors of its own, and nothing here may cost the run
            self._counters = []

    def joules(self) -> float | None:
        """Since the last call, or since the meter was made; None where it cannot be read."""
        try:
            now = [read() for read, _ in self._counters]
        except Exception:
            self._counters = []
        if not self._counters:
            return None
        taken = [(b - a) % turn for a, b, (_, turn) in zip(self._before, now, self._counters, strict=True)]
        self._before = now
        return sum(taken) / 1e6


def _of_packages(powercap: Path) -> list[Counter]:
    """Those that can be read. Their parts (core, dram) and the whole board (psys) are other folders, passed over."""
    counters = list[Counter]()
    for folder in sorted(powercap.glob("intel-rapl:*")):
        with suppress(OSError, ValueError):
            if (folder / "name").read_text().startswith("package"):
                read = partial(_number, folder / "energy_uj")
                read()
                counters.append((read, _number(folder / "max_energy_range_uj")))
    return counters


def _of_gpu(device: torch.device) -> Counter:
    """Since the driver was loaded, in millijoules; it does not turn."""
    nvml = import_module("pynvml")
    nvml.nvmlInit()
    gpu = nvml.nvmlDeviceGetHandleByUUID(f"GPU-{torch.cuda.get_device_properties(device).uuid}")
    return lambda: 1000 * int(nvml.nvmlDeviceGetTotalEnergyConsumption(gpu)), 2**64


def _number(file: Path) -> int:
    return int(file.read_text())
