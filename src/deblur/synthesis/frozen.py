"""Kernels that never change, by number: the same blur for every model, today and in a year.

They are committed as data (``frozen_kernels.npz``), so that a change of ``kernels.py`` changes none of them;
``experiments/frozen_kernels.py`` once made them. They grow in strength, and no kernel moves the picture.
"""

from functools import cache
from importlib import resources

import numpy as np
from numpy.typing import NDArray

from deblur.errors import SettingError
from deblur.images import Rgb8, from_rgb8, to_rgb8
from deblur.synthesis.uniform import blur

FILE = "frozen_kernels.npz"


@cache
def frozen_kernels() -> dict[str, NDArray[np.float32]]:
    """What each kernel is, such as "shake, 9 px", and its weights ``(k, k)``, read-only, in the order of the numbers.

    k is odd; weights are not negative, sum to 1 and have their centre of mass in the middle.
    """
    with (resources.files("deblur.synthesis") / FILE).open("rb") as stream, np.load(stream, allow_pickle=False) as file:
        kernels = dict(file.items())
    for kernel in kernels.values():
        kernel.setflags(write=False)
    return kernels


def frozen_kernel(number: int) -> NDArray[np.float32]:
    """``(k, k)`` weights of kernel ``number``.

    Raises:
        SettingError: there is no such kernel.
    """
    kernels = list(frozen_kernels().values())
    if not 0 <= number < len(kernels):
        raise SettingError(f"kernel is {number}; there are {len(kernels)}, numbered 0 to {len(kernels) - 1}.")
    return kernels[number]


def degraded(sharp: Rgb8, kernel: int | None, noise_levels: float = 0.0, seed: int = 0) -> Rgb8:
    """A picture blurred by a frozen kernel and made noisy, of the same size; the same arguments give the same picture.

    Args:
        sharp: ``(H, W, 3)`` uint8.
        kernel: its number; None does not blur. The blur is in linear light, the picture is reflected at its borders.
        noise_levels: standard deviation of Gaussian noise on the sRGB codes, in levels of 255; each colour has its own.
        seed: of the noise.

    Raises:
        SettingError: no such kernel, or noise that is negative or not a number.
    """
    if not 0 <= noise_levels < np.inf:
        raise SettingError(f"noise is {noise_levels:g}; give 0 or more levels of 255.")
    pixels = from_rgb8(sharp)
    if kernel is not None:
        weights = frozen_kernel(kernel)
        radius = len(weights) // 2
        pixels = blur(np.pad(pixels, ((radius, radius), (radius, radius), (0, 0)), mode="symmetric"), weights)
    if noise_levels:
        noise = np.random.default_rng(seed).standard_normal(sharp.shape, np.float32)
        pixels = pixels + np.float32(noise_levels / 255) * noise
    return to_rgb8(pixels)
