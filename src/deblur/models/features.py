"""Features of a network, for distillation: what its feature layer gives, kept while it runs."""

import torch
from torch import Tensor

from deblur.models import build
from deblur.models.network import Network


class Watched:
    """``features`` are those of the network's latest call, ``(B, C, h, w)``."""

    def __init__(self, network: Network) -> None:
        self.features: Tensor
        network.get_submodule(network.feature_layer).register_forward_hook(self._keep)

    def _keep(self, module: object, inputs: object, output: Tensor) -> None:
        self.features = output


def feature_channels(network: Network) -> int:
    """How many channels a network's features have, found without computing."""
    copy = build(network.architecture, weights=False)
    watched, side_px = Watched(copy), copy.size_rule.fit(64)
    copy(torch.empty(1, 3, side_px, side_px, device="meta"))
    return watched.features.shape[1]
