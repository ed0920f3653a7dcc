"""GroupNorm as it is exported: the same numbers, also where the mean is far larger than what varies."""

import pytest
import torch
from torch import nn

from deblur.export.group_norm import ChannelwiseGroupNorm, channelwise
from deblur.models.unet import DeblurUNet


@pytest.mark.parametrize(("offset", "tolerance"), [(0.0, 2e-6), (3.0, 1e-5), (100.0, 3e-2)])
def test_it_is_group_norm(offset: float, tolerance: float) -> None:
    torch.manual_seed(0)
    norm = nn.GroupNorm(8, 32)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    x = torch.randn(2, 32, 21, 34) + offset
    with torch.no_grad():
        assert float((ChannelwiseGroupNorm(norm)(x) - norm(x)).abs().max()) < tolerance


def test_a_constant_image_gives_numbers() -> None:
    with torch.no_grad():
        assert bool(torch.isfinite(ChannelwiseGroupNorm(nn.GroupNorm(8, 16))(torch.full((1, 16, 8, 8), 7.3))).all())


def test_the_network_keeps_its_weights_names_and_result() -> None:
    torch.manual_seed(0)
    network = DeblurUNet(8).eval()
    written = channelwise(network)
    assert written.state_dict().keys() == network.state_dict().keys()
    assert not any(isinstance(module, nn.GroupNorm) for module in written.modules())
    x = torch.rand(1, 3, 48, 64)
    with torch.inference_mode():
        assert float((written(x) - network(x)).abs().max()) < 1e-5
