"""Checkpoints: written beside and renamed, read without pickled code."""

from pathlib import Path
from typing import Any

import torch

from deblur.errors import ModelError
from deblur.inference.model_folder import ONNX_FILE, read_info
from deblur.models import build
from deblur.models.unet import DeblurUNet
from deblur.whole_file import whole_file

LAST = "last.pth"


def best_name(epoch: int, psnr_db: float) -> str:
    """The published name of a best checkpoint."""
    return f"best_model_epoch_{epoch}_psnr_{psnr_db:.2f}.pth"


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """A kill leaves the old file or the new one."""
    with whole_file(path) as stream:
        torch.save(state, stream)


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint onto the CPU; tensors and plain values only.

    Raises:
        ModelError: missing, broken, or not a checkpoint of this program.
    """
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise ModelError(f"There is no checkpoint {path}.") from error
    except Exception as error:  # zip, pickle and storage errors share no base
        raise ModelError(f"{path} is not a readable checkpoint ({type(error).__name__}).") from error
    if not isinstance(state, dict) or "model_state_dict" not in state:
        raise ModelError(f"{path} is not a checkpoint: it has no model_state_dict.")
    return state


def network_of(state: dict[str, Any]) -> DeblurUNet:
    """The network of a loaded checkpoint.

    Checkpoints of the published system carry no architecture; they are DeblurUNet at width 32 without residual.
    """
    architecture = state.get("architecture", {"name": "DeblurUNet", "width": 32, "residual": False})
    return _filled(build(architecture), state["model_state_dict"], "the checkpoint")


def network_from(path: Path) -> DeblurUNet:
    """The network of a checkpoint file or of a model folder (whose ONNX file keeps every weight under its name).

    Raises:
        ModelError: nothing readable there, or weights of another network.
    """
    if path.is_dir():
        return _filled(build(read_info(path).architecture), _weights_in(path / ONNX_FILE), str(path))
    return network_of(load_checkpoint(path))


def _weights_in(onnx_file: Path) -> dict[str, torch.Tensor]:
    import onnx
    from onnx import numpy_helper

    graph = onnx.load(onnx_file).graph
    return {tensor.name: torch.from_numpy(numpy_helper.to_array(tensor).copy()) for tensor in graph.initializer}


def _filled(network: DeblurUNet, weights: dict[str, torch.Tensor], source: str) -> DeblurUNet:
    wanted = network.state_dict()
    try:
        network.load_state_dict({name: weights[name] for name in wanted})
    except (KeyError, RuntimeError) as error:
        raise ModelError(f"{source} holds the weights of another network ({error}).") from error
    return network
