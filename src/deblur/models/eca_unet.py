"""EcaUNet: the small U-Net with ECA attention that published systems distil Restormer into.

As described: three levels, the input fused with its half-size copy at the start, Conv-BN-ReLU, ECA attention (Wang et
al. 2020) after every block, output in [0, 1]. The description leaves open, and here it is so: a block is two
convolutions; "three levels" are three poolings above a bottleneck; the half-size copy (2x2 means) is enlarged and
becomes three more channels of the input; a sigmoid keeps the output in [0, 1]. 2,143,006 parameters at width 32.

Batch normalisation (Ioffe and Szegedy 2015) has statistics of the batch while it trains: gradients of micro-batches, or
of several processes, are not those of the whole batch. Serving, it has fixed ones. ECA's means are over the tile.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from deblur.models.attention import EfficientAttention
from deblur.models.network import Network
from deblur.models.unet_body import SIZE_RULE, UNetBody


class EcaBlock(nn.Sequential):
    """Two 3x3 convolutions, each with batch normalisation and ReLU; then attention."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__(
            nn.Conv2d(channels_in, channels_out, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels_out),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels_out, channels_out, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels_out),
            nn.ReLU(inplace=True),
            EfficientAttention(channels_out),
        )


class EcaUNet(Network):
    """Blurry pixels in, restored pixels out.

    Args:
        width: Channels of the first level; 32 gives 2.1 M parameters.
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
        self.body = UNetBody(6, width, EcaBlock)
        self.head = nn.Conv2d(width, 3, 1)

    def forward(self, blurry: Tensor) -> Tensor:
        """``(B, 3, H, W)`` in ``[0, 1]``, H and W multiples of 8 -> the same shape, in ``[0, 1]``."""
        half = functional.avg_pool2d(blurry, 2)
        coarse = functional.interpolate(half, scale_factor=2.0, mode="bilinear", align_corners=False)
        return torch.sigmoid(self.head(self.body(torch.cat([blurry, coarse], dim=1))))
