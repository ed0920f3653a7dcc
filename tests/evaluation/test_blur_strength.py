"""The strength of a blur is measured from a pair."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from deblur.data.photos import HELD_BACK, SharpPhoto, blur
from deblur.evaluation.blur_strength import blur_sigma_px
from deblur.images import from_rgb8, to_rgb8
from deblur.synthesis.kernels import line_kernel


def softened(rgb: np.ndarray, sigma: float) -> np.ndarray:
    return np.rint(gaussian_filter(rgb.astype(float), (sigma, sigma, 0))).astype(np.uint8)


@pytest.mark.parametrize("sigma", [0.7, 1.5, 3.0, 6.0])
def test_a_known_gaussian_is_measured(photos: dict[str, SharpPhoto], sigma: float) -> None:
    for name in HELD_BACK:
        sharp = photos[name].pixels
        assert blur_sigma_px(softened(sharp, sigma), sharp) == pytest.approx(sigma, rel=0.08), name


@pytest.mark.parametrize("by_px", [(3, 0), (0, -3), (2, 2)])
def test_a_displacement_hardly_counts(photos: dict[str, SharpPhoto], by_px: tuple[int, int]) -> None:
    for name in ("astronaut", "coins", "rocket"):
        sharp = photos[name].pixels
        blurry = softened(sharp, 2.0)
        there = blur_sigma_px(np.roll(blurry, by_px, (0, 1)), sharp)
        assert there == pytest.approx(blur_sigma_px(blurry, sharp), rel=0.03), name
        assert blur_sigma_px(np.roll(sharp, by_px, (0, 1)), sharp) < 0.1, name


def test_a_longer_motion_is_a_stronger_blur(photos: dict[str, SharpPhoto]) -> None:
    for name in ("astronaut", "coins", "rocket"):
        measured = [0.0]
        for length_px in (3, 6, 12, 24, 48):
            kernel = line_kernel(length_px, 0.5)
            margin = kernel.shape[0] // 2
            blurry = to_rgb8(blur(from_rgb8(photos[name].pixels), kernel))
            measured.append(blur_sigma_px(blurry, photos[name].pixels[margin:-margin, margin:-margin]))
        assert all(np.diff(measured) > 0.15), name


def test_where_nothing_was_taken_it_is_zero_and_where_all_was_it_ends(photos: dict[str, SharpPhoto]) -> None:
    sharp = photos["coffee"].pixels[:101, :150]
    noisy = np.clip(sharp + np.random.default_rng(0).normal(0, 9, sharp.shape), 0, 255).astype(np.uint8)
    light, dark = np.full_like(sharp, 201), np.full_like(sharp, 7)
    assert [blur_sigma_px(a, b) for a, b in ((sharp, sharp), (noisy, sharp), (dark, light), (light, dark))] == [0] * 4
    assert blur_sigma_px(dark, sharp) == 20
