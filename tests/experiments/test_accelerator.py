"""The GPU benchmark's ways compute the same picture, here on the CPU."""

import pytest
import torch

from deblur.models import build
from experiments.accelerator import milliseconds, ways_of


@pytest.mark.parametrize("network", ["DeblurUNet", "FastUNet"])
def test_all_ways_compute_the_same_picture(network: str) -> None:
    torch.manual_seed(0)
    model = build({"name": network, "width": 8}).eval()
    torch.nn.init.normal_(model.get_parameter("head.weight"), std=0.02)
    photo = torch.randint(0, 256, (1, 64, 64, 3), dtype=torch.uint8)
    ways = ways_of(model, photo, torch.device("cpu"))
    expected = ways["float32"]()
    for name, way in ways.items():
        picture = way()
        if picture.dtype == torch.uint8:
            picture = picture.permute(0, 3, 1, 2) / 255
        assert (picture.float().clamp(0, 1) - expected.clamp(0, 1)).abs().mean() < 0.005, name  # bf16 keeps eight bits
    times = milliseconds(ways, 1, torch.device("cpu"))
    assert times.keys() == ways.keys()
    assert min(times.values()) > 0
