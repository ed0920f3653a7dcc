"""How weights are moved: an optimizer and a learning-rate schedule, each by name, as a value."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

import torch
from torch.nn import Parameter
from torch.optim import Adam, AdamW, Optimizer
from torch.optim.lr_scheduler import (
    ConstantLR,
    CosineAnnealingLR,
    LambdaLR,
    LinearLR,
    LRScheduler,
    OneCycleLR,
    ReduceLROnPlateau,
    SequentialLR,
)

from deblur.errors import SettingError
from deblur.training.muon import Muon

LEARNING_RATE_END = 1e-6
CYCLES = 3
"""Cycles of a schedule with restarts: each is twice as long as the one before, and the last ends with the run."""
PLATEAU_FACTOR, PLATEAU_VALIDATIONS = 0.5, 5
"""What a learning rate becomes after so many validations in a row without a better PSNR."""


def _restarts(optimizer: Optimizer, steps: int) -> LRScheduler:
    """As CosineAnnealingWarmRestarts, whose cycles have whole steps, and whose last one would end after the run."""
    least = LEARNING_RATE_END / optimizer.param_groups[0].get("initial_lr", optimizer.param_groups[0]["lr"])
    ends = [round(steps * (2**cycle - 1) / (2**CYCLES - 1)) for cycle in range(CYCLES + 1)]

    def share(step: int) -> float:
        cycle = max(number for number in range(CYCLES) if ends[number] <= step)
        done = min(1.0, (step - ends[cycle]) / max(1, ends[cycle + 1] - ends[cycle]))
        return 1 - (1 - least) * (1 - math.cos(math.pi * done)) / 2

    return LambdaLR(optimizer, share)


def _one_cycle(optimizer: Optimizer, steps: int) -> LRScheduler:
    peak = optimizer.param_groups[0]["lr"]
    return OneCycleLR(optimizer, peak, total_steps=steps + 1)  # torch counts the rate after the last step, too


def _plateau(optimizer: Optimizer, steps: int) -> LRScheduler:
    rule = partial(ReduceLROnPlateau, mode="max", threshold=0.0, threshold_mode="abs", min_lr=LEARNING_RATE_END)
    return rule(optimizer, factor=PLATEAU_FACTOR, patience=PLATEAU_VALIDATIONS - 1)


OPTIMIZERS: dict[str, Callable[..., Optimizer]] = {"adamw": AdamW, "adam": Adam, "muon": Muon}
SCHEDULES: dict[str, Callable[[Optimizer, int], LRScheduler]] = {
    "cosine": lambda optimizer, steps: CosineAnnealingLR(optimizer, steps, eta_min=LEARNING_RATE_END),
    "restarts": _restarts,
    "onecycle": _one_cycle,
    "plateau": _plateau,
    "constant": lambda optimizer, steps: ConstantLR(optimizer, factor=1.0, total_iters=0),
}
ANNEALING = ("cosine", "restarts", "onecycle")
"""The schedules that end with a small learning rate."""
NOT_AFTER_WARMUP = ("onecycle", "plateau")
"""The schedules that no warm-up can be put before: one has its own, one does not count steps."""


@dataclass(frozen=True)
class Optimization:
    """Everything about how a step changes the weights: what the settings of these names say (``settings.py``).
    ``optimizer`` is a name in ``OPTIMIZERS``, ``schedule`` one in ``SCHEDULES``."""

    learning_rate: float
    optimizer: str = "adamw"
    schedule: str = "cosine"
    warmup: float = 0.0
    weight_decay: float = 1e-4
    clip_norm: float = 1.0
    centralise: bool = False
    ema_decay: float = 0.999

    def __post_init__(self) -> None:
        for name, value, known in (("optimizer", self.optimizer, OPTIMIZERS), ("schedule", self.schedule, SCHEDULES)):
            if value not in known:
                raise SettingError(f"{name} is {value!r}; known are {', '.join(known)}.")
        if self.warmup and self.schedule in NOT_AFTER_WARMUP:
            raise SettingError(
                f"warmup does not suit the schedule {self.schedule}: onecycle warms up by itself, and plateau does not "
                "count steps. Leave warmup out, or take another schedule."
            )

    @property
    def anneals(self) -> bool:
        """Whether the learning rate comes down by the end of the run."""
        return self.schedule in ANNEALING

    def optimizer_of(self, parameters: Iterable[Parameter]) -> Optimizer:
        """A fresh optimizer of these parameters, all of them moved in one pass."""
        return OPTIMIZERS[self.optimizer](parameters, lr=self.learning_rate, weight_decay=self.weight_decay, fused=True)

    def schedule_of(self, optimizer: Optimizer, steps: int) -> LRScheduler:
        """The learning rate over a run of ``steps`` steps."""
        rising = min(round(self.warmup * steps), steps - 1)  # a step is left for the schedule
        if not rising:
            return SCHEDULES[self.schedule](optimizer, steps)
        rise = LinearLR(optimizer, start_factor=1 / (rising + 1), total_iters=rising)
        return SequentialLR(optimizer, [rise, SCHEDULES[self.schedule](optimizer, steps - rising)], [rising])


@dataclass(frozen=True)
class Decay:
    """How much a teacher's terms count over a run: from 1 down to 0, or always 1.

    Args:
        kind: ``none``, ``linear`` or ``cosine``.
        until: share of the run's steps after which they count no more, above 0, at most 1.
    """

    kind: str = "none"
    until: float = 1.0

    @classmethod
    def parse(cls, text: str) -> "Decay":
        """``none``, ``linear``, ``cosine``, or with a share: ``cosine@0.8``.

        Raises:
            SettingError: nothing of the kind.
        """
        kind, at, until = text.partition("@")
        try:
            decay = cls(kind, float(until) if at else 1.0)
        except ValueError:
            decay = cls("")
        if decay.kind not in ("none", "linear", "cosine") or not 0 < decay.until <= 1:
            raise SettingError(
                f"teacher_decay is {text}. Write none, linear or cosine, perhaps with a share: cosine@0.8."
            )
        return decay

    def at(self, share: float) -> float:
        """When that share of the run's steps is done."""
        if self.kind == "none":
            return 1.0
        done = min(share / self.until, 1.0)
        return 1 - done if self.kind == "linear" else (1 + math.cos(math.pi * done)) / 2


def after_step(schedule: LRScheduler) -> None:
    """Move the learning rate on by a step, where it depends on them."""
    if not isinstance(schedule, ReduceLROnPlateau):
        schedule.step()


def after_validation(schedule: LRScheduler, psnr_db: float) -> None:
    """Move the learning rate on by a validation, where it depends on them."""
    if isinstance(schedule, ReduceLROnPlateau):
        schedule.step(psnr_db)


@torch.no_grad()
def centralise(parameters: Iterable[Parameter]) -> None:
    """Subtract from each filter's gradient its mean (Yong et al. 2020, "Gradient Centralization").

    Weights of layers only: biases have no mean, and a scale of channels (NAFNet's, of shape ``(1, C, 1, 1)``) would
    lose its common part.
    """
    for parameter in parameters:
        gradient = parameter.grad
        if gradient is not None and gradient.dim() > 1 and len(gradient) > 1:
            gradient -= gradient.mean(dim=tuple(range(1, gradient.dim())), keepdim=True)
