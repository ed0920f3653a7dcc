"""Architectures by name, one a file. What is saved about a model is its name and its keyword arguments."""

import inspect
from collections.abc import Mapping
from typing import Any

from torch import nn

from deblur.errors import ModelError
from deblur.models.fast_unet import FastUNet
from deblur.models.network import Network
from deblur.models.unet import DeblurUNet

ARCHITECTURES: dict[str, type[Network]] = {"DeblurUNet": DeblurUNet, "FastUNet": FastUNet}


def build(architecture: dict[str, Any]) -> Network:
    """``{"name": "DeblurUNet", "width": 32, "residual": False}`` -> the network, freshly initialised."""
    arguments = dict(architecture)
    name = arguments.pop("name", None)
    if name not in ARCHITECTURES:
        raise ModelError(f"Unknown architecture {name!r}; known are {', '.join(ARCHITECTURES)}.")
    return ARCHITECTURES[name](**arguments)


def architecture_in(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The architecture that a run's settings record: its name as ``network``, its arguments under their own names."""
    name = settings["network"]
    arguments = inspect.signature(ARCHITECTURES[name]).parameters if name in ARCHITECTURES else ()
    return {"name": name} | {argument: settings[argument] for argument in arguments if argument in settings}


def parameter_count(model: nn.Module) -> int:
    """Number of trainable scalars."""
    return sum(p.numel() for p in model.parameters())
