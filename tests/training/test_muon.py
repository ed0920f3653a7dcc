"""Muon: steps of one length in all directions for wide layers, AdamW for the rest, the same bits after a stop."""

import io

import pytest
import torch
from torch import Tensor
from torch.nn import Conv2d, Parameter

from deblur.training.muon import Muon, orthogonal


def moved(optimizer: torch.optim.Optimizer, parameters: list[Parameter], steps: range) -> None:
    for step in steps:
        numbers = torch.Generator().manual_seed(step)
        for parameter in parameters:
            parameter.grad = torch.randn(parameter.shape, generator=numbers)
        optimizer.step()


@pytest.mark.parametrize("shape", [(32, 288), (96, 32), (48, 96)])
def test_all_directions_become_about_as_long(shape: tuple[int, int]) -> None:
    numbers = torch.Generator().manual_seed(1)
    low_rank = torch.randn(shape[0], 4, generator=numbers) @ torch.randn(4, shape[1], generator=numbers)
    given = low_rank + 0.3 * torch.randn(shape, generator=numbers)
    before, after = (torch.linalg.svdvals(each) for each in (given, orthogonal(given)))
    assert before.max() > 10 * before.min()
    assert 0.5 < after.min() <= after.max() < 1.3


def test_a_step_is_as_long_as_one_of_adam_whatever_the_gradients_scale() -> None:
    lengths: list[Tensor] = []
    for scale in (1e-6, 1.0, 1e3):
        weight = Parameter(torch.zeros(64, 32, 3, 3))
        optimizer = Muon([weight], lr=1e-3)
        weight.grad = scale * torch.randn(weight.shape, generator=torch.Generator().manual_seed(2))
        optimizer.step()
        lengths.append(weight.detach().square().mean().sqrt())
    assert torch.stack(lengths) == pytest.approx(torch.full((3,), 2e-4), rel=0.2)


@pytest.mark.parametrize("shape", [(5,), (31, 64, 3, 3), (64, 1, 3, 3)])
def test_what_is_narrow_is_moved_as_adamw_does(shape: tuple[int, ...]) -> None:
    ours, theirs = (Parameter(torch.ones(shape)) for _ in range(2))
    moved(Muon([ours], lr=0.01, weight_decay=0.1), [ours], range(5))
    moved(torch.optim.AdamW([theirs], lr=0.01, weight_decay=0.1), [theirs], range(5))
    assert torch.allclose(ours, theirs, atol=1e-6)


def test_a_stop_changes_no_bit() -> None:
    whole, begun = (Conv2d(32, 32, 3) for _ in range(2))
    begun.load_state_dict(whole.state_dict())
    moved(Muon(whole.parameters(), lr=0.01, weight_decay=0.1), list(whole.parameters()), range(6))
    first, saved = Muon(begun.parameters(), lr=0.01, weight_decay=0.1), io.BytesIO()
    moved(first, list(begun.parameters()), range(4))
    torch.save(first.state_dict(), saved)
    saved.seek(0)
    resumed = Muon(begun.parameters(), lr=1.0)
    resumed.load_state_dict(torch.load(saved, weights_only=True))
    moved(resumed, list(begun.parameters()), range(4, 6))
    assert torch.equal(whole.weight, begun.weight)
    assert torch.equal(whole.bias, begun.bias)  # type: ignore[arg-type]
