"""LPIPS, version 0.1 on AlexNet.

Zhang et al., "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric", CVPR 2018.

The distance of two images is that of their features: those of five convolutions are given length 1 at each place, and
their squared differences are weighted by channel (weights that were fitted to what people see), averaged over the
places and summed. The weights are published and not ours to ship: a person names the files.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from deblur.errors import DataError, SettingError

CHANNELS = (64, 192, 384, 256, 256)
LEAST_SIDE_PX = 31
"""Of an image: less leaves nothing for the second pooling."""
SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
EPS = 1e-10
WANTED = (
    "Give torchvision's AlexNet (alexnet-owt-*.pth) and the LPIPS repository's weights/v0.1/alex.pth, or one file of "
    "lpips.LPIPS(net='alex').state_dict()."
)


class Lpips(nn.Module):
    """Two ``(B, 3, H, W)`` float32 batches in ``[0, 1]``, sides of at least 31 px -> distances ``(B,)``, 0 if equal.

    Raises:
        DataError: a side below 31 px.
    """

    shift: Tensor
    scale: Tensor

    def __init__(self) -> None:
        super().__init__()
        first, second, third, fourth, fifth = CHANNELS
        self.features = nn.Sequential(
            nn.Conv2d(3, first, 11, stride=4, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(3, 2),
            nn.Conv2d(first, second, 5, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(3, 2),
            nn.Conv2d(second, third, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(third, fourth, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(fourth, fifth, 3, padding=1),
            nn.ReLU(),
        )
        self.lins = nn.ModuleList(nn.Conv2d(channels, 1, 1, bias=False) for channels in CHANNELS)
        self.register_buffer("shift", torch.tensor(SHIFT)[:, None, None], persistent=False)
        self.register_buffer("scale", torch.tensor(SCALE)[:, None, None], persistent=False)

    def forward(self, image: Tensor, sharp: Tensor) -> Tensor:
        """The distance of each image from its sharp one."""
        height, width = image.shape[-2:]
        if min(height, width) < LEAST_SIDE_PX:
            raise DataError(
                f"LPIPS needs images of at least {LEAST_SIDE_PX} px a side; this one has {width} x {height}."
            )
        pairs = zip(self.lins, self._directions(image), self._directions(sharp), strict=True)
        return torch.stack([lin((a - b) ** 2).mean(dim=(1, 2, 3)) for lin, a, b in pairs]).sum(dim=0)

    def _directions(self, pixels: Tensor) -> Iterator[Tensor]:
        """The features of each convolution, of length 1 at each place."""
        features = (2 * pixels - 1 - self.shift) / self.scale
        for layer in self.features:
            features = layer(features)
            if isinstance(layer, nn.ReLU):
                yield features / (features.norm(dim=1, keepdim=True) + EPS)


def load_lpips(files: Sequence[Path]) -> Lpips:
    """The network with published weights, from all files together; it is not trained any further.

    Args:
        files: torchvision's AlexNet and the LPIPS repository's ``alex.pth`` (version 0.1), in any order, or one file of
            ``lpips.LPIPS(net="alex").state_dict()``. Read without pickled code.

    Raises:
        SettingError: a file that is missing or holds no weights, or weights that are not all there.
    """
    found: dict[str, Tensor] = {}
    for file in files:
        found |= {_own_name(str(name)): value for name, value in _weights_in(file).items()}
    network = Lpips()
    wanted = network.state_dict()
    lacking = [name for name, value in wanted.items() if name not in found or found[name].shape != value.shape]
    if lacking:
        named = ", ".join(map(str, files)) or "No file"
        some = ", ".join(lacking[:3]) + " ..." * (len(lacking) > 3)
        raise SettingError(
            f"{named}: {len(lacking)} of LPIPS' {len(wanted)} tensors missing or of another shape ({some}). {WANTED}"
        )
    network.load_state_dict({name: found[name] for name in wanted})
    return network.eval().requires_grad_(False)


def lpips_distance(network: Lpips, image: NDArray[np.uint8], sharp: NDArray[np.uint8]) -> float:
    """LPIPS of two ``(H, W, 3)`` uint8 images, both sides at least 31 px.

    Raises:
        DataError: a side below 31 px.
    """
    tensors = (torch.tensor(rgb.transpose(2, 0, 1)[None]).float() / 255 for rgb in (image, sharp))
    with torch.inference_mode():
        return float(network(*tensors))


def _own_name(name: str) -> str:
    """``net.slice2.3.weight`` -> ``features.3.weight``; ``lin0.model.1.weight`` -> ``lins.0.weight``."""
    name = re.sub(r"^net\.slice\d\.", "features.", name)
    return re.sub(r"^lins?\.?(\d)\.model\.1\.", r"lins.\1.", name)


def _weights_in(file: Path) -> dict[str, Tensor]:
    try:
        state = torch.load(file, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise SettingError(f"There is no file {file} with weights of LPIPS. {WANTED}") from error
    except Exception as error:  # zip, pickle and storage errors share no base
        raise SettingError(f"{file} holds no weights that can be read ({type(error).__name__}). {WANTED}") from error
    if not isinstance(state, dict):
        raise SettingError(f"{file} holds {type(state).__name__} instead of named weights. {WANTED}")
    return {name: value for name, value in state.items() if isinstance(value, Tensor)}
