"""How weights are moved: an optimizer and a learning-rate schedule, each by name, as a value."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from torch.nn import Parameter
from torch.optim import Adam, AdamW, Optimizer
from torch.optim.lr_scheduler import ConstantLR, CosineAnnealingLR, LRScheduler

from deblur.errors import SettingError

LEARNING_RATE_END = 1e-6

OPTIMIZERS: dict[str, Callable[..., Optimizer]] = {"adamw": AdamW, "adam": Adam}
SCHEDULES: dict[str, Callable[[Optimizer, int], LRScheduler]] = {
    "cosine": lambda optimizer, steps: CosineAnnealingLR(optimizer, steps, eta_min=LEARNING_RATE_END),
    "constant": lambda optimizer, steps: ConstantLR(optimizer, factor=1.0, total_iters=0),
}
ANNEALING = ("cosine",)
"""The schedules that end with a small learning rate."""


@dataclass(frozen=True)
class Optimization:
    """Everything about how a step changes the weights.

    Args:
        optimizer: a name in ``OPTIMIZERS``.
        learning_rate: at the start.
        schedule: a name in ``SCHEDULES``: how the learning rate changes over the run's steps.
        weight_decay: of the optimizer.
        clip_norm: largest gradient norm of a step.
        ema_decay: of the average of the weights.
    """

    learning_rate: float
    optimizer: str = "adamw"
    schedule: str = "cosine"
    weight_decay: float = 1e-4
    clip_norm: float = 1.0
    ema_decay: float = 0.999

    def __post_init__(self) -> None:
        for name, value, known in (("optimizer", self.optimizer, OPTIMIZERS), ("schedule", self.schedule, SCHEDULES)):
            if value not in known:
                raise SettingError(f"{name} is {value!r}; known are {', '.join(known)}.")

    @property
    def anneals(self) -> bool:
        """Whether the learning rate comes down by the end of the run."""
        return self.schedule in ANNEALING

    def optimizer_of(self, parameters: Iterable[Parameter]) -> Optimizer:
        """A fresh optimizer of these parameters, all of them moved in one pass."""
        return OPTIMIZERS[self.optimizer](parameters, lr=self.learning_rate, weight_decay=self.weight_decay, fused=True)

    def schedule_of(self, optimizer: Optimizer, steps: int) -> LRScheduler:
        """The learning rate over a run of ``steps`` steps."""
        return SCHEDULES[self.schedule](optimizer, steps)
