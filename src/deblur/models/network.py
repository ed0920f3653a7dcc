"""What every architecture is to the rest of the house."""

from typing import Any

from torch import nn

from deblur.inference.tiling import SizeRule


class Network(nn.Module):
    """``(B, 3, H, W)`` blurry pixels in ``[0, 1]``, sides by ``size_rule`` -> the same shape, not clamped."""

    size_rule: SizeRule
    receptive_px: int | None
    """How far a pixel's value reaches, px; None where statistics cover the whole input."""

    @property
    def bytes_per_px(self) -> float | None:
        """What the shipped engines need for a tile in float32, bytes a pixel, measured; None: not known."""
        return None

    @property
    def architecture(self) -> dict[str, Any]:
        """What ``models.build`` needs to make this network again."""
        raise NotImplementedError
