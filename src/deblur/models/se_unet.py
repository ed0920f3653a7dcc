"""SeUNet: the small U-Net with squeeze-and-excitation blocks that published systems distil Restormer into.

Described is a "U-Net with squeeze-and-excitation blocks" (Hu et al. 2018), and no more. Here it has three levels and a
bottleneck, two convolutions a block, no normalisation, and predicts the correction, with the head at zero: training
starts at doing nothing. 2,155,283 parameters at width 32. Attention's means are statistics over the tile.
"""

from torch import Tensor, nn

from deblur.models.attention import SqueezeExcite
from deblur.models.network import Network, zeroed
from deblur.models.unet_body import SIZE_RULE, UNetBody


class SeBlock(nn.Sequential):
    """Two 3x3 convolutions, each with ReLU; then attention."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__(
            nn.Conv2d(channels_in, channels_out, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels_out, channels_out, 3, padding=1),
            nn.ReLU(inplace=True),
            SqueezeExcite(channels_out),
        )


class SeUNet(Network):
    """Blurry pixels in, restored pixels out: input plus a correction.

    Args:
        width: Channels of the first level; 32 gives 2.2 M parameters.
    """

    size_rule = SIZE_RULE
    feature_layer = "body.bottleneck"
    reach_px = None
    has_statistics = True

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        if width < 1:
            raise ValueError(f"width is {width}; it must be at least 1.")
        self.width = width
        self.body = UNetBody(3, width, SeBlock)
        self.head = zeroed(nn.Conv2d(width, 3, 1))

    def forward(self, blurry: Tensor) -> Tensor:
        """``(B, 3, H, W)`` in ``[0, 1]``, H and W multiples of 8 -> the same shape, not clamped."""
        return blurry + self.head(self.body(blurry * 2 - 1))
