"""Every architecture, small: quick to compute, with weights that make everything count."""

from typing import Any

import torch

from deblur.models import build
from deblur.models.network import Network

SMALL: dict[str, dict[str, Any]] = {
    "NAFNet": {"width": 4, "encoder_blocks": (1, 0, 0, 1), "decoder_blocks": (0, 1, 0, 0)},
    "Restormer": {"width": 4, "level_blocks": (1, 0, 0, 1), "refinement_blocks": 0, "heads": (1, 2, 2, 4)},
    "EcaUNet": {"width": 8},
    "SeUNet": {"width": 8},
    "Msafn": {"width": 8, "blocks": 1, "drop": 0.5},
    "LightMsafn": {"width": 8, "blocks": 1},
    "StackedConv": {"width": 8, "depth": 4},
}


def small(name: str, seed: int = 0) -> Network:
    """Freshly initialised, none of its weights 0."""
    torch.manual_seed(seed)
    network = build({"name": name, **SMALL[name]})
    for weight in network.parameters():
        if not weight.any():
            torch.nn.init.normal_(weight, std=0.1)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):  # as after some steps
            torch.nn.init.uniform_(module.running_mean, -0.1, 0.1)  # type: ignore[arg-type]
            torch.nn.init.uniform_(module.running_var, 0.5, 1.5)  # type: ignore[arg-type]
    return network
