"""One kernel for a whole picture.

Apart from ``light``, which every training imports: scipy's convolution takes a third of a second to load.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.signal import oaconvolve

from deblur.images import Pixels
from deblur.synthesis.light import to_linear, to_srgb


def blur(sharp: Pixels, kernel: NDArray[np.float32]) -> Pixels:
    """Convolve ``(H, W, 3)`` sRGB with a ``(k, k)`` kernel in linear light -> ``(H - k + 1, W - k + 1, 3)`` sRGB.

    Only pixels whose whole neighbourhood is real are returned; no border is made up.
    """
    return to_srgb(oaconvolve(to_linear(sharp), kernel[..., None], mode="valid", axes=(0, 1)))
