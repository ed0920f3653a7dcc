"""Optimizer and schedule by name."""

import pytest
import torch

from deblur.errors import SettingError
from deblur.training.optimization import Optimization


@pytest.mark.parametrize(("schedule", "last", "anneals"), [("cosine", 1e-6, True), ("constant", 0.1, False)])
@pytest.mark.parametrize("optimizer", ["adamw", "adam"])
def test_a_run_of_steps(optimizer: str, schedule: str, last: float, anneals: bool) -> None:
    weight = torch.nn.Parameter(torch.ones(3))
    optimization = Optimization(0.1, optimizer=optimizer, schedule=schedule)
    moved = optimization.optimizer_of([weight])
    rates = optimization.schedule_of(moved, 8)
    for _ in range(8):
        weight.grad = weight.detach().clone()
        moved.step()
        rates.step()
    assert moved.param_groups[0]["lr"] == pytest.approx(last)
    assert type(moved).__name__.lower() == optimizer
    assert optimization.anneals == anneals
    assert float(weight.detach().max()) < 1


def test_an_unknown_name_is_refused_with_those_that_are_known() -> None:
    with pytest.raises(SettingError, match="optimizer is 'sgd'; known are adamw, adam"):
        Optimization(0.1, optimizer="sgd")
    with pytest.raises(SettingError, match="schedule is 'onecycle'; known are cosine, constant"):
        Optimization(0.1, schedule="onecycle")
