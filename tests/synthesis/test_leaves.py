"""Dead leaves: the laws they obey, the statistics they share with photographs, and the picture of the plain loop."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from deblur.images import Rgb8
from deblur.synthesis.leaf_pictures import dead_leaves, in_sight, painted, pictures
from deblur.synthesis.leaves import fall, power_law_radii, textures
from experiments.leaves import (
    draw,
    leaf_squares,
    one_after_the_other,
    photo_squares,
    power_spectrum,
    share_above,
    slope_of,
    statistics,
    time_both,
)

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def leaves() -> list[Rgb8]:
    return leaf_squares(40)


@pytest.fixture(scope="module")
def ours(leaves: list[Rgb8]) -> dict[str, Any]:
    return statistics(leaves)


@pytest.fixture(scope="module")
def theirs() -> dict[str, Any]:
    """Of squares of the installed photographs."""
    return statistics(photo_squares(None))


def test_radii_follow_the_power_law() -> None:
    """The share of radii above r is (r^-2 - R^-2) / (r0^-2 - R^-2) for density r^-3 between r0 and R."""
    smallest, largest = 2.0, 50.0
    radii = power_law_radii(np.random.default_rng(0), 200_000, smallest, largest)
    assert smallest <= radii.min()
    assert radii.max() <= largest
    for r in (3.0, 5.0, 10.0, 25.0):
        expected = (r**-2 - largest**-2) / (smallest**-2 - largest**-2)
        assert abs((radii > r).mean() - expected) < 4 * np.sqrt(expected / 200_000)


def test_the_leaves_of_images_follow_it_too_large_ones_reaching_in_from_outside() -> None:
    side = 128
    scenes = [fall(np.random.default_rng(seed), side, side) for seed in range(60)]
    for r in (5.0, 8.0, 16.0, 32.0, 50.0):
        larger = sum((scene.radii_px[1:] > r).sum() for scene in scenes)
        expected = sum(
            share_above(np.array(r), scene.smallest_px, side) * (len(scene.radii_px) - 1) for scene in scenes
        )
        assert abs(larger - expected) < 4 * np.sqrt(expected), r


@given(st.integers(0, 2**32), st.integers(1, 70), st.integers(1, 70))
@settings(max_examples=40, deadline=None)
def test_an_image_is_a_function_of_its_seed_at_every_size(seed: int, height: int, width: int) -> None:
    one, same, other = (dead_leaves(np.random.default_rng(s), height, width) for s in (seed, seed, seed + 1))
    assert one.shape == (height, width, 3)
    assert one.dtype == np.uint8
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)


@pytest.mark.parametrize("seed", range(4))
def test_it_is_the_picture_of_the_loop_that_draws_one_leaf_after_the_other(seed: int) -> None:
    """The loop's masks cut along true lines, spans along whole half pixels: only pixels at edges may differ."""
    scene = fall(np.random.default_rng(seed), 96, 128)
    ours, loop = pictures([scene], CPU)[0].numpy().astype(int), one_after_the_other(scene).astype(int)
    assert np.abs(ours - loop).mean() < 0.6
    assert (np.abs(ours - loop).max(axis=2) > 1).mean() < 0.05


def test_an_image_is_the_same_alone_and_beside_others() -> None:
    """On a GPU all of a batch are drawn together."""
    shapes = [(96, 128), (1, 1), (130, 7), (200, 160), (3, 90)]
    fallen = [fall(np.random.default_rng(seed), *shape) for seed, shape in enumerate(shapes)]
    together, start, ground = in_sight(fallen, CPU), 0, 0
    for leaves, alone in zip(fallen, pictures(fallen, CPU), strict=True):
        end = start + 4 * leaves.shape_px[0] * leaves.shape_px[1]
        assert torch.equal(painted(leaves, (together[start:end] - ground).clamp(min=0)), alone)
        start, ground = end, ground + len(leaves.ends)


