"""From codes to light and back: a sensor adds up light, a file holds codes, a curve lies between.

Every curve has sRGB's form, then an S-shaped tone curve of some strength (smoothstep, as Brooks et al.,
"Unprocessing images for learned raw denoising", CVPR 2019, take for a camera's). A power of 1 is no curve: blur on
encoded values, as the GoPro benchmark's ``blur`` was averaged.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deblur.images import Pixels

CODES: Pixels = np.linspace(0, 1, 256, dtype=np.float32)
OFFSET = 0.055
HIGHLIGHT_KNEE = 0.96
"""Codes above this may have been clipped by the camera."""


def to_linear(srgb: Pixels) -> Pixels:
    """sRGB in ``[0, 1]`` -> linear light (IEC 61966-2-1)."""
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4).astype(np.float32)


def to_srgb(linear: Pixels) -> Pixels:
    """Linear light in ``[0, 1]`` -> sRGB, the inverse of :func:`to_linear`."""
    linear = np.clip(linear, 0.0, 1.0)
    return np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055).astype(np.float32)


@dataclass(frozen=True)
class Curve:
    """A camera's response, rising from (0, 0) to (1, 1).

    Args:
        power: sRGB's form with another exponent: straight near black, where a pure power law would be infinitely steep,
            then ``1.055 * light ** (1 / power) - 0.055``. 2.4 is sRGB (to a hundredth of a code), 1 is no curve.
        contrast: share, below 1, of an S-shaped tone curve that follows.
    """

    power: float = 2.4
    contrast: float = 0.0

    @property
    def toe(self) -> tuple[float, float]:
        """Where the straight part ends, in codes, and its slope: both parts have one slope there."""
        if self.power == 1:
            return 1.0, 1.0
        rest = self.power - 1
        return OFFSET / rest, (1 + OFFSET) ** self.power * rest**rest / (OFFSET**rest * self.power**self.power)

    def encode(self, light: Pixels) -> Pixels:
        """Light in ``[0, 1]`` -> codes in ``[0, 1]``; light above or below is clipped."""
        light, (end, slope) = np.clip(light, 0.0, 1.0), self.toe
        if self.power != 1:
            bent = (1 + OFFSET) * light ** np.float32(1 / self.power) - OFFSET
            light = np.where(light * slope <= end, light * slope, bent)
        return self._tone(light) if self.contrast else light

    def decode(self, codes: Pixels) -> Pixels:
        """Codes in ``[0, 1]`` -> light, the inverse of :meth:`encode` (the tone curve's by Newton's method)."""
        plain, (end, slope) = codes.astype(np.float64), self.toe
        for _ in range(8 if self.contrast else 0):
            rise = 1 - self.contrast + self.contrast * 6 * plain * (1 - plain)
            plain = np.clip(plain - (self._tone(plain) - codes) / rise, 0, 1)
        light = np.where(plain <= end, plain / slope, ((plain + OFFSET) / (1 + OFFSET)) ** self.power)
        return light.astype(np.float32)

    def _tone(self, codes: NDArray[np.floating]) -> Pixels:
        return (1 - self.contrast) * codes + self.contrast * codes * codes * (3 - 2 * codes)


SRGB, ENCODED = Curve(), Curve(power=1)


def light_table(curve: Curve, gain: float = 1.0, highlights: float = 1.0) -> Pixels:
    """The light of each of the 256 codes, ``(256,)``, where white has ``gain * highlights``.

    A clipped highlight was brighter than white, nobody knows by how much: codes above the knee rise smoothly to
    ``highlights`` times their light (Hu et al., CVPR 2014; Rim et al., "Realistic blur synthesis for learning image
    deblurring", ECCV 2022).
    """
    t = np.clip((CODES - HIGHLIGHT_KNEE) / (1 - HIGHLIGHT_KNEE), 0, 1)
    return (curve.decode(CODES) * gain * (1 + (highlights - 1) * t * t * (3 - 2 * t))).astype(np.float32)


def brightened(curve: Curve, gain: float, highlights: float) -> NDArray[np.uint8]:
    """The code that each of the 256 codes becomes in that light, without blur."""
    return np.rint(curve.encode(light_table(curve, gain, highlights)) * 255).astype(np.uint8)
