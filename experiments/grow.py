"""``python -m experiments.grow FOLDER OUT --width 64``: a wider network that begins as good as a narrow, trained one.

The first channels of every layer are the trained ones and read nothing of the new channels, which begin at random and
read everything; so the output is the same, and what the new channels find is used as soon as it helps (function-
preserving, as in Chen et al. 2016, "Net2Net", but without copies that would have to grow apart).
"""

from pathlib import Path

import torch
import tyro

from deblur.errors import SettingError
from deblur.export.onnx import export_model
from deblur.inference.model_folder import read_info
from deblur.models import build
from deblur.models.checkpoint import network_from
from deblur.models.network import Network


def widened(network: Network, width: int, seed: int = 0) -> Network:
    """A FastUNet of more channels with the same output.

    Raises:
        SettingError: another network, or not wider.
    """
    architecture = dict(network.architecture)
    if architecture["name"] != "FastUNet" or architecture["width"] >= width:
        raise SettingError(f"The network is {architecture}. A FastUNet can be widened, to more channels than it has.")
    torch.manual_seed(seed)
    wider = build(architecture | {"width": width})
    trained = network.state_dict()
    with torch.no_grad():
        for name, weight in wider.state_dict().items():
            old = trained[name]
            weight[: len(old)] = 0
            weight[tuple(slice(size) for size in old.shape)] = old
    return wider


def main(folder: tyro.conf.Positional[Path], out: tyro.conf.Positional[Path], width: int = 64, seed: int = 0) -> None:
    """Write the wider model; train it with ``--init OUT``.

    Args:
        folder: A model folder of a FastUNet.
        out: A new folder.
        width: Channels of the first level.
        seed: Of the new channels.
    """
    export_model(widened(network_from(folder), width, seed), out, name="grown", tiling=read_info(folder).tiling)


if __name__ == "__main__":
    tyro.cli(main)
