"""``init`` takes the word for the model that comes with the package, and refuses weights that are not numbers."""

from pathlib import Path

import pytest
import torch

from deblur.errors import ModelError
from deblur.inference.locating import bundled_model
from deblur.models.checkpoint import network_from, save_checkpoint
from deblur.training.recipe import _network
from deblur.training.settings import TrainSettings
from tests.models.small import small


@pytest.mark.skipif(bundled_model() is None, reason="no model comes with this installation")
def test_the_bundled_weights_are_a_beginning_wherever_the_package_lies() -> None:
    settings = TrainSettings().but(train_data=("leaves",), init="bundled").resolved()
    assert settings.network.init == "bundled"
    network, wanted = _network(settings), network_from(bundled_model())
    assert network.architecture == wanted.architecture
    state = wanted.state_dict()
    assert all(torch.equal(weights, state[name]) for name, weights in network.state_dict().items())


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_numbers_are_refused_by_name(value: float, tmp_path: Path) -> None:
    file, network = tmp_path / "exploded.pth", small("StackedConv")
    with torch.no_grad():
        network.get_parameter("head.weight")[0, 0, 0, 0] = value
    save_checkpoint(file, {"architecture": network.architecture, "model_state_dict": network.state_dict()})
    settings = TrainSettings().but(train_data=("leaves",), init=str(file)).resolved()
    with pytest.raises(ModelError, match=r"exploded\.pth holds weights that are not numbers \(head\.weight\)"):
        _network(settings)
