"""Differences of VGG-19's features (Johnson et al. 2016; the layer is DeblurGAN's, Kupyn et al. 2018).

The weights are published and not ours to ship: a person names the file.
"""

from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from deblur.errors import SettingError

CONVOLUTIONS = {0: 3, 2: 64, 5: 64, 7: 128, 10: 128, 12: 256, 14: 256}
"""torchvision's numbers of those up to the third of the third block, and the channels that they take; all give as many
as the next takes, the last 256."""
BLOCK_STARTS = (5, 10)
"""Before these, pixels are pooled."""
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Perceptual(nn.Module):
    """Mean squared difference of two pictures' features, pixels clamped. Nothing of it is trained or saved.

    Args:
        file: torchvision's weights of VGG-19, or of its part up to features.14; read without pickled code.

    Raises:
        SettingError: no such file, or weights that are not all there.
    """

    def __init__(self, file: Path) -> None:
        super().__init__()
        try:
            weights = torch.load(file, map_location="cpu", weights_only=True)
            channels = pairwise((*CONVOLUTIONS.values(), 256))
            for number, (channels_in, channels_out) in zip(CONVOLUTIONS, channels, strict=True):
                weight, bias = (weights[f"features.{number}.{part}"].float() for part in ("weight", "bias"))
                self.register_buffer(f"weight{number}", weight.view(channels_out, channels_in, 3, 3), persistent=False)
                self.register_buffer(f"bias{number}", bias.view(channels_out), persistent=False)
        except Exception as error:  # missing files, zip, pickle, storage and shapes share no base
            raise SettingError(
                f"{file} holds no weights of VGG-19 ({type(error).__name__}: {str(error).splitlines()[0]}). vgg needs "
                "torchvision's vgg19-*.pth, or its part up to features.14."
            ) from error
        for name, values in (("mean", MEAN), ("deviation", DEVIATION)):
            self.register_buffer(name, torch.tensor(values)[:, None, None], persistent=False)

    def forward(self, prediction: Tensor, wanted: Tensor) -> Tensor:
        """Two ``(B, 3, H, W)`` float32 -> a scalar."""
        return functional.mse_loss(self._features(prediction), self._features(wanted))

    def _features(self, pixels: Tensor) -> Tensor:
        x = (pixels.clamp(0, 1) - self.get_buffer("mean")) / self.get_buffer("deviation")
        for number in CONVOLUTIONS:
            x = functional.max_pool2d(x, 2) if number in BLOCK_STARTS else x
            x = functional.conv2d(x, self.get_buffer(f"weight{number}"), self.get_buffer(f"bias{number}"), padding=1)
            x = functional.relu(x)
        return x
