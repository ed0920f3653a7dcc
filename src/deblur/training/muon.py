"""Muon: the momentum of a layer's weights becomes a step in which all directions are about as long.

Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural networks"; the length of a step is Adam's (Liu et
al. 2025, "Muon is scalable for LLM training"), so learning rates are as for AdamW.
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter
from torch.optim import Optimizer

MOMENTUM, BETAS, EPSILON = 0.95, (0.9, 0.999), 1e-8
CHANNELS = 32
"""A layer with fewer, in or out, has few directions, and is moved as AdamW does; so are biases and scales."""
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
LIKE_ADAM = 0.2
"""Of the square root of a matrix's longer side: the mean square of Adam's steps, about."""


class Muon(Optimizer):
    """Muon for layers of at least 32 channels in and out, AdamW for all other parameters.

    Args:
        parameters: to be moved.
        lr: the learning rate, as for AdamW.
        weight_decay: taken off with each step, times the learning rate.
        fused: asked of torch's own optimizers; means nothing here.
    """

    def __init__(
        self, parameters: Iterable[Parameter], lr: float, weight_decay: float = 0.0, fused: bool = False
    ) -> None:
        super().__init__(parameters, {"lr": lr, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Move every parameter that has a gradient."""
        assert closure is None
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                is_wide = parameter.dim() > 1 and min(parameter.shape[:2]) >= CHANNELS
                made = (_muon_step if is_wide else _adam_step)(self.state[parameter], parameter.grad)
                parameter.mul_(1 - group["lr"] * group["weight_decay"]).add_(made, alpha=-group["lr"])


def _muon_step(state: dict[str, Any], gradient: Tensor) -> Tensor:
    if not state:
        state["momentum"] = torch.zeros_like(gradient)
    momentum: Tensor = state["momentum"]
    momentum.lerp_(gradient, 1 - MOMENTUM)
    matrix = gradient.lerp(momentum, MOMENTUM).flatten(1)
    return LIKE_ADAM * max(matrix.shape) ** 0.5 * orthogonal(matrix).view_as(gradient)


def _adam_step(state: dict[str, Any], gradient: Tensor) -> Tensor:
    if not state:
        state.update(first=torch.zeros_like(gradient), second=torch.zeros_like(gradient), steps=0)
    state["steps"] += 1
    first, second, steps = state["first"], state["second"], state["steps"]
    first.lerp_(gradient, 1 - BETAS[0])
    second.lerp_(gradient.square(), 1 - BETAS[1])
    made: Tensor = first / (1 - BETAS[0] ** steps) / ((second / (1 - BETAS[1] ** steps)).sqrt() + EPSILON)
    return made


def orthogonal(matrix: Tensor, iterations: int = 5) -> Tensor:
    """``(m, n)`` -> the same float32 matrix with singular values of about 1 (0.7 to 1.2), by products in bf16."""
    a, b, c = NEWTON_SCHULZ
    tall = len(matrix) > matrix.shape[1]
    x = matrix.T.bfloat16() if tall else matrix.bfloat16()
    x = x / (x.norm() + 1e-7)
    for _ in range(iterations):
        square = x @ x.T
        x = a * x + (b * square + c * square @ square) @ x
    return (x.T if tall else x).float()
