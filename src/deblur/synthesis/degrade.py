"""Blur sharp pixels as a camera does: the sensor adds up light, so the blur happens before the gamma curve."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.signal import oaconvolve

from deblur.images import Pixels


def to_linear(srgb: Pixels) -> Pixels:
    """sRGB in ``[0, 1]`` -> linear light (IEC 61966-2-1)."""
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4).astype(np.float32)


def to_srgb(linear: Pixels) -> Pixels:
    """Linear light in ``[0, 1]`` -> sRGB, the inverse of :func:`to_linear`."""
    linear = np.clip(linear, 0.0, 1.0)
    return np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055).astype(np.float32)


def blur(sharp: Pixels, kernel: NDArray[np.float32]) -> Pixels:
    """Convolve ``(H, W, 3)`` sRGB with a ``(k, k)`` kernel in linear light -> ``(H - k + 1, W - k + 1, 3)`` sRGB.

    Only pixels whose whole neighbourhood is real are returned; no border is made up.
    """
    return to_srgb(oaconvolve(to_linear(sharp), kernel[..., None], mode="valid", axes=(0, 1)))


def enlarge(rgb: NDArray[np.uint8], side_px: int) -> NDArray[np.uint8]:
    """Resize ``(h, w, 3)`` uint8 to a square: makes soft content, which the network must learn to leave soft."""
    return np.asarray(Image.fromarray(rgb).resize((side_px, side_px), Image.Resampling.BICUBIC))


def shrink(rgb: NDArray[np.uint8], side_px: int) -> NDArray[np.uint8]:
    """Scale ``(h, w, 3)`` uint8 down until its longer side is at most ``side_px``; smaller images stay as they are."""
    image = Image.fromarray(rgb)
    image.thumbnail((side_px, side_px), Image.Resampling.LANCZOS)
    return np.asarray(image)
