"""The training loss: 0.84 x (1 - MS-SSIM) + 0.16 x Charbonnier.

MS-SSIM (Wang, Simoncelli, Bovik 2003) is computed on ``[0, 1]`` with range 1, in float32 even under autocast, on a
clamped prediction; Charbonnier sees the raw prediction, so that pixels outside the range keep a gradient. The contrast
terms can be negative and are raised to fractional powers, which gives NaN: they are floored, and so is the gradient's
size, ``w * floor ** (w - 1)``.
"""

from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional

WINDOW_PX = 11
SIGMA_PX = 1.5
SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
C1, C2 = 0.01**2, 0.03**2
LONGEST_PRODUCT_PX = 512
TERM_FLOOR = 1e-4
MS_SSIM_WEIGHT, CHARBONNIER_WEIGHT = 0.84, 0.16
CHARBONNIER_EPS = 1e-3


def scales_that_fit(side_px: int) -> int:
    """How many MS-SSIM scales an image with this shorter side allows: 5 above 160 px, 4 above 80, 3 above 40 ...

    Raises:
        ValueError: not even one (10 px or less).
    """
    scales = next((n for n in range(5, 0, -1) if side_px > (WINDOW_PX - 1) * 2 ** (n - 1)), None)
    if scales is None:
        raise ValueError(f"MS-SSIM needs a side of at least {WINDOW_PX} px; this one has {side_px}.")
    return scales


def ms_ssim(a: Tensor, b: Tensor, scales: int | None = None) -> Tensor:
    """Multi-scale SSIM of two ``(B, 3, H, W)`` float32 batches in ``[0, 1]`` -> a scalar, mean over batch and channels.

    Args:
        a: one batch.
        b: the other.
        scales: 1 to 5; None takes the most that fit. With fewer than 5 the weights are rescaled to sum to 1.
    """
    scales = scales or scales_that_fit(min(a.shape[-2:]))
    weights = torch.tensor(SCALE_WEIGHTS[:scales], device=a.device)
    if scales < len(SCALE_WEIGHTS):  # the published five sum to 1.0001 and stay as they are
        weights = weights / weights.sum()
    product = torch.ones(a.shape[:2], device=a.device)
    for scale, weight in enumerate(weights):
        if scale:
            a, b = (functional.avg_pool2d(x, 2, ceil_mode=True, count_include_pad=False) for x in (a, b))
        luminance, contrast = _ssim_terms(a, b)
        term = (luminance * contrast if scale == scales - 1 else contrast).mean(dim=(2, 3))
        product = product * term.clamp(min=TERM_FLOOR) ** weight
    return product.mean()


def charbonnier(prediction: Tensor, sharp: Tensor) -> Tensor:
    """Mean of ``sqrt(d^2 + eps^2)``, a smooth L1 (Charbonnier et al. 1994)."""
    return torch.sqrt((prediction - sharp) ** 2 + CHARBONNIER_EPS**2).mean()


def restoration_loss(prediction: Tensor, sharp: Tensor) -> Tensor:
    """The loss of a raw ``(B, 3, H, W)`` prediction against sharp pixels in ``[0, 1]`` -> a float32 scalar."""
    with torch.autocast(prediction.device.type, enabled=False):
        prediction, sharp = prediction.float(), sharp.float()
        structure = 1 - ms_ssim(prediction.clamp(0, 1), sharp)
        return MS_SSIM_WEIGHT * structure + CHARBONNIER_WEIGHT * charbonnier(prediction, sharp)


def _ssim_terms(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """SSIM's luminance and contrast-structure maps; all five moments are filtered at once."""
    moments = torch.cat([a, b, a * a, b * b, a * b], dim=1)
    mean_a, mean_b, aa, bb, ab = _filtered(moments).chunk(5, dim=1)
    product, squares = mean_a * mean_b, mean_a**2 + mean_b**2
    luminance = (2 * product + C1) / (squares + C1)
    contrast = (2 * (ab - product) + C2) / (aa + bb - squares + C2)
    return luminance, contrast


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
