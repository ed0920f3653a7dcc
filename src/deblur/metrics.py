"""Reported figures, by scikit-image, on 8-bit RGB: PSNR over all channels, SSIM as Wang et al. 2004 (gaussian window).

PSNR of equal images is reported as 100 dB: a number that can be averaged and stored.
"""

import numpy as np
from numpy.typing import NDArray
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

PSNR_OF_EQUAL_DB = 100.0


def psnr_db(image: NDArray[np.uint8], sharp: NDArray[np.uint8]) -> float:
    """Peak signal-to-noise ratio of two ``(H, W, 3)`` uint8 images, in dB."""
    if np.array_equal(image, sharp):
        return PSNR_OF_EQUAL_DB
    return float(peak_signal_noise_ratio(sharp, image, data_range=255))


def ssim(image: NDArray[np.uint8], sharp: NDArray[np.uint8]) -> float:
    """Structural similarity of two ``(H, W, 3)`` uint8 images (both sides at least 11 px)."""
    value = structural_similarity(
        sharp,
        image,
        data_range=255,
        channel_axis=2,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
    )
    return float(value)
