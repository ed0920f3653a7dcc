"""Synthetic pairs from sharp photos: aligned, sized, reproducible, and the held-back photos held back."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deblur.data.photos import HELD_BACK, SharpPhoto, photos_in, shaken
from deblur.demo import split_installed, split_own
from deblur.errors import DataError
from deblur.metrics import psnr_db


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
