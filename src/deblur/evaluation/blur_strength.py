"""How strong the blur of a pair is: the Gaussian that takes as much gradient energy from the sharp picture.

By Parseval, a picture's gradient energy is the sum of ``|F|^2 |omega|^2`` over its spectrum F, and a Gaussian of sigma
leaves ``exp(-sigma^2 |omega|^2)`` of each term. A displacement changes the phase of F only, so it hardly counts.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import fft

MOST_PX, CLOSE_PX = 20.0, 1e-3
LUMA = np.array([299.0, 587.0, 114.0])
"""In thousandths: whole numbers, so that what is flat has no energy at all."""


def blur_sigma_px(blurry: NDArray[np.uint8], sharp: NDArray[np.uint8]) -> float:
    """The sigma in px, 0 to 20, of that Gaussian, by bisection; 0 where the blurry picture has as much energy or more.

    Both are ``(H, W, 3)`` uint8.
    """
    omega2 = sum(np.meshgrid(*((2 * np.pi * fft.fftfreq(side)) ** 2 for side in sharp.shape[:2]), indexing="ij"))
    left, energy = (_power(image) * omega2 for image in (blurry, sharp))
    if left.sum() >= energy.sum():
        return 0.0
    low, high = 0.0, MOST_PX
    while high - low > CLOSE_PX:
        middle = (low + high) / 2
        too_weak = (energy * np.exp(-(middle**2) * omega2)).sum() > left.sum()
        low, high = (middle, high) if too_weak else (low, middle)
    return high


def _power(image: NDArray[np.uint8]) -> NDArray[np.float64]:
    """The spectrum's power of luma under a Hann window, which takes the borders away."""
    luma = image @ LUMA
    rows, columns = (np.hanning(side + 2)[1:-1] for side in luma.shape)
    return np.abs(fft.fft2((luma - luma.mean()) * np.outer(rows, columns))) ** 2
