"""GroupNorm with fixed statistics, folded into the convolutions before it.

A network is trained on crops and serves tiles. GroupNorm's statistics of a tile are others than those of a crop, and
no two tiles agree. Here they are what crops have on average, means and standard deviations, a group each, as batch
normalisation has them when it serves (Ioffe and Szegedy 2015): the normalisation becomes one scale and one shift a
channel, and those a part of the convolution's weights.

What is left of the tile in the result is the border that its convolutions see, which the overlap covers.
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn


def statistics_over(network: nn.Module, batches: Iterable[Tensor]) -> dict[nn.GroupNorm, Tensor]:
    """Mean and standard deviation of every group before normalisation, averages over crops: ``(2, groups)`` a norm.

    Args:
        network: one with GroupNorm, on the CPU.
        batches: blurry crops ``(B, 3, H, W)`` in ``[0, 1]``, as it was trained on.
    """
    seen: dict[nn.GroupNorm, list[Tensor]] = {}

    def note(norm: nn.Module, inputs: tuple[Tensor], _: Any) -> None:
        assert isinstance(norm, nn.GroupNorm)
        groups = inputs[0].reshape(len(inputs[0]), norm.num_groups, -1)
        deviation = (groups.var(2, correction=0) + norm.eps).sqrt()
        seen.setdefault(norm, []).append(torch.stack([groups.mean(2), deviation]))

    hooks = [m.register_forward_hook(note) for m in network.modules() if isinstance(m, nn.GroupNorm)]
    network.eval()
    try:
        with torch.no_grad():
            for batch in batches:
                network(batch)
    finally:
        for hook in hooks:
            hook.remove()
    return {norm: torch.cat(parts, dim=1).mean(1) for norm, parts in seen.items()}


@torch.no_grad()
def fold(convolution: nn.Conv2d, norm: nn.GroupNorm, statistics: Tensor) -> None:
    """Make the convolution compute ``norm(convolution(x))`` with these statistics, ``(2, groups)``."""
    mean, deviation = statistics.repeat_interleave(norm.num_channels // norm.num_groups, dim=1)
    scale = norm.weight / deviation
    assert convolution.bias is not None
    convolution.weight *= scale[:, None, None, None]
    convolution.bias.copy_((convolution.bias - mean) * scale + norm.bias)
