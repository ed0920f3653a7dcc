"""The objective: what training minimises, a weighted sum of named terms.

A term is a module, ``(prediction, batch) -> a scalar``, in a file of its family. It compares the prediction with the
sharp picture; as ``teacher:TERM`` with what a teacher made of the blurry one. It may own parameters: they are trained
beside the network's and saved with the state.
"""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from deblur.data.batches import Batch
from deblur.errors import SettingError
from deblur.losses.distillation import Features, Kl
from deblur.losses.edges import Edge
from deblur.losses.ms_ssim import MsSsim, Ssim
from deblur.losses.perceptual import Perceptual
from deblur.losses.pixels import L1, L2, Charbonnier
from deblur.losses.spectrum import Fft, LogFft

TERMS: dict[str, Callable[[], nn.Module]] = {
    "ms-ssim": MsSsim,
    "charbonnier": Charbonnier,
    "l1": L1,
    "l2": L2,
    "ssim": Ssim,
    "fft": Fft,
    "log-fft": LogFft,
    "edge": Edge,
    "kl": Kl,
}
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
        SettingError: no term, an unknown one, a weight that is not above 0, or one that lacks what it needs.
    """

    def __init__(
        self, weights: Mapping[str, float], vgg: Path | None = None, channels: tuple[int, int] | None = None
    ) -> None:
        super().__init__()
        if not weights:
            raise SettingError(f"The loss has no term; known terms are {KNOWN}.")
        for name, weight in weights.items():
            if name != FEATURES and name.removeprefix(TEACHER) not in {*TERMS, PERCEPTUAL}:
                raise SettingError(f"The loss has an unknown term {name!r}; known terms are {KNOWN}.")
            if not 0 < weight < float("inf"):
                raise SettingError(f"The loss's term {name} has the weight {weight:g}; it must be above 0.")
        self.weights = dict(weights)
        self.terms = nn.ModuleDict({name: _term(name.removeprefix(TEACHER), vgg, channels) for name in weights})

    @property
    def asks_teacher(self) -> bool:
        """Whether a term needs a teacher."""
        return any(name.startswith(TEACHER) for name in self.weights)

    @property
    def asks_features(self) -> bool:
        """Whether a term needs features of student and teacher."""
        return FEATURES in self.weights

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
            for name, term in self.terms.items():
                if not name.startswith(TEACHER):
                    values[name] = term(prediction, batch)
                    total = total + self.weights[name] * values[name]
                elif batch.taught is not None:
                    values[logged(name)] = term(prediction, batch._replace(sharp=batch.taught))
                    total = total + guidance * self.weights[name] * values[logged(name)]
        return total, values


def logged(name: str) -> str:
    """A term's name in metrics, whose names some systems allow no colon: ``teacher_l1``."""
    return name.replace(":", "_")


def parse_terms(texts: Iterable[str]) -> dict[str, float]:
    """``["ms-ssim=0.84", "teacher:l1=0.16"]`` -> name: weight; a name alone weighs 1, and ``sharp:`` means nothing.

    Raises:
        SettingError: a weight that is no number, or a term that is named twice.
    """
    weights: dict[str, float] = {}
    for text in texts:
        name, equals, weight = text.removeprefix("sharp:").partition("=")
        if name in weights:
            raise SettingError(f"The loss names the term {name} twice.")
        try:
            weights[name] = float(weight) if equals else 1.0
        except ValueError as error:
            raise SettingError(f"{text!r} is no term of a loss. Write NAME=WEIGHT, as in charbonnier=0.16.") from error
    return weights


def _term(name: str, vgg: Path | None, channels: tuple[int, int] | None) -> nn.Module:
    if name == PERCEPTUAL:
        if vgg is None:
            raise SettingError(f"The loss's term {name} needs vgg, a file with weights of VGG-19.")
        return Perceptual(vgg)
    if f"{TEACHER}{name}" == FEATURES:
        if channels is None:
            raise SettingError(
                f"The loss's term {FEATURES} needs a teacher that runs in torch while the student trains: a checkpoint "
                "or a model of this program, no imported model and no saved answers. Leave the term out, or name "
                "another teacher."
            )
        return Features(channels)
    return TERMS[name]()
