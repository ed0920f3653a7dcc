"""Differences of VGG-19's features (Johnson et al. 2016; the layer is DeblurGAN's, Kupyn et al. 2018).

The weights are published and not ours to ship: a person names the file.
"""

from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from deblur.data.batches import Batch
from deblur.errors import SettingError

CONVOLUTIONS = (0, 2, 5, 7, 10, 12, 14)
"""torchvision's numbers of those up to the third of the third block."""
CHANNELS = (3, 64, 64, 128, 128, 256, 256, 256)
BLOCK_STARTS = (5, 10)
"""Before these, pixels are pooled."""
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
WANTED = "vgg needs torchvision's VGG-19 (vgg19-*.pth) or the part of it up to features.14."


class Perceptual(nn.Module):
    """Mean squared difference of the features of prediction and sharp picture, both clamped. Nothing of it is trained
    or saved.

    Args:
        file: weights, by torchvision's names; read without pickled code.

    Raises:
        SettingError: no such file, or weights that are not all there.
    """

    def __init__(self, file: Path) -> None:
        super().__init__()
        weights = _weights_in(file)
        for number, (channels_in, channels_out) in zip(CONVOLUTIONS, pairwise(CHANNELS), strict=True):
            for part, shape in (("weight", (channels_out, channels_in, 3, 3)), ("bias", (channels_out,))):
                value = weights.get(f"features.{number}.{part}")
                if not isinstance(value, Tensor) or tuple(value.shape) != shape:
                    raise SettingError(f"{file} lacks features.{number}.{part} of shape {shape}. {WANTED}")
                self.register_buffer(f"{part}{number}", value.float(), persistent=False)
        for name, values in (("mean", MEAN), ("deviation", DEVIATION)):
            self.register_buffer(name, torch.tensor(values)[:, None, None], persistent=False)

    def forward(self, prediction: Tensor, batch: Batch) -> Tensor:
        """``(B, 3, H, W)`` float32 -> a scalar."""
        return functional.mse_loss(self._features(prediction), self._features(batch.sharp))

    def _features(self, pixels: Tensor) -> Tensor:
        x = (pixels.clamp(0, 1) - self.get_buffer("mean")) / self.get_buffer("deviation")
        for number in CONVOLUTIONS:
            x = functional.max_pool2d(x, 2) if number in BLOCK_STARTS else x
            x = functional.conv2d(x, self.get_buffer(f"weight{number}"), self.get_buffer(f"bias{number}"), padding=1)
            x = functional.relu(x)
        return x


def _weights_in(file: Path) -> dict[str, Tensor]:
    try:
        weights = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # missing files, zip, pickle and storage errors share no base
        raise SettingError(f"{file} holds no weights that can be read ({type(error).__name__}). {WANTED}") from error
    return weights if isinstance(weights, dict) else {}
