"""``init`` takes the word for the model that comes with the package."""

import pytest
import torch

from deblur.inference.locating import bundled_model
from deblur.models.checkpoint import network_from
from deblur.training.recipe import _network
from deblur.training.settings import TrainSettings


@pytest.mark.skipif(bundled_model() is None, reason="no model comes with this installation")
def test_the_bundled_weights_are_a_beginning_wherever_the_package_lies() -> None:
    settings = TrainSettings().but(train_data=("leaves",), init="bundled").resolved()
    assert settings.network.init == "bundled"
    network, wanted = _network(settings), network_from(bundled_model())
    assert network.architecture == wanted.architecture
    state = wanted.state_dict()
    assert all(torch.equal(weights, state[name]) for name, weights in network.state_dict().items())
