"""Blur: in linear light, equal to an independent convolution, with real borders only."""

import numpy as np
import pytest
from scipy.ndimage import convolve

from deblur.images import from_rgb8
from deblur.synthesis.degrade import blur, enlarge, shrink, to_linear, to_srgb
from deblur.synthesis.kernels import shake_kernel

RNG = np.random.default_rng(3)


def test_the_gamma_curve_is_srgb_and_inverts() -> None:
    values = np.linspace(0, 1, 1001, dtype=np.float32)
    assert np.abs(to_srgb(to_linear(values)) - values).max() < 1e-5
    assert to_linear(np.float32(0.5)) == pytest.approx(0.21404, abs=1e-5)


@pytest.mark.parametrize("value", [0.0, 0.02, 0.5, 1.0])
def test_blurring_a_constant_changes_nothing(value: float) -> None:
    constant = np.full((40, 50, 3), value, np.float32)
    assert np.abs(blur(constant, shake_kernel(RNG, 9.0)) - value).max() < 1e-5


def test_it_equals_a_direct_convolution_in_linear_light() -> None:
    sharp = RNG.random((40, 45, 3), dtype=np.float32)
    kernel = shake_kernel(np.random.default_rng(8), 7.0)
    margin = kernel.shape[0] // 2
    direct = np.stack([convolve(to_linear(sharp)[..., c], kernel) for c in range(3)], axis=-1)
    expected = to_srgb(direct[margin:-margin, margin:-margin])
    assert np.abs(blur(sharp, kernel) - expected).max() < 1e-4


def test_a_white_dot_on_black_spreads_light_not_codes() -> None:
    """Two pixels that share one pixel's light show code 188, not 128."""
    dot = np.zeros((9, 9, 3), np.float32)
    dot[4, 4] = 1.0
    kernel = np.array([[0, 0, 0], [0, 0.5, 0.5], [0, 0, 0]], np.float32)
    assert blur(dot, kernel).max() * 255 == pytest.approx(188, abs=1)


def test_enlarging_and_shrinking_keep_the_picture(photos: dict) -> None:
    rgb = photos["astronaut"].pixels[:64, :64]
    again = shrink(enlarge(rgb, 128), 64)
    assert again.shape == (64, 64, 3)
    assert np.abs(from_rgb8(again) - from_rgb8(rgb)).mean() < 0.01
    assert shrink(rgb, 100) is not None
    assert shrink(rgb, 100).shape == rgb.shape
