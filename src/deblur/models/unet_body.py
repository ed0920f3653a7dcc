"""The body of a small U-Net, whatever its blocks: three levels and a bottleneck."""

from collections.abc import Callable

from torch import Tensor, nn

from deblur.inference.tiling import SizeRule
from deblur.models.unet import UpConv, through_levels

LEVELS = 3
SIZE_RULE = SizeRule(multiple_of=2**LEVELS, min_side_px=2**LEVELS)


class UNetBody(nn.Module):
    """``(B, channels_in, H, W)``, H and W multiples of 8 -> ``(B, width, H, W)``; channels double on every level.

    Args:
        channels_in: of the input.
        width: channels of the first level.
        block: makes a level's block of its channels in and out.
    """

    def __init__(self, channels_in: int, width: int, block: Callable[[int, int], nn.Module]) -> None:
        super().__init__()
        channels = [width * 2**level for level in range(LEVELS + 1)]
        ups = list(zip(channels[:0:-1], channels[-2::-1], strict=True))
        self.encoder = nn.ModuleList(block(a, b) for a, b in zip([channels_in, *channels], channels[:-1], strict=False))
        self.bottleneck = block(channels[-2], channels[-1])
        self.up = nn.ModuleList(UpConv(a, b) for a, b in ups)
        self.decoder = nn.ModuleList(block(a, b) for a, b in ups)

    def forward(self, x: Tensor) -> Tensor:
        return through_levels(x, self.encoder, self.bottleneck, self.up, self.decoder)
