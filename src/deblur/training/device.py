"""What a run computes on, and in which precision, where the settings leave it open."""

import os

import torch

from deblur.errors import SettingError


def pick_device(name: str) -> torch.device:
    """``auto`` takes a GPU if there is one.

    Raises:
        SettingError: a device that this machine does not have.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return pick_device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
        if device.type == "cuda" and device.index is None:
            device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.zeros(1, device=device)
        return device
    except (RuntimeError, AssertionError) as error:
        raise SettingError(f"device {name} is not usable here ({str(error).splitlines()[0]}). Try cpu.") from error


def pick_precision(name: str, device: torch.device) -> str:
    """``auto`` takes bf16 where the hardware computes it, else f32."""
    if name != "auto":
        return name
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "f32"
    return "bf16" if device.type == "cpu" and torch.cpu._is_avx512_bf16_supported() else "f32"