@pytest.mark.parametrize("seed", range(3))
def test_numbers_are_those_of_polygons_that_c_code_draws(seed: int) -> None:
    """But for a few half pixels at the tips of leaves, of which it draws more."""
    scene = fall(np.random.default_rng(seed), 160, 130)
    image = Image.new("I", (260, 320))
    for number, corners in enumerate(np.split(scene.corners, scene.ends[:-1])):
        if number:
            ImageDraw.Draw(image).polygon(corners.ravel().tolist(), number)
    assert (in_sight([scene], CPU).numpy() != np.asarray(image).ravel()).mean() < 3e-4


def test_edges_are_anti_aliased() -> None:
    """Where a leaf's edge crosses a pixel the colour lies between its neighbours'."""
    scene = fall(np.random.default_rng(1), 128, 128)
    numbers = in_sight([scene], CPU).view(256, 256).numpy()
    first = numbers[::2, ::2]
    crossed = np.logical_or.reduce([numbers[y::2, x::2] != first for y, x in ((0, 1), (1, 0), (1, 1))])
    assert 0.03 < crossed.mean() < 0.6
    hard, soft = (
        painted(scene, torch.from_numpy(np.ascontiguousarray(each))).numpy()
        for each in (first.repeat(2, axis=0).repeat(2, axis=1), numbers)
    )
    assert np.array_equal(hard[~crossed], soft[~crossed])
    assert not np.array_equal(hard[crossed], soft[crossed])
    assert power_spectrum(soft.mean(axis=2))[-8:].sum() < power_spectrum(hard.mean(axis=2))[-8:].sum()


def test_power_falls_as_in_photographs(ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    """As 1/f^2 up to what small leaves and anti-aliasing take away; single photographs lie between -1 and -3.5."""
    assert -2.6 < ours["slope"] < -1.8
    assert abs(ours["slope"] - theirs["slope"]) < 0.6
    assert np.std(ours["slopes"]) > 0.1, "images are not all alike"


def test_neighbours_are_mostly_alike_and_sometimes_far_apart_as_in_photographs(
    ours: dict[str, Any], theirs: dict[str, Any]
) -> None:
    """Differences have a sharp peak and heavy tails: a normal distribution has kurtosis 3."""
    assert ours["kurtosis"] > 10
    assert abs(ours["below 2 levels"] - theirs["below 2 levels"]) < 0.15
    assert 0.3 < ours["above 50 levels"] / theirs["above 50 levels"] < 3


def test_the_slope_is_that_of_a_known_spectrum() -> None:
    rng = np.random.default_rng(0)
    f = np.maximum(np.hypot(np.fft.fftfreq(256)[:, None], np.fft.fftfreq(256)), 1 / 256)
    for exponent in (-1.0, -2.0, -3.0):
        white = np.fft.fft2(rng.normal(size=(16, 256, 256)))
        spectra = [power_spectrum(noise) for noise in np.fft.ifft2(white * f ** (exponent / 2)).real]
        assert slope_of(np.mean(spectra, axis=0)) == pytest.approx(exponent, abs=0.1)


def test_textures_are_standardised_and_differ() -> None:
    found = textures()
    assert np.allclose(found.mean(axis=(1, 2)), 0, atol=0.05)
    assert np.allclose(found.std(axis=(1, 2)), 1, atol=0.1)
    assert np.abs(np.corrcoef(found.reshape(len(found), -1)) - np.eye(len(found))).max() < 0.6


def test_it_is_many_times_faster_than_the_loop() -> None:
    figures = time_both(images=2)
    assert figures["ratio"] > 5, "measured: 25"
    assert figures["mean difference, levels"] < 0.6


def test_the_plot_shows_leaves_beside_photographs(leaves: list[Rgb8]) -> None:
    strip, radii, power, differences = draw(leaves[:6], {"photographs": photo_squares(None, each=1)}).axes
    assert len(strip.images) == 1
    assert "1/f²" in [line.get_label() for line in power.lines]
    assert radii.get_xscale() == radii.get_yscale() == "log"
    assert len(differences.lines) == 2
