"""One step: micro-batches add up to the batch, clipping comes after unscaling, and precision changes little."""

import pytest
import torch
from torch import Tensor

from deblur.data.batches import Batch
from deblur.losses.objective import Objective
from deblur.models.unet import DeblurUNet
from deblur.training.optimization import Optimization
from deblur.training.state import StepResult, TrainingState
from deblur.training.step import Lesson, optimizer_step


def new_state(precision: str = "f32", clip_norm: float = 1.0) -> TrainingState:
    torch.manual_seed(0)
    objective = Objective({"ms-ssim": 0.84, "charbonnier": 0.16})
    optimization = Optimization(learning_rate=1e-3, clip_norm=clip_norm)
    return TrainingState(DeblurUNet(8, residual=True), objective, optimization, 100, torch.device("cpu"), precision)


def step(state: TrainingState, *batches: Batch) -> StepResult:
    return optimizer_step(state, Lesson(state), batches)


def batch_of(count: int, seed: int = 0, side_px: int = 48) -> Batch:
    noise = torch.Generator().manual_seed(seed)
    sharp = torch.rand(count, 3, side_px, side_px, generator=noise)
    return Batch((sharp + 0.1 * torch.randn(sharp.shape, generator=noise)).clamp(0, 1), sharp)


def gradients(state: TrainingState) -> Tensor:
    return torch.cat([p.grad.flatten() for p in state.network.parameters() if p.grad is not None])


def relative(a: Tensor, b: Tensor) -> float:
    return float((a - b).norm() / b.norm())


def test_micro_batches_give_the_gradients_of_the_whole_batch() -> None:
    batch = batch_of(8)
    whole, parts = new_state(clip_norm=1e9), new_state(clip_norm=1e9)
    a = step(whole, batch)
    b = step(parts, *map(Batch, batch.blurry.chunk(4), batch.sharp.chunk(4)))
    assert relative(gradients(parts), gradients(whole)) < 1e-5
    assert b.loss == pytest.approx(a.loss, rel=1e-6)
    assert b.grad_norm == pytest.approx(a.grad_norm, rel=1e-5)


def test_bf16_points_where_f32_points() -> None:
    f32, bf16 = new_state(clip_norm=1e9), new_state("bf16", clip_norm=1e9)
    for state in (f32, bf16):
        torch.nn.init.normal_(state.network.head.weight, std=0.02, generator=torch.Generator().manual_seed(1))
        step(state, batch_of(4))
    assert float(torch.cosine_similarity(gradients(bf16), gradients(f32), dim=0)) > 0.98
    assert all(p.dtype == torch.float32 for p in bf16.network.parameters())


def test_fp16_is_unscaled_before_it_is_clipped() -> None:
    """The norm that is clipped is that of the true gradients, whatever the scale."""
    f32, fp16 = new_state(clip_norm=1e-3), new_state("fp16", clip_norm=1e-3)
    fp16.scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    a = step(f32, batch_of(4))
    b = step(fp16, batch_of(4))
    assert b.grad_norm == pytest.approx(a.grad_norm, rel=0.02)
    assert float(gradients(fp16).norm()) == pytest.approx(1e-3, rel=1e-3)


def test_an_overflow_of_fp16_lowers_the_scale_and_is_no_fault() -> None:
    state = new_state("fp16")
    state.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**40)
    before = state.network.state_dict()["head.weight"].clone()
    result = step(state, batch_of(2))
    assert (result.finite, result.overflow) == (False, True)
    assert state.scaler.get_scale() == 2.0**39
    assert torch.equal(state.network.head.weight, before)
    while not result.finite:
        result = step(state, batch_of(2))
    assert not torch.equal(state.network.head.weight, before)


def test_the_scale_is_part_of_what_is_saved() -> None:
    state = new_state("fp16")
    state.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**40)
    step(state, batch_of(2))
    again = new_state("fp16")
    again.load_state_dict(state.state_dict())
    assert again.scaler.get_scale() == 2.0**39


@pytest.mark.parametrize("bad", ["blurry", "sharp"])
def test_a_step_that_is_not_finite_changes_nothing(bad: str) -> None:
    state = new_state()
    step(state, batch_of(2))
    before = state.state_dict()
    batch = batch_of(2)
    getattr(batch, bad)[0, 0, 0, 0] = float("nan")
    result = step(state, batch_of(2), batch)
    assert not result.finite
    assert not result.overflow
    for part in ("model_state_dict", "ema_state_dict"):
        assert all(torch.equal(before[part][k], v) for k, v in state.state_dict()[part].items())


def test_weights_and_gradients_lie_channels_last() -> None:
    state = new_state()
    step(state, batch_of(2))
    weight = state.network.encoder[0][3].weight  # type: ignore[index]
    assert weight.is_contiguous(memory_format=torch.channels_last)
    assert weight.grad.is_contiguous(memory_format=torch.channels_last)
