"""One optimizer step: forward, loss, backward over its micro-batches; clip; update weights and average."""

import contextlib
import math
import warnings
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from deblur.data.batches import Batch, pairs_on
from deblur.losses import restoration_loss
from deblur.training.processes import Processes
from deblur.training.state import StepResult, TrainingState

AUTOCAST = {"f32": None, "bf16": torch.bfloat16, "fp16": torch.float16}


def optimizer_step(
    state: TrainingState,
    module: nn.Module,
    batches: Sequence[Batch],
    clip_norm: float,
    processes: Processes = Processes(),
) -> StepResult:
    """Take one step over ``batches``; several of one size give the gradients of their union.

    A step whose loss or gradients are not finite changes no weight, no moment and no average. With fp16, gradients
    that overflow only because of the loss scale are no fault: the scaler lowers it (Micikevicius et al. 2018).

    Args:
        state: the network and all that a step changes.
        module: the network as it is called: itself, compiled, or with gradients averaged over processes.
        batches: the step's micro-batches.
        clip_norm: largest gradient norm, applied after unscaling.
        processes: that take this step together.
    """
    state.optimizer.zero_grad(set_to_none=True)
    total = torch.zeros((), device=state.device)
    for i, batch in enumerate(batches):
        with _unless_last(module, i, len(batches)):
            loss = _loss(state, module, batch) / len(batches)
            state.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
            total += loss.detach()
    state.scaler.unscale_(state.optimizer)
    norm = nn.utils.clip_grad_norm_(state.network.parameters(), clip_norm)
    loss_value, norm_value = processes.mean(torch.stack([total, norm])).tolist()  # the step's one wait for the device
    finite = math.isfinite(loss_value) and math.isfinite(norm_value)
    overflow = not finite and math.isfinite(loss_value) and state.scaler.get_scale() > 1
    if finite:
        state.scaler.step(state.optimizer)
        state.average.update_parameters(state.network)
    state.scaler.update()
    with warnings.catch_warnings():  # torch warns where the very first step is skipped
        warnings.filterwarnings("ignore", message="Detected call of `lr_scheduler.step")
        state.cosine.step()
    return StepResult(loss_value, norm_value, finite, overflow)


def _loss(state: TrainingState, module: nn.Module, batch: Batch) -> Tensor:
    blurry, sharp = (x.contiguous(memory_format=torch.channels_last) for x in pairs_on(batch, state.device))
    dtype = AUTOCAST[state.precision]
    with torch.autocast(state.device.type, dtype=dtype, enabled=dtype is not None):
        prediction = module(blurry)
    return restoration_loss(prediction, sharp)


def _unless_last(module: nn.Module, i: int, count: int) -> contextlib.AbstractContextManager[None]:
    """Gradients of processes are averaged once a step, with the last micro-batch."""
    if isinstance(module, nn.parallel.DistributedDataParallel) and i < count - 1:
        return module.no_sync()
    return contextlib.nullcontext()
