"""Reported figures, on 8-bit RGB: PSNR over all channels, SSIM as Wang et al. 2004 (gaussian window), MS-SSIM as Wang,
Simoncelli and Bovik 2003. PSNR and SSIM are scikit-image's.

PSNR of equal images is reported as 100 dB, a number that can be averaged and stored, and of what differs as less.
"""

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import correlate1d, gaussian_filter
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

PSNR_OF_EQUAL_DB, UNEQUAL_AT_MOST_DB = 100.0, 99.9
WINDOW_PX, SIGMA_PX = 11, 1.5
SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
LUMA = np.array([0.299, 0.587, 0.114], np.float32)
"""Weights of R, G and B (BT.601)."""
C1, C2 = 0.01**2, 0.03**2
TERM_FLOOR = 1e-4
"""MS-SSIM's terms can be negative, and are raised to fractional powers."""

SsimConvention = Literal["rgb", "y", "matlab"]
Floats = NDArray[np.float32]


def psnr_db(image: NDArray[np.uint8], sharp: NDArray[np.uint8]) -> float:
    """Peak signal-to-noise ratio of two ``(H, W, 3)`` uint8 images, in dB."""
    if np.array_equal(image, sharp):
        return PSNR_OF_EQUAL_DB
    return min(UNEQUAL_AT_MOST_DB, float(peak_signal_noise_ratio(sharp, image, data_range=255)))


def ssim(image: NDArray[np.uint8], sharp: NDArray[np.uint8], convention: SsimConvention = "rgb") -> float:
    """Structural similarity of two ``(H, W, 3)`` uint8 images (both sides at least 11 px).

    Windows are Gaussians of sigma 1.5 and 11 px a side, variances those of the population, the range is 255: Wang's
    ``ssim_index.m``. The automatic downsampling of his later ``ssim.m`` is not applied.

    Args:
        image: what is compared.
        sharp: with what.
        convention: papers give it different planes. ``rgb``: each channel, and the mean of the three, windows wholly
            inside. ``y``: the same on luma as BT.601 codes it, 16 to 235, not rounded. ``matlab``: MATLAB's ``ssim``
            of the colour image taken as a volume, as ``evaluate_GOPRO_HIDE.m`` of the GoPro tables calls it (to our
            knowledge): windows reach over the channels, too, and borders are replicated.
    """
    if convention == "matlab":
        return _ssim_of_volume(image, sharp)
    planes = [sharp, image] if convention == "rgb" else [_luma_codes(rgb) for rgb in (sharp, image)]
    value = structural_similarity(
        *planes,
        data_range=255,
        channel_axis=2 if convention == "rgb" else None,
        gaussian_weights=True,
        sigma=SIGMA_PX,
        use_sample_covariance=False,
    )
    return float(value)


def _luma_codes(rgb: NDArray[np.uint8]) -> NDArray[np.float64]:
    """``(H, W)``, 16 to 235."""
    from skimage.color import rgb2ycbcr  # takes a quarter of a second to load, and few ask for it

    return np.asarray(rgb2ycbcr(rgb)[..., 0])


def _ssim_of_volume(image: NDArray[np.uint8], sharp: NDArray[np.uint8]) -> float:
    a, b = image.astype(np.float64), sharp.astype(np.float64)
    filtered = [
        gaussian_filter(x, SIGMA_PX, mode="nearest", radius=WINDOW_PX // 2) for x in (a, b, a * a, b * b, a * b)
    ]
    mean_a, mean_b, aa, bb, ab = filtered
    c1, c2 = C1 * 255**2, C2 * 255**2
    means, squares = mean_a * mean_b, mean_a**2 + mean_b**2
    return float(((2 * means + c1) * (2 * (ab - means) + c2) / ((squares + c1) * (aa + bb - squares + c2))).mean())


def ms_ssim(image: NDArray[np.uint8], sharp: NDArray[np.uint8]) -> float:
    """Multi-scale SSIM of two ``(H, W, 3)`` uint8 images, over as many scales as fit: the same as ``losses.ms_ssim``.

    Raises:
        ValueError: a side below 11 px.
    """
    scales = scales_that_fit(min(sharp.shape[:2]))
    a, b = (x.astype(np.float32) / np.float32(255) for x in (image, sharp))
    product = np.ones(a.shape[2])
    for scale, weight in enumerate(weights_of(scales)):
        if scale:
            a, b = _halved(a), _halved(b)
        mean_a, mean_b, aa, bb, ab = (_filtered(x) for x in (a, b, a * a, b * b, a * b))
        means, squares = mean_a * mean_b, mean_a**2 + mean_b**2
        term = (2 * (ab - means) + C2) / (aa + bb - squares + C2)
        if scale == scales - 1:
            term = term * (2 * means + C1) / (squares + C1)
        product *= np.maximum(term.mean(axis=(0, 1)), TERM_FLOOR) ** weight
    return float(product.mean())


def gradient_ratio(image: NDArray[np.uint8], sharp: NDArray[np.uint8]) -> float:
    """Mean gradient of a ``(H, W, 3)`` uint8 image over that of its reference: below 1 it is softer, above 1 harder.

    1 where the reference has none.
    """
    mean, reference = (_mean_gradient(x) for x in (image, sharp))
    return mean / reference if reference else 1.0


def _mean_gradient(rgb: NDArray[np.uint8]) -> float:
    grey = rgb.mean(axis=2, dtype=np.float32)
    return float(np.hypot(np.diff(grey, axis=0)[:, :-1], np.diff(grey, axis=1)[:-1]).mean())


def scales_that_fit(side_px: int) -> int:
    """How many MS-SSIM scales an image with this shorter side allows: 5 above 160 px, 4 above 80, 3 above 40 ...

    Raises:
        ValueError: not even one (10 px or less).
    """
    scales = next((n for n in range(5, 0, -1) if side_px > (WINDOW_PX - 1) * 2 ** (n - 1)), None)
    if scales is None:
        raise ValueError(f"MS-SSIM needs a side of at least {WINDOW_PX} px; this one has {side_px}.")
    return scales


def weights_of(scales: int) -> list[float]:
    """The weight of each of MS-SSIM's scales: the published five, which sum to 1.0001, or fewer that sum to 1."""
    weights = SCALE_WEIGHTS[:scales]
    return [w / sum(weights) for w in weights] if scales < len(SCALE_WEIGHTS) else list(weights)


def _filtered(pixels: Floats) -> Floats:
    """``(H, W, C)`` -> the same 10 px smaller, by a Gaussian window."""
    offset = np.arange(WINDOW_PX) - WINDOW_PX // 2
    window = np.exp(-(offset**2) / (2 * SIGMA_PX**2))
    for axis in (0, 1):
        pixels = correlate1d(pixels, window / window.sum(), axis=axis)
    inside = slice(WINDOW_PX // 2, -(WINDOW_PX // 2))
    return pixels[inside, inside]


def _halved(pixels: Floats) -> Floats:
    """Means of 2x2 pixels; at an odd border, of the pixels that are there."""
    height, width, channels = pixels.shape
    even = np.pad(pixels, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    return even.reshape(-(-height // 2), 2, -(-width // 2), 2, channels).mean(axis=(1, 3), dtype=np.float32)
