"""MS-SSIM (Wang, Simoncelli, Bovik 2003) and SSIM as terms of the objective.

Pixels are in ``[0, 1]`` and the range is 1. The contrast terms can be negative and are raised to fractional powers,
which gives NaN: they are floored, and so is the gradient's size, ``w * floor ** (w - 1)``.
"""

from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional

from deblur.metrics import C1, C2, SCALE_WEIGHTS, SIGMA_PX, TERM_FLOOR, WINDOW_PX, scales_that_fit

LONGEST_PRODUCT_PX = 512


def ms_ssim_loss(prediction: Tensor, wanted: Tensor) -> Tensor:
    """``1 - MS-SSIM`` of the clamped prediction, ``(B, 3, H, W)`` float32 -> a scalar, 0 where they are equal.

    Over as many of the five scales as fit; the weights of fewer are rescaled to sum to 1.
    """
    a, b = prediction.clamp(0, 1), wanted
    scales = scales_that_fit(min(a.shape[-2:]))
    weights = torch.tensor(SCALE_WEIGHTS[:scales], device=a.device)
    if scales < len(SCALE_WEIGHTS):  # the published five sum to 1.0001 and stay as they are
        weights = weights / weights.sum()
    product = torch.ones(a.shape[:2], device=a.device)
    for scale, weight in enumerate(weights):
        if scale:
            a, b = (functional.avg_pool2d(x, 2, ceil_mode=True, count_include_pad=False) for x in (a, b))
        term = _ssim_map(a, b, luminance=scale == scales - 1).mean(dim=(2, 3))
        product = product * term.clamp(min=TERM_FLOOR) ** weight
    return (1 - product).mean()  # a mean near 1 is rounded more coarsely


def ssim_loss(prediction: Tensor, wanted: Tensor) -> Tensor:
    """``1 - SSIM``: the same at one scale."""
    return (1 - _ssim_map(prediction.clamp(0, 1), wanted, luminance=True)).mean()


def _ssim_map(a: Tensor, b: Tensor, *, luminance: bool) -> Tensor:
    """SSIM's contrast and structure at each place, times luminance if asked.

    The two variances stand there as their sum only, so four moments will do, and what is known of b alone has no
    gradient.
    """
    a, b = a.contiguous(), b.contiguous()  # rows and columns are multiplied
    mean_a, mean_b, both, ab = (_filtered(moment) for moment in (a, b, a * a + b * b, a * b))
    product, squares = mean_a * mean_b, mean_a**2 + mean_b**2
    contrast = (2 * (ab - product) + C2) / (both - squares + C2)
    return contrast * (2 * product + C1) / (squares + C1) if luminance else contrast


def _filtered(planes: Tensor) -> Tensor:
    """``(B, C, H, W)`` -> the same 10 px smaller, by a Gaussian window.

    Crops by two matrix products, which take a GPU a fraction of the time of a depthwise convolution in float32 (and a
    CPU as long), larger images by convolutions, whose time does not grow with the side.
    """
    if max(planes.shape[-2:]) <= LONGEST_PRODUCT_PX:
        rows, columns = (_windows(side, planes.device) for side in planes.shape[-2:])
        return rows.mT @ (planes @ columns)
    channels = planes.shape[1]
    window = _windows(WINDOW_PX, planes.device).T.expand(channels, 1, 1, -1)
    return functional.conv2d(functional.conv2d(planes, window, groups=channels), window.mT, groups=channels)


@lru_cache(maxsize=64)
@torch.inference_mode(False)
def _windows(side_px: int, device: torch.device) -> Tensor:
    """A Gaussian window at each place of a line, ``(side, side - 10)``; made while scoring, it serves training, too."""
    offset = torch.arange(side_px)[:, None] - torch.arange(side_px - WINDOW_PX + 1) - WINDOW_PX // 2
    window = torch.exp(-(offset**2) / (2 * SIGMA_PX**2)) * (offset.abs() <= WINDOW_PX // 2)
    return (window / window.sum(dim=0)).to(device)
