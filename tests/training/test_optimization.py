"""Optimizer and schedule by name, and the same bits after a stop with each of them."""

import io
import math

import pytest
import torch

from deblur.data.batches import Batch
from deblur.errors import SettingError
from deblur.losses.objective import Objective
from deblur.training.optimization import SCHEDULES, Optimization, after_step, after_validation, centralise
from deblur.training.state import TrainingState
from deblur.training.step import Lesson, optimizer_step
from tests.models.small import small

STEPS = 20


def rates(optimization: Optimization, steps: int = STEPS) -> list[float]:
    """The learning rate before each step, and after the last."""
    weight = torch.nn.Parameter(torch.ones(3))
    moved = optimization.optimizer_of([weight])
    schedule = optimization.schedule_of(moved, steps)
    found = [moved.param_groups[0]["lr"]]
    for _ in range(steps):
        weight.grad = weight.detach().clone()
        moved.step()
        after_step(schedule)
        found.append(moved.param_groups[0]["lr"])
    assert float(weight.detach().max()) < 1
    return found


@pytest.mark.parametrize(("schedule", "last", "anneals"), [("cosine", 1e-6, True), ("constant", 0.1, False)])
@pytest.mark.parametrize("optimizer", ["adamw", "adam", "muon"])
def test_a_run_of_steps(optimizer: str, schedule: str, last: float, anneals: bool) -> None:
    optimization = Optimization(0.1, optimizer=optimizer, schedule=schedule)
    assert type(optimization.optimizer_of([torch.nn.Parameter(torch.ones(3))])).__name__.lower() == optimizer
    assert rates(optimization)[-1] == pytest.approx(last)
    assert optimization.anneals == anneals


def test_restarts_go_down_three_times_each_time_more_slowly() -> None:
    found = rates(Optimization(0.1, schedule="restarts"), 69)
    assert [i for i, rate in enumerate(found) if rate == 0.1] == [0, 10, 30]
    assert found[-1] < 1e-3
    assert found[30:] == sorted(found[30:], reverse=True)


@pytest.mark.parametrize("steps", [7, 14, 70, 701])
def test_restarts_end_with_the_run(steps: int) -> None:
    assert rates(Optimization(0.1, schedule="restarts"), steps)[-1] < 3e-3 * 70 / steps


def test_one_cycle_rises_and_ends_lower_than_it_began() -> None:
    found = rates(Optimization(0.1, schedule="onecycle"))
    peak = found.index(max(found))
    assert found[peak] == pytest.approx(0.1, rel=0.02)
    assert found == sorted(found[:peak]) + sorted(found[peak:], reverse=True)
    assert found[-1] < found[0] / 1000


def test_a_warm_up_rises_in_its_share_and_the_schedule_takes_the_rest() -> None:
    found = rates(Optimization(0.1, schedule="cosine", warmup=0.2))
    assert found[:5] == pytest.approx([0.02, 0.036, 0.052, 0.068, 0.1], rel=0.3)
    assert found[4] == 0.1
    half = (STEPS - 4) // 2
    assert found[4 + half] == pytest.approx(0.1 * (1 + math.cos(math.pi / 2)) / 2, rel=1e-3)
    assert found[-1] == pytest.approx(1e-6)
    for schedule in ("onecycle", "plateau"):
        with pytest.raises(SettingError, match="Leave warmup out"):
            Optimization(0.1, schedule=schedule, warmup=0.1)


@pytest.mark.parametrize(("steps", "warmup"), [(10, 0.99), (3, 0.9), (1, 0.6)])
def test_a_warm_up_leaves_a_step_to_the_schedule(steps: int, warmup: float) -> None:
    found = rates(Optimization(0.1, warmup=warmup), steps)
    assert found[-2:] == pytest.approx([0.1, 1e-6])


def test_plateau_halves_the_rate_after_five_validations_that_were_not_better() -> None:
    moved = Optimization(0.1, schedule="plateau").optimizer_of([torch.nn.Parameter(torch.ones(3))])
    schedule = Optimization(0.1, schedule="plateau").schedule_of(moved, STEPS)
    found = []
    for psnr in [20.0, *5 * [20.0], *5 * [19.0], 20.001]:
        after_step(schedule)
        after_validation(schedule, psnr)
        found.append(moved.param_groups[0]["lr"])
    assert found == [*5 * [0.1], *5 * [0.05], *2 * [0.025]]


def test_centralised_gradients_have_no_mean_in_a_filter() -> None:
    filters, scale, bias = (torch.nn.Parameter(torch.rand(shape)) for shape in ((4, 3, 3, 3), (1, 4, 1, 1), (4,)))
    for parameter in (filters, scale, bias):
        parameter.grad = torch.rand_like(parameter)
    before = filters.grad.clone(), scale.grad.clone(), bias.grad.clone()  # type: ignore[union-attr]
    centralise([filters, scale, bias])
    assert torch.allclose(filters.grad, before[0] - before[0].mean((1, 2, 3), keepdim=True))  # type: ignore[arg-type]
    assert torch.equal(scale.grad, before[1])  # type: ignore[arg-type]
    assert torch.equal(bias.grad, before[2])  # type: ignore[arg-type]


def new_state(schedule: str, warmup: float, centralise: bool = True) -> TrainingState:
    optimization = Optimization(1e-2, schedule=schedule, warmup=warmup, centralise=centralise)
    return TrainingState(small("SeUNet"), Objective({"charbonnier": 1.0}), optimization, 8, torch.device("cpu"))


def train(state: TrainingState, steps: range) -> None:
    for step in steps:
        noise = torch.Generator().manual_seed(step)
        sharp = torch.rand(2, 3, 16, 16, generator=noise)
        optimizer_step(state, Lesson(state), [Batch(sharp * 0.9, sharp)])
        after_validation(state.schedule, 20.0)


def test_a_step_centralises_where_it_is_asked_to() -> None:
    means = []
    for asked in (False, True):
        state = new_state("constant", 0.0, asked)
        train(state, range(2))
        gradient = state.network.get_parameter("head.weight").grad
        assert gradient is not None
        means.append(float(gradient.mean((1, 2, 3)).abs().max()))
    assert means[1] < 1e-7 < 1e-5 < means[0]


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_stop_changes_no_bit(schedule: str) -> None:
    warmup = 0.25 if schedule in ("cosine", "restarts", "constant") else 0.0
    whole, begun, resumed = (new_state(schedule, warmup) for _ in range(3))
    train(whole, range(8))
    train(begun, range(5))
    saved = io.BytesIO()
    torch.save(begun.state_dict(), saved)
    saved.seek(0)
    resumed.load_state_dict(torch.load(saved, weights_only=True))
    train(resumed, range(5, 8))
    assert resumed.optimizer.param_groups[0]["lr"] == whole.optimizer.param_groups[0]["lr"]
    for part in ("model_state_dict", "ema_state_dict"):
        wanted = whole.state_dict()[part]
        assert all(torch.equal(wanted[name], value) for name, value in resumed.state_dict()[part].items())
    assert not torch.equal(begun.network.head.weight, whole.network.head.weight)  # type: ignore[arg-type]


def test_an_unknown_name_is_refused_with_those_that_are_known() -> None:
    with pytest.raises(SettingError, match="optimizer is 'sgd'; known are adamw, adam, muon"):
        Optimization(0.1, optimizer="sgd")
    with pytest.raises(SettingError, match="schedule is 'linear'; known are cosine, restarts, onecycle, plateau"):
        Optimization(0.1, schedule="linear")
