"""Architectures by name, one a file. What is saved about a model is its name and its keyword arguments.

A new one is a file with a :class:`~deblur.models.network.Network` and a line in ``ARCHITECTURES``.
"""

import inspect
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from deblur.errors import ModelError, SettingError
from deblur.models.eca_unet import EcaUNet
from deblur.models.fast_unet import FastUNet
from deblur.models.msafn import LightMsafn, Msafn
from deblur.models.nafnet import NAFNet
from deblur.models.network import Network
from deblur.models.restormer import Restormer
from deblur.models.se_unet import SeUNet
from deblur.models.stacked_conv import StackedConv
from deblur.models.unet import DeblurUNet

ARCHITECTURES: dict[str, type[Network]] = {
    network.__name__: network
    for network in (DeblurUNet, FastUNet, NAFNet, Restormer, EcaUNet, SeUNet, Msafn, LightMsafn, StackedConv)
}


def build(architecture: Mapping[str, Any], *, weights: bool = True) -> Network:
    """``{"name": "DeblurUNet", "width": 32, "residual": False}`` -> the network, freshly initialised.

    Args:
        architecture: its name and arguments.
        weights: whether it gets some; without, it takes no time and no memory, and can be asked for its facts.

    Raises:
        ModelError: an unknown name.
        SettingError: arguments that the network refuses.
    """
    arguments = dict(architecture)
    name = arguments.pop("name", None)
    if name not in ARCHITECTURES:
        raise ModelError(f"Unknown architecture {name!r}; known are {', '.join(ARCHITECTURES)}.")
    try:
        if weights:
            return ARCHITECTURES[name](**arguments)
        with torch.device("meta"):
            return ARCHITECTURES[name](**arguments)
    except (TypeError, ValueError) as error:
        raise SettingError(f"{name}: {error}") from error


def options_of(name: str) -> dict[str, Any]:
    """The arguments of an architecture that a person chooses, with their defaults: the positional ones.

    Keyword-only ones are set by this program.
    """
    parameters = inspect.signature(ARCHITECTURES[name]).parameters.values()
    return {p.name: p.default for p in parameters if p.kind == p.POSITIONAL_OR_KEYWORD}


def architecture_in(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The architecture that a run's settings record: its name as ``network``, its arguments under their own names."""
    name = settings["network"]
    arguments = inspect.signature(ARCHITECTURES[name]).parameters if name in ARCHITECTURES else ()
    return {"name": name} | {argument: settings[argument] for argument in arguments if argument in settings}


def parameter_count(model: nn.Module) -> int:
    """Number of trainable scalars."""
    return sum(p.numel() for p in model.parameters())
