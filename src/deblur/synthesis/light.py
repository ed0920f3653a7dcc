"""From codes to light and back: a sensor adds up light, a file holds codes, a curve lies between.

Every curve is a power law or sRGB, then an S-shaped tone curve of some strength (smoothstep, as Brooks et al.,
"Unprocessing images for learned raw denoising", CVPR 2019, take for a camera's). A power of 1 is no curve: blur on
encoded values, as the GoPro benchmark's ``blur`` was averaged.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deblur.images import Pixels

CODES: Pixels = np.linspace(0, 1, 256, dtype=np.float32)
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
    """A camera's response: ``power`` (None: sRGB), then ``contrast`` (0: none, below 1) of an S-shaped tone curve."""

    power: float | None = None
    contrast: float = 0.0

    def encode(self, light: Pixels) -> Pixels:
        """Light in ``[0, 1]`` -> codes in ``[0, 1]``; light above or below is clipped."""
        if self.power is None:
            codes = to_srgb(light)
        else:
            codes = np.clip(light, 0.0, 1.0)
            codes = codes if self.power == 1 else codes ** np.float32(1 / self.power)
        return self._tone(codes) if self.contrast else codes

    def decode(self, codes: Pixels) -> Pixels:
        """Codes in ``[0, 1]`` -> light, the inverse of :meth:`encode` (the tone curve's by Newton's method)."""
        plain = codes.astype(np.float64)
        for _ in range(8 if self.contrast else 0):
            slope = 1 - self.contrast + self.contrast * 6 * plain * (1 - plain)
            plain = np.clip(plain - (self._tone(plain) - codes) / slope, 0, 1)
        return to_linear(plain.astype(np.float32)) if self.power is None else (plain**self.power).astype(np.float32)

    def _tone(self, codes: NDArray[np.floating]) -> Pixels:
        return (1 - self.contrast) * codes + self.contrast * codes * codes * (3 - 2 * codes)


SRGB, ENCODED = Curve(), Curve(power=1.0)


def light_table(curve: Curve, gain: float = 1.0, highlights: float = 1.0) -> Pixels:
    """The light of each of the 256 codes, ``(256,)``, where white has ``gain * highlights``.

    A clipped highlight was brighter than white, nobody knows by how much: codes above the knee rise smoothly to
    ``highlights`` times their light (Hu et al., CVPR 2014; Rim et al., "Realistic blur synthesis for learning image
    deblurring", ECCV 2022).
    """
    t = np.clip((CODES - HIGHLIGHT_KNEE) / (1 - HIGHLIGHT_KNEE), 0, 1)
    return (curve.decode(CODES) * gain * (1 + (highlights - 1) * t * t * (3 - 2 * t))).astype(np.float32)


def brightened(curve: Curve, gain: float) -> NDArray[np.uint8]:
    """The code that each of the 256 codes becomes under ``gain`` times the light."""
    return np.rint(curve.encode(curve.decode(CODES) * np.float32(gain)) * 255).astype(np.uint8)
