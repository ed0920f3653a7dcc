"""``python -m experiments.mix FOLDER OTHER SHARE OUT``: a model whose weights lie between those of two others.

Weights of one network that were trained one from the other move smoothly between the two (linear mode connectivity).
"""

from pathlib import Path

import torch
import tyro

from deblur.errors import SettingError
from deblur.export.onnx import export_model
from deblur.inference.model_folder import read_info
from deblur.models.checkpoint import network_from


def main(
    folder: tyro.conf.Positional[Path],
    other: tyro.conf.Positional[Path],
    share: tyro.conf.Positional[float],
    out: tyro.conf.Positional[Path],
    name: str = "deblur-fast",
) -> None:
    """Write the mixed model, in half precision.

    Args:
        folder: A model folder; tile and overlap are its.
        other: A model folder of the same network.
        share: Of the other's weights, 0 to 1.
        out: A new folder.
        name: What the model is called.
    """
    network, second = network_from(folder), network_from(other)
    if network.architecture != second.architecture or not 0 <= share <= 1:
        raise SettingError(f"{folder} and {other} must be of one network, and the share (here {share}) 0 to 1.")
    weights = second.state_dict()
    network.load_state_dict({key: torch.lerp(own, weights[key], share) for key, own in network.state_dict().items()})
    export_model(network, out, name=name, tiling=read_info(folder).tiling, half=True)


if __name__ == "__main__":
    tyro.cli(main)
