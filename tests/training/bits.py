"""The bits that two runs must share to be the same run."""

from pathlib import Path

import torch
from torch import Tensor

from deblur.models.checkpoint import load_checkpoint, read_state


def bits_of(folder: Path) -> dict[str, Tensor]:
    """Weights, average and moments of the newest state, by name."""
    state = load_checkpoint(read_state(folder).data)
    moments = {
        f"moment {i} {key}": value
        for i, values in state["optimizer_state_dict"]["state"].items()
        for key, value in values.items()
    }
    weights = {f"{part} {k}": v for part in ("model_state_dict", "ema_state_dict") for k, v in state[part].items()}
    weights |= {f"objective {name}": value for name, value in state["objective_state_dict"].items()}
    return weights | moments | {"lr": torch.tensor(state["scheduler_state_dict"]["_last_lr"])}


def same_bits(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)
