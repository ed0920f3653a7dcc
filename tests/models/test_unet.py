"""DeblurUNet: what residual means, and gradients everywhere."""

import pytest
import torch

from deblur.errors import ModelError
from deblur.models import architecture_in, build
from deblur.models.fast_unet import FastUNet
from deblur.models.unet import DeblurUNet


def test_untrained_and_residual_it_returns_its_input() -> None:
    blurry = torch.rand(2, 3, 32, 48)
    assert torch.allclose(DeblurUNet(8, residual=True)(blurry), blurry, atol=1e-6)
    assert not torch.allclose(DeblurUNet(8)(blurry), blurry, atol=1e-2)


def test_the_output_is_not_clamped() -> None:
    network = DeblurUNet(8, residual=True)
    torch.nn.init.constant_(network.head.bias, 1.0)
    assert network(torch.ones(1, 3, 16, 16)).max().item() == pytest.approx(1.5)


def test_every_weight_gets_a_gradient() -> None:
    network = DeblurUNet(8)
    network(torch.rand(1, 3, 32, 32)).square().mean().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())


def test_an_unknown_name_is_answered_with_those_that_are_known() -> None:
    with pytest.raises(ModelError, match="DeblurUNet"):
        build({"name": "Transformer"})


@pytest.mark.parametrize("network", [DeblurUNet(8, residual=True, frozen=True), DeblurUNet(16), FastUNet(8, blocks=2)])
def test_it_is_found_among_a_runs_settings(network: DeblurUNet | FastUNet) -> None:
    arguments = dict(network.architecture)
    settings = {"residual": False, "batch_size": 8, "network": arguments.pop("name"), **arguments}
    assert architecture_in(settings) == network.architecture
    assert architecture_in({"network": "DeblurUNet", "width": 8}) == {"name": "DeblurUNet", "width": 8}
