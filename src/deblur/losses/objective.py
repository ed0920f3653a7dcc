"""The objective: what training minimises, a weighted sum of named terms.

A term compares the prediction with the sharp picture, or, as ``teacher:TERM``, with what a teacher made of the blurry
one. Most are functions, a family a file; what has parameters is trained beside the network and saved with the state.
"""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from deblur.data.batches import Batch
from deblur.errors import SettingError
from deblur.losses.charbonnier import charbonnier
from deblur.losses.distillation import Features, kl
from deblur.losses.edges import edge
from deblur.losses.ms_ssim import ms_ssim_loss, ssim_loss
from deblur.losses.perceptual import Perceptual
from deblur.losses.spectrum import fft, log_fft

TERMS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "ms-ssim": ms_ssim_loss,
    "charbonnier": charbonnier,
    "l1": functional.l1_loss,
    "l2": functional.mse_loss,
    "ssim": ssim_loss,
    "fft": fft,
    "log-fft": log_fft,
    "edge": edge,
    "kl": kl,
}
"""``(B, 3, H, W)`` float32 prediction, not clamped, and what is wanted in ``[0, 1]`` -> a scalar."""
PERCEPTUAL, TEACHER = "perceptual", "teacher:"
FEATURES = f"{TEACHER}features"
KNOWN = f"{', '.join(TERMS)}, {PERCEPTUAL}, each also as {TEACHER}TERM, and {FEATURES}"


class Objective(nn.Module):
    """``(prediction, batch) -> (total, {name: value})``; values are those of the terms, before their weights.

    Args:
        weights: name of a term -> its weight, as in ``{"ms-ssim": 0.84, "teacher:l1": 0.16}``.
        vgg: file with weights of VGG-19, for ``perceptual``.
        channels: of the student's features and of the teacher's, for ``teacher:features``.

    Raises:
        SettingError: see :func:`check_terms`, or a file that does not hold these weights.
    """

    def __init__(
        self, weights: Mapping[str, float], vgg: Path | None = None, channels: tuple[int, int] | None = None
    ) -> None:
        super().__init__()
        check_terms(weights, vgg, features=channels is not None)
        self.weights = dict(weights)
        self.perceptual = Perceptual(vgg) if vgg and asks_vgg(weights) else None
        self.features = Features(channels) if channels and FEATURES in weights else None

    def forward(self, prediction: Tensor, batch: Batch, guidance: float = 1.0) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of a raw ``(B, 3, H, W)`` prediction; computed in float32, also under autocast.

        Args:
            prediction: of the network.
            batch: without a teacher's answer, its terms are left out.
            guidance: what the weights of the teacher's terms are multiplied by.
        """
        total, values = torch.zeros((), device=prediction.device), dict[str, Tensor]()
        with torch.autocast(prediction.device.type, enabled=False):
            prediction = prediction.float()  # once: gradients of the terms are summed before they are rounded again
            for name, weight in self.weights.items():
                guided = name.startswith(TEACHER)
                wanted = batch.taught if guided else batch.sharp
                if wanted is not None:
                    value = values[logged(name)] = self._value(name, prediction, wanted, batch)
                    total = total + weight * (guidance if guided else 1.0) * value
        return total, values

    def _value(self, name: str, prediction: Tensor, wanted: Tensor, batch: Batch) -> Tensor:
        if self.features and name == FEATURES:
            assert batch.features is not None, "the teacher's network was asked for its features"
            return self.features(*batch.features)
        kind = name.removeprefix(TEACHER)
        term = self.perceptual if self.perceptual and kind == PERCEPTUAL else TERMS[kind]
        return term(prediction, wanted)


def check_terms(weights: Mapping[str, float], vgg: Path | None, features: bool) -> None:
    """Look terms over, without reading any weights of VGG-19.

    Args:
        weights: name of a term -> its weight.
        vgg: file with weights of VGG-19, if there is one.
        features: whether the teacher's are there.

    Raises:
        SettingError: no term, an unknown one, a weight that is not above 0, or one that lacks what it needs.
    """
    if not weights:
        raise SettingError(f"The loss has no term; known terms are {KNOWN}.")
    for name, weight in weights.items():
        if name != FEATURES and name.removeprefix(TEACHER) not in (*TERMS, PERCEPTUAL):
            raise SettingError(f"The loss has an unknown term {name!r}; known terms are {KNOWN}.")
        if not 0 < weight < float("inf"):
            raise SettingError(f"The loss's term {name} has the weight {weight:g}; it must be above 0.")
    if asks_vgg(weights) and not (vgg and vgg.is_file()):
        found = f"; there is no {vgg}" if vgg else ""
        raise SettingError(f"The loss's term {PERCEPTUAL} needs vgg, a file with weights of VGG-19{found}.")
    if FEATURES in weights and not features:
        raise SettingError(
            f"The loss's term {FEATURES} needs a teacher that shows its features while the student trains: a model or "
            "checkpoint of this program, or an imported one whose features were named; no saved answers."
        )


def asks_teacher(weights: Iterable[str]) -> bool:
    """Whether one of the terms needs a teacher."""
    return any(name.startswith(TEACHER) for name in weights)


def asks_vgg(weights: Iterable[str]) -> bool:
    """Whether one of the terms needs the weights of VGG-19."""
    return any(name.removeprefix(TEACHER) == PERCEPTUAL for name in weights)


def logged(name: str) -> str:
    """A term's name in metrics, whose names some systems allow no colon: ``teacher_l1``."""
    return name.replace(":", "_")


def parse_terms(texts: Iterable[str]) -> dict[str, float]:
    """``["ms-ssim=0.84", "teacher:l1=0.16"]`` -> name: weight; a name alone weighs 1.

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
