"""StackedConv: 3x3 convolutions one after the other, the plainest network there is.

DnCNN (Zhang et al. 2017, "Beyond a Gaussian Denoiser") without its batch normalisation: every layer at full resolution,
and the correction is what is predicted. 557,443 parameters at width 64 and depth 17. It sees 17 px far and computes no
statistics, so tiles change nothing; a motion longer than that it cannot undo. The baseline that others must beat.
"""

from torch import Tensor, nn

from deblur.inference.tiling import SizeRule
from deblur.models.network import Network, zeroed


class StackedConv(Network):
    """Blurry pixels in, restored pixels out: input plus a correction; untrained it returns its input.

    Args:
        width: Channels between the convolutions.
        depth: Convolutions, at least 2; also how many px away a pixel can lie and still change the result.
    """

    size_rule = SizeRule()
    feature_layer = "layers"

    def __init__(self, width: int = 64, depth: int = 17) -> None:
        super().__init__()
        if width < 1 or depth < 2:
            raise ValueError(f"width is {width} and depth {depth}; they must be at least 1 and 2.")
        self.width, self.depth = width, depth
        layers: list[nn.Module] = []
        for channels_in in [3, *[width] * (depth - 2)]:
            convolution = nn.Conv2d(channels_in, width, 3, padding=1)
            nn.init.kaiming_normal_(convolution.weight, nonlinearity="relu")
            layers += [convolution, nn.ReLU(inplace=True)]
        self.layers = nn.Sequential(*layers)
        self.head = zeroed(nn.Conv2d(width, 3, 3, padding=1))

    @property
    def reach_px(self) -> int:  # type: ignore[override]
        """One px a convolution."""
        return self.depth

    @property
    def bytes_per_px(self) -> float:
        """Input and output, and two maps of ``width`` channels: above all that was measured, with both engines."""
        return 48 + 8.0 * self.width

    def forward(self, blurry: Tensor) -> Tensor:
        """``(B, 3, H, W)`` in ``[0, 1]`` -> the same shape, not clamped."""
        return blurry + self.head(self.layers(blurry * 2 - 1))
