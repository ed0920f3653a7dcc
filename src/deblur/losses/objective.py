"""The objective: what training minimises, a weighted sum of named terms.

A term is a module in a file of its own, ``(prediction, batch) -> a scalar``. It sees the whole batch, so it may compare
the prediction with the sharp picture or with what a teacher made of it. It may own parameters: they are trained beside
the network's and saved with the state.
"""

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from deblur.data.batches import Batch
from deblur.errors import SettingError
from deblur.losses.charbonnier import Charbonnier
from deblur.losses.ms_ssim import MsSsim

TERMS: dict[str, type[nn.Module]] = {"ms-ssim": MsSsim, "charbonnier": Charbonnier}


class Objective(nn.Module):
    """``(prediction, batch) -> (total, {name: value})``; values are those of the terms, before their weights.

    Args:
        weights: name of a term -> its weight, as in ``{"ms-ssim": 0.84, "charbonnier": 0.16}``.

    Raises:
        SettingError: no term, an unknown one, or a weight that is not above 0.
    """

    def __init__(self, weights: Mapping[str, float]) -> None:
        super().__init__()
        known = ", ".join(TERMS)
        if not weights:
            raise SettingError(f"The loss has no term; known terms are {known}.")
        for name, weight in weights.items():
            if name not in TERMS:
                raise SettingError(f"The loss has an unknown term {name!r}; known terms are {known}.")
            if not 0 < weight < float("inf"):
                raise SettingError(f"The loss's term {name} has the weight {weight:g}; it must be above 0.")
        self.weights = dict(weights)
        self.terms = nn.ModuleDict({name: TERMS[name]() for name in weights})

    def forward(self, prediction: Tensor, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of a raw ``(B, 3, H, W)`` prediction; computed in float32, also under autocast."""
        with torch.autocast(prediction.device.type, enabled=False):
            prediction = prediction.float()  # once: gradients of the terms are summed before they are rounded again
            values = {name: term(prediction, batch) for name, term in self.terms.items()}
            total = torch.stack([self.weights[name] * value for name, value in values.items()]).sum()
        return total, values


def parse_terms(texts: Iterable[str]) -> dict[str, float]:
    """``["ms-ssim=0.84", "charbonnier=0.16"]`` -> name: weight; a name alone weighs 1.

    Raises:
        SettingError: a weight that is no number, or a term that is named twice.
    """
    weights: dict[str, float] = {}
    for text in texts:
        name, equals, weight = text.partition("=")
        if name in weights:
            raise SettingError(f"The loss names the term {name} twice.")
        try:
            weights[name] = float(weight) if equals else 1.0
        except ValueError as error:
            raise SettingError(f"{text!r} is no term of a loss. Write NAME=WEIGHT, as in charbonnier=0.16.") from error
    return weights
