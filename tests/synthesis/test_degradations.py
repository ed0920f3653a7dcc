"""Degradations by name, in NumPy and on the device."""

import numpy as np
import pytest
import torch

from deblur.data.photos import SharpPhoto
from deblur.errors import SettingError
from deblur.images import Rgb8
from deblur.synthesis.degradations import ranges_of
from deblur.synthesis.degrade import Degradation, degrade, zoomed
from deblur.synthesis.draw import draw
from deblur.synthesis.on_device import degrade_batch, numbers_of

SIZE = (96, 112)


def drawn(name: str, seed: int) -> Degradation:
    return draw(np.random.default_rng(seed), SIZE, 1.0, ranges_of(name))


def cut(photos: dict[str, SharpPhoto], degradation: Degradation) -> Rgb8:
    height, width = degradation.source_shape
    return np.ascontiguousarray(photos["astronaut"].pixels[:height, :width])


def test_white_noise_has_the_deviation_that_was_asked_for() -> None:
    degradation = drawn("white=25", 3)
    grey = np.full((*degradation.source_shape, 3), 128, np.uint8)
    blurry, sharp = degrade(grey, degradation)
    assert (sharp == 128).all()
    assert np.std(blurry.astype(float) - 128) == pytest.approx(25, rel=0.02)
    assert abs(blurry.mean() - 128) < 0.5  # on codes: no brighter, no darker


def test_white_noise_of_any_deviation() -> None:
    levels = [noise.read * 255 for seed in range(40) if (noise := drawn("white", seed).noise)]
    assert len(levels) == 40
    assert min(levels) < 10
    assert 40 < max(levels) <= 50


@pytest.mark.parametrize("name", ["gaussian", "scale", "motion-jpeg"])
def test_one_degradation_alone(name: str) -> None:
    every = [drawn(name, seed) for seed in range(20)]
    assert all(d.noise is None and d.gain == d.highlights == 1 and d.thing is None for d in every)
    assert {d.scale < 1 for d in every} == {name == "scale"}
    assert {d.quality is not None for d in every} == {name == "motion-jpeg"}
    assert {d.reach_px > 0 for d in every} == {name != "scale"}


def test_scaling_takes_both_filters() -> None:
    assert {drawn("scale", seed).bilinear for seed in range(20)} == {True, False}


@pytest.mark.parametrize("name", ["gaussian", "scale", "motion-jpeg"])
def test_the_device_does_the_same(name: str, photos: dict[str, SharpPhoto]) -> None:
    every = [drawn(name, seed) for seed in range(6)]
    sources = [np.array(zoomed(cut(photos, d), d)).transpose(2, 0, 1) for d in every]
    blurry, _ = degrade_batch(torch.from_numpy(np.stack(sources)), numbers_of(every))
    for each, degradation in zip(blurry.numpy(), every, strict=True):
        by_numpy = degrade(cut(photos, degradation), degradation)[0]
        assert np.abs(each.transpose(1, 2, 0) * 255 - by_numpy).mean() < 0.6


def test_white_noise_on_the_device_is_as_strong() -> None:
    degradation = drawn("white=25", 3)
    grey = torch.full((1, 3, *degradation.framed_shape), 128, dtype=torch.uint8)
    blurry, _ = degrade_batch(grey, numbers_of([degradation]))
    assert float(blurry.std() * 255) == pytest.approx(25, rel=0.02)
    assert float(blurry.mean() * 255) == pytest.approx(128, abs=0.5)


@pytest.mark.parametrize("name", ["grey", "white=0", "white=x", "gaussian=2"])
def test_an_unknown_one_is_refused(name: str) -> None:
    with pytest.raises(SettingError, match="blur is"):
        ranges_of(name)
