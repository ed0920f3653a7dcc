"""Weights as others published them: the official files of NAFNet and Restormer, ``{"params": {name: tensor}}``."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from deblur.errors import ModelError, SettingError
from deblur.models import build


def as_checkpoint(params: Any) -> dict[str, Any]:
    """An official file's ``params`` as a checkpoint of this program: ``architecture`` and ``model_state_dict``.

    Which network they are of is told by their names and shapes.

    Raises:
        ModelError: of another network, or no tensors by name.
    """
    known = "Known are official weights of NAFNet (GoPro, four levels) and Restormer (motion deblurring)."
    shapes = {name: tuple(weight.shape) for name, weight in params.items()} if is_state_dict(params) else {}
    if "intro.weight" in shapes:
        architecture = _nafnet(shapes)
    elif "patch_embed.proj.weight" in shapes:
        architecture = _restormer(shapes)
    else:
        raise ModelError(f"The file's params are not those of a network that is known here. {known}")
    try:
        network = build(architecture, weights=False)
    except SettingError as error:
        raise ModelError(f"The file's params are those of no network that can be built ({error}). {known}") from error
    wanted = {name: tuple(weight.shape) for name, weight in network.state_dict().items()}
    for name in sorted(wanted.keys() | shapes.keys()):
        if wanted.get(name) != shapes.get(name):
            raise ModelError(
                f"The file's params look like a {architecture['name']}, but {name} is {shapes.get(name, 'missing')} "
                f"and should be {wanted.get(name, 'missing')}. {known}"
            )
    return {"architecture": architecture, "model_state_dict": dict(params)}


def is_state_dict(weights: Any) -> bool:
    """Whether it is tensors by name."""
    return isinstance(weights, Mapping) and all(
        isinstance(name, str) and isinstance(weight, Tensor) for name, weight in weights.items()
    )


def _nafnet(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Any]:
    levels = range(4)
    return {
        "name": "NAFNet",
        "width": _first(shapes["intro.weight"]),
        "encoder_blocks": tuple(_count(shapes, f"encoders.{level}.") for level in levels),
        "middle_blocks": _count(shapes, "middle_blks."),
        "decoder_blocks": tuple(_count(shapes, f"decoders.{level}.") for level in levels),
    }


def _restormer(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Any]:
    levels = ("encoder_level1.", "encoder_level2.", "encoder_level3.", "latent.")
    return {
        "name": "Restormer",
        "width": _first(shapes["patch_embed.proj.weight"]),
        "level_blocks": tuple(_count(shapes, level) for level in levels),
        "refinement_blocks": _count(shapes, "refinement."),
        "heads": tuple(_first(shapes.get(f"{level}0.attn.temperature", (1,))) for level in levels),
    }


def _first(shape: tuple[int, ...]) -> int:
    """The length of the first axis; 0, which no network accepts, where there is none."""
    return shape[0] if shape else 0


def _count(shapes: Mapping[str, tuple[int, ...]], prefix: str) -> int:
    """How many blocks are numbered behind ``prefix``."""
    return len({name[len(prefix) :].partition(".")[0] for name in shapes if name.startswith(prefix)})
