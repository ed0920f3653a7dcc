"""Frozen statistics: on the crop they were taken from nothing changes, and elsewhere the tile is forgotten."""

import numpy as np
import torch

from deblur.inference.restorer import Restorer
from deblur.inference.tiling import Tiling
from deblur.models import build
from deblur.models.engine import TorchEngine
from deblur.models.unet import DeblurUNet
from tests.models.reach import measured_reach


def trained_looking() -> DeblurUNet:
    """Plain, with scales and shifts that are not those of a fresh network."""
    torch.manual_seed(0)
    network = DeblurUNet(8).eval()
    for parameter in network.parameters():
        if parameter.dim() == 1:
            torch.nn.init.normal_(parameter, 0.5, 0.2)
    return network


def test_over_one_crop_it_computes_what_the_network_did() -> None:
    network, crop = trained_looking(), torch.rand(1, 3, 64, 48)
    before = {name: weight.clone() for name, weight in network.state_dict().items()}
    frozen = network.frozen_over([crop])
    with torch.no_grad():
        assert torch.allclose(frozen(crop), network(crop), atol=1e-4)
        assert not torch.allclose(frozen(crop / 3), network(crop / 3), atol=1e-2)
    assert all(torch.equal(network.state_dict()[name], weight) for name, weight in before.items())
    assert not any(isinstance(module, torch.nn.GroupNorm) for module in frozen.modules())


def test_statistics_are_means_over_all_crops() -> None:
    network, crops = trained_looking(), torch.rand(6, 3, 32, 32) * torch.linspace(0.2, 1, 6)[:, None, None, None]
    together, apart = network.frozen_over([crops]), network.frozen_over([crops[:4], crops[4:]])
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(together.parameters(), apart.parameters(), strict=True))


def test_it_is_made_again_from_what_is_saved() -> None:
    frozen = trained_looking().frozen_over([torch.rand(2, 3, 32, 32)])
    again = build(frozen.architecture)
    again.load_state_dict(frozen.state_dict())
    crop = torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(again(crop), frozen(crop))


def test_the_tile_no_longer_matters() -> None:
    """Left bright, right dark: GroupNorm sees another half in each tile, frozen statistics do not."""
    network = trained_looking()
    image = np.random.default_rng(0).random((64, 512, 3), dtype=np.float32)
    image[:, 256:] *= 0.2
    frozen = network.frozen_over([torch.from_numpy(image.transpose(2, 0, 1)[None].copy())])

    def change(model: DeblurUNet) -> float:
        engine, rule = TorchEngine(model), model.size_rule
        whole = Restorer(engine, Tiling(512, 0, rule, fitted=False))(image)
        tiled = Restorer(engine, Tiling(256, 128, rule, fitted=False))(image)
        return float(np.abs(whole - tiled).mean())

    assert change(frozen) < change(network) / 10


def test_frozen_it_sees_as_far_as_it_says_and_no_farther() -> None:
    torch.manual_seed(0)
    network = DeblurUNet(8, frozen=True)
    assert network.reach_px is not None
    assert 0.8 * network.reach_px <= measured_reach(network) <= network.reach_px


def test_what_is_true_of_it_before_and_after() -> None:
    network = trained_looking()
    frozen = network.frozen_over([torch.rand(2, 3, 32, 32)])
    assert (network.has_statistics, network.can_freeze, network.reach_px) == (True, True, None)
    assert (frozen.has_statistics, frozen.can_freeze, frozen.halo_px) == (False, False, 0)
