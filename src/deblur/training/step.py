"""One optimizer step: forward, loss, backward over its micro-batches; clip; update weights and average."""

import contextlib
import math
import warnings
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from deblur.data.batches import Batch, Loaded
from deblur.losses.objective import asks_teacher
from deblur.models.features import Watched
from deblur.training.optimization import after_step, centralise
from deblur.training.processes import Processes
from deblur.training.state import StepResult, TrainingState

AUTOCAST = {"f32": None, "bf16": torch.bfloat16, "fp16": torch.float16}


class Lesson(nn.Module):
    """A network under its objective: ``batch -> (loss, {term: value})``. One module, as several processes need it."""

    def __init__(self, state: TrainingState) -> None:
        super().__init__()
        self.network, self.objective, self.dtype = state.network, state.objective, AUTOCAST[state.precision]
        self.teacher = state.teacher
        self.watched = Watched(state.network) if state.objective.features else None

    def forward(self, batch: Batch, guidance: float = 1.0) -> tuple[Tensor, dict[str, Tensor]]:
        """Of a batch on the network's device, in float32; the teacher's terms by ``guidance``, at 0 without them."""
        batch = batch._replace(
            blurry=batch.blurry.contiguous(memory_format=torch.channels_last),
            sharp=batch.sharp.contiguous(memory_format=torch.channels_last),
        )
        with torch.autocast(batch.blurry.device.type, dtype=self.dtype, enabled=self.dtype is not None):
            prediction = self.network(batch.blurry)
        if not guidance:
            batch = batch._replace(taught=None)
        elif self.teacher:
            taught, features = self.teacher(batch.blurry)
            both = (self.watched.features, features) if self.watched and features is not None else None
            batch = batch._replace(taught=taught, features=both)
        assert batch.taught is not None or not (guidance and asks_teacher(self.objective.weights)), "who answers?"
        loss, terms = self.objective(prediction, batch, guidance)
        return loss, terms


def optimizer_step(
    state: TrainingState,
    lesson: nn.Module,
    batches: Sequence[Loaded],
    processes: Processes = Processes(),
) -> StepResult:
    """Take one step over ``batches``; several of one size give the gradients of their union, except those of a network
    with batch normalisation or stochastic depth, which are not sums over samples.

    Gradients are clipped after unscaling. A step whose loss or gradients are not finite changes no weight, no moment,
    no average and no buffer. With fp16, gradients that overflow only because of the loss scale are no fault: the
    scaler lowers it (Micikevicius et al. 2018).

    Args:
        state: the network and all that a step changes.
        lesson: a :class:`Lesson` of it, perhaps with gradients averaged over processes.
        batches: the step's micro-batches.
        processes: that take this step together.
    """
    state.optimizer.zero_grad(set_to_none=True)
    buffers = [(buffer, buffer.clone()) for buffer in state.network.buffers()]
    total, sums = torch.zeros((), device=state.device), dict[str, Tensor]()
    for i, batch in enumerate(batches):
        with _unless_last(lesson, i, len(batches)):
            loss, terms = lesson(batch.on(state.device), state.guidance)
            loss = loss / len(batches)
            state.scaler.scale(loss).backward()
            total += loss.detach()
            for name, value in terms.items():
                sums[name] = sums.get(name, 0) + value.detach() / len(batches)
    state.scaler.unscale_(state.optimizer)
    if state.optimization.centralise:
        centralise(state.trained)
    norm = nn.utils.clip_grad_norm_(state.trained, state.optimization.clip_norm)
    figures = processes.mean(torch.stack([total, norm, *sums.values()])).tolist()  # the step's one wait for the device
    loss_value, norm_value = figures[:2]
    finite = math.isfinite(loss_value) and math.isfinite(norm_value)
    overflow = not finite and math.isfinite(loss_value) and state.scaler.get_scale() > 1
    if finite:
        state.scaler.step(state.optimizer)
        state.average.update_parameters(state.network)
    else:
        for buffer, before in buffers:  # batch normalisation has counted what came
            buffer.copy_(before)
    state.scaler.update()
    with warnings.catch_warnings():  # torch warns where the very first step is skipped
        warnings.filterwarnings("ignore", message="Detected call of `lr_scheduler.step")
        after_step(state.schedule)
    return StepResult(loss_value, dict(zip(sums, figures[2:], strict=True)), norm_value, finite, overflow)


def _unless_last(lesson: nn.Module, i: int, count: int) -> contextlib.AbstractContextManager[None]:
    """Gradients of processes are averaged once a step, with the last micro-batch."""
    if isinstance(lesson, nn.parallel.DistributedDataParallel) and i < count - 1:
        return lesson.no_sync()
    return contextlib.nullcontext()
