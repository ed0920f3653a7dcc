"""Everything that a run's next step depends on, saved and loaded as one: that is what makes resuming exact."""

from dataclasses import asdict, dataclass, field, fields
from typing import Any

import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from deblur.errors import NonFiniteTraining
from deblur.losses.objective import Objective
from deblur.models.checkpoint import Best
from deblur.models.network import Network
from deblur.training.optimization import Decay, Optimization
from deblur.training.teacher import Answers

STALL_EPOCHS, SEVERITY_STEPS = 5, 4
"""With ``plateau``, blur begins at a quarter of its strength and grows by one after every so many epochs without a
better PSNR."""
Tensors = tuple[Tensor, ...] | list[Tensor]


@dataclass(frozen=True)
class Timetable:
    """How long a run is, when it validates, saves and gives up, and how strong its synthetic blur is by then: what the
    settings of these names say (``settings.py``), the severity as a number from 0 to 1."""

    num_epochs: int
    patience: int
    eval_every: int = 1
    nonfinite_limit: int = 20
    save_minutes: float = 5.0
    severity: float = 1.0
    severity_schedule: str = "constant"

    def strength(self, counters: "Counters") -> float:
        """How strong synthetic blur is, 0 to 1, in the epoch that the counters stand in."""
        if self.severity_schedule == "ramp":
            return self.severity * min(1.0, 2 * (counters.epoch + 1) / self.num_epochs)
        if self.severity_schedule == "plateau":
            return self.severity * min(1.0, (1 + counters.growths) / SEVERITY_STEPS)
        return self.severity


@dataclass(frozen=True)
class StepResult:
    """Loss, its terms and gradient norm (before clipping), means over processes.

    ``overflow``: only fp16's scale was too high.
    """

    loss: float
    terms: dict[str, float]
    grad_norm: float
    finite: bool
    overflow: bool


@dataclass
class EpochSums:
    """What an epoch's means are made of, so that an epoch may end in another process than it began in.

    ``terms`` hold those that every step had: not a teacher's in the epoch in which they come to count no more.
    """

    steps: int = 0
    loss: float = 0.0
    terms: dict[str, float] = field(default_factory=dict)
    grad_norm: float = 0.0
    images: int = 0
    seconds: float = 0.0
    waited_s: float = 0.0

    def add(self, result: StepResult, images: int, seconds: float, waited_s: float) -> None:
        """Count a step; one that was skipped has no say in the means."""
        self.images += images
        self.seconds += seconds
        self.waited_s += waited_s
        if result.finite:
            if not self.steps:
                self.terms = dict.fromkeys(result.terms, 0.0)
            self.steps += 1
            self.loss += result.loss
            self.terms = {name: self.terms[name] + result.terms[name] for name in self.terms if name in result.terms}
            self.grad_norm += result.grad_norm


@dataclass
class Counters:
    """How far a run has come, and its best so far. ``epoch`` counts validated, recorded epochs.

    ``seconds`` and ``joules`` are those of the whole run; None where a part of it was not measured.
    """

    epoch: int = 0
    step: int = 0
    skipped_steps: int = 0
    skipped_since_rollback: int = 0
    rollbacks: int = 0
    growths: int = 0
    grown_at: int = 0
    psnr_db: float = float("nan")
    ssim: float = float("nan")
    best: Best | None = None
    superseded: list[str] = field(default_factory=list)
    stopped_early: bool = False
    seconds: float | None = 0.0
    joules: float | None = 0.0
    sums: EpochSums = field(default_factory=EpochSums)

    @property
    def best_psnr_db(self) -> float:
        """Of the best checkpoint; minus infinity before there is one."""
        return self.best.psnr_db if self.best else float("-inf")

    @property
    def best_epoch(self) -> int:
        """Of the best checkpoint; 0 before there is one."""
        return self.best.epoch if self.best else 0

    def next_epoch(self, early: bool = False) -> None:
        """An epoch is recorded; ``early``: it was the last, before the schedule's end."""
        self.epoch += 1
        self.sums = EpochSums()
        self.stopped_early = early

    def grow_if_stalled(self, epoch: int) -> None:
        """Stronger blur from the next epoch on, where neither a better PSNR nor stronger blur came for a while."""
        if epoch - max(self.best_epoch, self.grown_at) >= STALL_EPOCHS:
            self.growths, self.grown_at = self.growths + 1, epoch

    @classmethod
    def of(cls, values: dict[str, Any]) -> "Counters":
        """The inverse of ``asdict``."""
        values = {"seconds": None, "joules": None} | values  # a version before did not measure them
        best = values["best"]
        known = {f.name: values[f.name] for f in fields(cls) if f.name in values}
        return cls(**known | {"best": Best(**best) if best else None, "sums": EpochSums(**values["sums"])})


