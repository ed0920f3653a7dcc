"""A wider network begins as good as the one it comes from, and can use what is new."""

import pytest
import torch
from torch import nn

from deblur.errors import SettingError
from deblur.models import build
from deblur.models.network import Network
from experiments.grow import widened


def trained() -> Network:
    network = build({"name": "FastUNet", "width": 8, "blocks": 1})
    for weight in network.parameters():
        nn.init.normal_(weight, std=0.05)  # the head, too, which begins at zero
    return network


def test_the_output_is_the_same_and_what_is_new_can_be_learnt() -> None:
    torch.manual_seed(0)
    network, photo = trained(), torch.rand(1, 3, 64, 64)
    wider = widened(network, 16)
    assert wider.architecture["width"] == 16
    assert torch.allclose(wider(photo), network(photo), atol=1e-6)
    (wider(photo) - photo).square().sum().backward()
    grown = dict(wider.named_parameters())
    for name, weight in network.named_parameters():
        if weight.ndim == 4 and name != "stem.weight":  # which reads the photo alone
            from_new = (slice(len(weight)), slice(weight.shape[1], None))
            assert not grown[name][from_new].any(), name
            assert grown[name].grad[from_new].any(), name


@pytest.mark.parametrize(("name", "width"), [("FastUNet", 8), ("DeblurUNet", 16)])
def test_what_cannot_be_widened_is_refused(name: str, width: int) -> None:
    with pytest.raises(SettingError, match="A FastUNet can be widened"):
        widened(build({"name": name, "width": 8}) if name == "FastUNet" else build({"name": name}), width)
