"""What a step promises, kept by every architecture; and the two that are excepted from one promise, by name."""

from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from deblur.data.batches import Batch
from deblur.losses.objective import Objective
from deblur.models import build
from deblur.training.optimization import Optimization
from deblur.training.state import TrainingState
from tests.models.small import SMALL, small
from tests.training.test_step import batch_of, gradients, relative, step

EXCEPTED = ("EcaUNet", "Msafn")
"""Batch normalisation, stochastic depth: gradients of micro-batches are not those of the batch."""
small_batch = partial(batch_of, side_px=32)


def new_state(name: str, ema_decay: float = 0.999) -> TrainingState:
    optimization = Optimization(learning_rate=1e-3, clip_norm=1e9, ema_decay=ema_decay)
    return TrainingState(small(name), Objective({"charbonnier": 1.0}), optimization, 100, torch.device("cpu"))


@pytest.mark.parametrize("name", SMALL)
def test_micro_batches_give_the_gradients_of_the_whole_batch_but_for_two(name: str) -> None:
    batch, whole, parts = small_batch(4), new_state(name), new_state(name)
    step(whole, batch)
    step(parts, *map(Batch, batch.blurry.chunk(2), batch.sharp.chunk(2)))
    apart = relative(gradients(parts), gradients(whole))
    assert apart > 1e-3 if name in EXCEPTED else apart < 1e-5


@pytest.mark.parametrize("name", EXCEPTED)
@pytest.mark.parametrize("where", [0, 1])
def test_a_step_that_is_not_finite_changes_nothing_also_no_buffer(name: str, where: int) -> None:
    state = new_state(name)
    step(state, small_batch(2))
    before = {part: _copied(state.state_dict()[part]) for part in ("model_state_dict", "ema_state_dict")}
    batches = [small_batch(2, 1), small_batch(2, 2)]
    batches[where].blurry[0, 0, 0, 0] = float("nan")
    assert not step(state, *batches).finite
    for part, values in before.items():
        assert all(torch.equal(values[key], value) for key, value in state.state_dict()[part].items()), part
    assert step(state, small_batch(2)).finite


def test_statistics_are_averaged_as_the_weights_are() -> None:
    state, key = new_state("EcaUNet", ema_decay=0.25), "body.encoder.0.1.running_mean"
    averaged = None
    for seed in range(3):
        step(state, small_batch(2, seed))
        current = state.network.state_dict()[key].clone()
        decay = min(0.25, (1 + seed) / (10 + seed))
        averaged = current if averaged is None else decay * averaged + (1 - decay) * current
        assert torch.allclose(state.served.state_dict()[key], averaged, atol=1e-7)
    assert not torch.equal(state.served.state_dict()[key], state.network.state_dict()[key])


@pytest.mark.parametrize("name", EXCEPTED)
def test_a_loaded_state_goes_on_to_the_bit(name: str) -> None:
    state = new_state(name)
    step(state, small_batch(2))
    saved = {key: _copied(value) for key, value in state.state_dict().items()}
    step(state, small_batch(2, 1))
    again = new_state(name)
    torch.manual_seed(99)
    again.load_state_dict(saved)
    step(again, small_batch(2, 1))
    for part in ("model_state_dict", "ema_state_dict"):
        wanted = state.state_dict()[part]
        assert all(torch.equal(wanted[key], value) for key, value in again.state_dict()[part].items())


def test_nafnet_has_stochastic_depth_where_it_is_asked_for() -> None:
    """Of the same seed: no other weights, no other output when serving, other samples skipped in every step."""
    options, x = SMALL["NAFNet"], torch.rand(8, 3, 16, 16)
    torch.manual_seed(0)
    usual = build({"name": "NAFNet", **options})
    torch.manual_seed(0)
    network = build({"name": "NAFNet", **options, "drop": 0.5})
    for each in (usual, network):
        for name, weight in each.named_parameters():
            if name.endswith(("beta", "gamma")):
                torch.nn.init.constant_(weight, 0.5)
    with torch.no_grad():
        assert torch.equal(network.eval()(x), usual(x))
        block, features = network.train().encoders[0][0], torch.rand(64, 4, 8, 8)  # type: ignore[index,union-attr]
        skipped = (block(features) == features).all(dim=3).all(dim=2).all(dim=1)
        assert 16 < int(skipped.sum()) < 48
        assert not torch.equal(network(x), network(x))


def test_stochastic_depth_keeps_the_mean_and_is_off_when_serving() -> None:
    network, blurry = small("Msafn"), torch.rand(1, 3, 16, 16)
    block = network.pathways[0].blocks[0]  # type: ignore[index,union-attr]
    x = torch.randn(1, 8, 4, 4)
    with torch.no_grad():
        whole = block.eval()(x) - x
        block.train()
        drawn = torch.stack([block(x) - x for _ in range(200)])
        kept = drawn.abs().sum((1, 2, 3, 4)) > 0
        assert 60 < int(kept.sum()) < 140
        assert torch.allclose(drawn[kept], (2 * whole).expand_as(drawn[kept]), atol=1e-6)
        assert torch.equal(network.eval()(blurry), network(blurry))


def _copied(values: Any) -> Any:
    if isinstance(values, Tensor):
        return values.clone()
    if isinstance(values, dict):
        return {key: _copied(value) for key, value in values.items()}
    return [_copied(value) for value in values] if isinstance(values, list) else values