class TrainingState:
    """A network in training: its average, its objective, optimizer, schedule, scaler and counters.

    Args:
        network: moved to ``device`` in channels-last layout, where CPU and GPU convolutions are fastest.
        objective: what is minimised; parameters of its own are trained, too.
        optimization: how a step moves the weights.
        steps: of the whole run; the learning-rate schedule ends with the last.
        device: where to train.
        precision: ``f32``, ``bf16`` or ``fp16``: what autocast computes convolutions in. Weights stay float32.
        teacher: answers crops, where the objective asks it and batches do not bring its answers.
        decay: how the weights of its terms go down.
    """

    def __init__(
        self,
        network: Network,
        objective: Objective,
        optimization: Optimization,
        steps: int,
        device: torch.device,
        precision: str = "f32",
        teacher: Answers | None = None,
        decay: Decay = Decay(),
    ) -> None:
        self.steps, self.teacher, self.decay = steps, teacher, decay
        self.device, self.precision, self.optimization = device, precision, optimization
        self.network = network.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.objective = objective.to(device)
        self.average = AveragedModel(self.network, multi_avg_fn=self._averaged, use_buffers=True)
        self.trained = [*self.network.parameters(), *self.objective.parameters()]
        self.optimizer = optimization.optimizer_of(self.trained)
        self.schedule = optimization.schedule_of(self.optimizer, steps)
        self.scaler = torch.amp.GradScaler(device.type, enabled=precision == "fp16")
        self.counters = Counters()

    @property
    def served(self) -> Network:
        """The averaged network: what is validated, kept as the best, exported and registered. Batch normalisation's
        statistics are averaged as the weights are."""
        network = self.average.module
        assert isinstance(network, Network)
        return network

    @property
    def guidance(self) -> float:
        """What the weights of the teacher's terms are multiplied by in the next step."""
        return self.decay.at(self.counters.step / self.steps)

    def state_dict(self) -> dict[str, Any]:
        """All of it, with the published keys.

        Raises:
            NonFiniteTraining: a weight or a moment is not a number; such a state is never saved.
        """
        counters = self.counters
        state = {
            "epoch": counters.epoch,
            "step": counters.step,
            "model_state_dict": self.network.state_dict(),
            "ema_state_dict": self.served.state_dict(),
            "ema_updates": int(self.average.n_averaged),
            "objective_state_dict": self.objective.state_dict(),
            "optimizer_state_dict": self.optimizer.state_dict(),
            "scheduler_state_dict": self.schedule.state_dict(),
            "scaler_state_dict": self.scaler.state_dict(),
            "torch_rng_state": torch.get_rng_state(),
            "cuda_rng_states": torch.cuda.get_rng_state_all() if self.device.type == "cuda" else [],
            "psnr": counters.psnr_db,
            "ssim": counters.ssim,
            "counters": asdict(counters),
            "architecture": self.network.architecture,
        }
        for part in ("model_state_dict", "ema_state_dict", "objective_state_dict", "optimizer_state_dict"):
            require_finite(state[part], part)
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a saved state, to the bit on the same machine."""
        self.network.load_state_dict(state["model_state_dict"])
        self.served.load_state_dict(state["ema_state_dict"])
        self.average.n_averaged.fill_(state["ema_updates"])
        self.objective.load_state_dict(state.get("objective_state_dict", {}))  # a version before had none to save
        self.optimizer.load_state_dict(state["optimizer_state_dict"])
        self.schedule.load_state_dict(state["scheduler_state_dict"])
        self.scaler.load_state_dict(state["scaler_state_dict"])
        torch.set_rng_state(state["torch_rng_state"])
        if self.device.type == "cuda" and len(state["cuda_rng_states"]) == torch.cuda.device_count():
            torch.cuda.set_rng_state_all(state["cuda_rng_states"])
        self.counters = Counters.of(state["counters"])

    def _averaged(self, averaged: Tensors, current: Tensors, updates: Tensor | int) -> None:
        """torch's exponential moving average, its decay growing with the updates n as (1 + n) / (10 + n).

        A fixed decay would keep a short run's average near its first weights.
        """
        n = int(self.average.n_averaged)  # on the CPU; ``updates`` is a copy of it on the device
        average = get_ema_multi_avg_fn(min(self.optimization.ema_decay, (1 + n) / (10 + n)))  # type: ignore[no-untyped-call]
        average(averaged, current, updates)


def require_finite(values: Any, name: str) -> None:
    """Walk dicts and lists of tensors.

    Raises:
        NonFiniteTraining: one holds a NaN or an infinity.
    """
    if isinstance(values, Tensor):
        if values.is_floating_point() and not bool(torch.isfinite(values).all()):
            raise NonFiniteTraining(f"{name} holds values that are not numbers. Lower learning_rate.")
    elif isinstance(values, dict):
        for key, value in values.items():
            require_finite(value, f"{name}.{key}")
    elif isinstance(values, list | tuple):
        for value in values:
            require_finite(value, name)
