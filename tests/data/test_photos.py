"""Synthetic pairs from sharp photos: aligned, sized, reproducible, and the held-back photos held back."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import convolve

from deblur.data.photos import HELD_BACK, SharpPhoto, photos_in, shaken, shrink
from deblur.demo import split_installed, split_own
from deblur.errors import DataError
from deblur.images import from_rgb8
from deblur.metrics import psnr_db
from deblur.synthesis.kernels import shake_kernel
from deblur.synthesis.light import to_linear, to_srgb
from deblur.synthesis.uniform import blur

RNG = np.random.default_rng(3)


def test_the_installed_photos_are_there(photos: dict[str, SharpPhoto]) -> None:
    assert set(HELD_BACK) <= photos.keys()
    assert len(photos) == 20
    assert all(photo.pixels.dtype == np.uint8 and photo.pixels.shape[2] == 3 for photo in photos.values())


def test_the_demos_three_sets_never_mix(photos: dict[str, SharpPhoto]) -> None:
    split = split_installed()
    assert {photo.name for photo in split.report} == set(HELD_BACK)
    others = photos.keys() - set(HELD_BACK)
    assert {photo.name for photo in split.train} == {photo.name for photo in split.select} == others
    for train, select in zip(split.train, split.select, strict=True):
        whole = photos[train.name].pixels
        strip = whole[:, train.pixels.shape[1] :]
        assert np.array_equal(train.pixels, whole[:, : train.pixels.shape[1]])
        assert select.pixels.shape[0] <= strip.shape[0]
        assert select.pixels.shape[1] <= strip.shape[1]
        assert any(
            np.array_equal(select.pixels, strip[y : y + select.pixels.shape[0], x : x + select.pixels.shape[1]])
            for y in range(strip.shape[0] - select.pixels.shape[0] + 1)
            for x in range(strip.shape[1] - select.pixels.shape[1] + 1)
        ), "the strip lies where no training crop does"


def test_a_persons_own_photos_are_split_too(tmp_path: Path, photos: dict[str, SharpPhoto]) -> None:
    for i, photo in enumerate(list(photos.values())[:9]):
        Image.fromarray(np.tile(photo.pixels, (2, 2, 1))[:256, :256]).save(tmp_path / f"{i}.png")
    split = split_own(tmp_path)
    assert sorted(photo.name for photo in (*split.report, *split.train)) == [f"{i}.png" for i in range(9)]
    assert len(split.report) == 3
    few = tmp_path / "few"
    few.mkdir()
    Image.fromarray(photos["moon"].pixels).save(few / "one.png")
    with pytest.raises(DataError, match="6 or more"):
        split_own(few)
    assert [p.name for p in photos_in(tmp_path, at_most=3)] == ["0.png", "4.png", "8.png"]


def test_blurry_and_sharp_are_aligned_and_the_blurry_one_is_worse(photos: dict[str, SharpPhoto]) -> None:
    pair = shaken(photos["astronaut"], np.random.default_rng(0), 8.0)
    assert pair.blurry.shape == pair.sharp.shape
    here = psnr_db(pair.blurry, pair.sharp)
    assert 15 < here < 40
    shifted = [np.roll(pair.blurry, shift, axis=(0, 1)) for shift in ((0, 3), (3, 0), (0, -3), (-3, 0))]
    assert all(psnr_db(other, pair.sharp) < here for other in shifted)


@pytest.mark.parametrize("value", [0.0, 0.02, 0.5, 1.0])
def test_blurring_a_constant_changes_nothing(value: float) -> None:
    constant = np.full((40, 50, 3), value, np.float32)
    assert np.abs(blur(constant, shake_kernel(RNG, 9.0)) - value).max() < 1e-5


def test_blur_equals_a_direct_convolution_in_linear_light() -> None:
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


def test_shrinking_keeps_the_picture_and_small_ones_as_they_are(photos: dict[str, SharpPhoto]) -> None:
    rgb = photos["astronaut"].pixels
    again = shrink(shrink(rgb, 256), 128)
    assert again.shape == (128, 128, 3)
    assert np.abs(from_rgb8(again).mean((0, 1)) - from_rgb8(rgb).mean((0, 1))).max() < 0.01
    assert np.array_equal(shrink(rgb, 600), rgb)
