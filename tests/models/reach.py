"""How far a network sees, measured."""

import torch

from deblur.models.network import Network


def measured_reach(network: Network) -> int:
    """By the gradient of one output with respect to the input, in double precision, through branches kept open, px."""
    network = network.double().eval()
    for name, weight in network.named_parameters():
        weight.data = weight.data.abs() + 0.01 if name.endswith("weight") else torch.ones_like(weight)
    assert network.reach_px is not None
    reaches = []
    side = 2 * ((network.reach_px + 31) // 16) * 16
    for at in range(side // 2, side // 2 + 16, 5):
        blurry = torch.rand(1, 3, side, side, dtype=torch.double, requires_grad=True)
        network(blurry)[0, :, at, at].sum().backward()
        assert blurry.grad is not None
        touched = torch.nonzero(blurry.grad.abs().sum((0, 1)))
        reaches.append(int((touched - at).abs().max()))
    return max(reaches)
