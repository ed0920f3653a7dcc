"""The restorer: any size, 8 bit and float alike, strength, progress, and no half-made or broken image."""

import threading
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deblur.errors import ModelError, RequestError
from deblur.images import from_rgb8, to_rgb8
from deblur.inference.engine import Run, Tiles
from deblur.inference.restorer import Restorer
from deblur.inference.tiling import SizeRule, Tiling
from deblur.models.engine import TorchEngine
from tests.conftest import sharpening_network
from tests.inference.test_tiling import tilings

TILING = Tiling(64, 16, SizeRule(16, 16))
sides = st.one_of(st.integers(1, 300), st.sampled_from([1, 2, 15, 16, 17, 63, 64, 65, 127, 128, 129, 251, 257]))


@settings(max_examples=300, deadline=None)
@given(sides, sides, tilings())
def test_an_identity_network_returns_the_image(height_px: int, width_px: int, tiling: Tiling) -> None:
    rgb = np.random.default_rng((height_px, width_px)).integers(0, 256, (height_px, width_px, 3), dtype=np.uint8)
    shapes = set()

    def identity(tile: Tiles) -> Tiles:
        shapes.add(tile.shape)
        return tile

    restorer = Restorer(identity, tiling)
    pixels = from_rgb8(rgb)
    assert np.abs(restorer(pixels) - pixels).max() <= 1e-6
    in_8_bit = rgb.copy()
    restorer.in_place(in_8_bit)
    assert np.array_equal(in_8_bit, rgb)
    assert len(shapes) == 1


@pytest.mark.parametrize("shape", [(1, 1), (1, 200), (17, 31), (64, 64), (65, 63), (101, 211)])
def test_the_network_takes_any_size_through_the_restorer(shape: tuple[int, int]) -> None:
    restorer = Restorer(TorchEngine(sharpening_network()), TILING)
    pixels = np.random.default_rng(0).random((*shape, 3), dtype=np.float32)
    restored = restorer(pixels)
    assert restored.shape == pixels.shape
    assert restored.dtype == np.float32
    assert 0 <= restored.min() <= restored.max() <= 1
    assert not np.array_equal(restored, pixels)


@pytest.mark.parametrize("strength", [0.0, 0.4, 1.0])
def test_8_bit_pixels_are_restored_where_they_lie_as_float_pixels_are(strength: float) -> None:
    """Also where tiles overlap by half: rows are overwritten only when no tile needs them any more."""
    rgb = np.random.default_rng(3).integers(0, 256, (301, 190, 3), dtype=np.uint8)
    restorer = Restorer(lambda batch: batch[..., ::-1, :] * 0.5 + 0.3, Tiling(64, 32, SizeRule(16, 16)))
    expected = to_rgb8(restorer(from_rgb8(rgb), strength))
    restorer.in_place(rgb, strength)
    assert np.array_equal(rgb, expected)


def test_strength_goes_from_the_blurry_to_the_restored() -> None:
    restorer = Restorer(lambda batch: batch + 0.2, TILING)
    pixels = np.full((40, 40, 3), 0.5, np.float32)
    assert np.array_equal(restorer(pixels, strength=0.0), pixels)
    assert restorer(pixels, strength=0.5) == pytest.approx(0.6, abs=1e-6)
    assert restorer(pixels) == pytest.approx(0.7, abs=1e-6)
    with pytest.raises(RequestError, match="0 to 1"):
        restorer(pixels, strength=1.5)


def test_progress_counts_every_tile_and_can_stop_the_work() -> None:
    seen = []
    Restorer(lambda batch: batch, TILING)(np.zeros((100, 100, 3), np.float32), on_tile=lambda *args: seen.append(args))
    assert seen == [(1, 3), (2, 3), (3, 3)]
    computed = []

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    def engine(batch: Tiles) -> Tiles:
        computed.append(batch)
        return batch

    with pytest.raises(KeyboardInterrupt):
        Restorer(engine, TILING)(np.zeros((1000, 1000, 3), np.float32), on_tile=stop)
    assert len(computed) <= 3, "of hundreds of tiles"


class Waiting:
    """An engine whose call lasts until it is cancelled."""

    def __init__(self) -> None:
        self.cancelled, self.runs = threading.Event(), 0

    def __call__(self, batch: Tiles, /) -> Tiles:
        raise AssertionError("the restorer begins a run of its own")

    def begin(self) -> Run:
        self.runs += 1
        return Run(self._wait, self.cancelled.set)

    def _wait(self, batch: Tiles) -> Tiles:
        assert self.cancelled.wait(30)
        raise RuntimeError("cancelled")


def test_the_work_stops_inside_a_tile() -> None:
    engine, started = Waiting(), time.monotonic()

    class Gone(Exception):
        pass

    def check() -> None:
        if time.monotonic() - started > 0.2:
            raise Gone

    with pytest.raises(Gone):
        Restorer(engine, TILING)(np.zeros((300, 300, 3), np.float32), check=check)
    assert engine.cancelled.is_set()
    assert engine.runs == 1
    assert time.monotonic() - started < 5
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("network")]


def test_the_next_tile_is_at_the_network_before_the_last_one_is_blended() -> None:
    begun = []

    def engine(batch: Tiles) -> Tiles:
        begun.append(batch)
        return batch

    def on_tile(done: int, total: int) -> None:
        deadline = time.monotonic() + 10
        while len(begun) < min(done + 1, total) and time.monotonic() < deadline:
            time.sleep(0.001)
        assert len(begun) >= min(done + 1, total)

    Restorer(engine, TILING)(np.zeros((200, 200, 3), np.float32), on_tile=on_tile)


def test_output_that_is_not_a_number_is_an_error() -> None:
    with pytest.raises(ModelError, match="not numbers"):
        Restorer(lambda batch: batch * np.float32("nan"), TILING)(np.ones((8, 8, 3), np.float32))


def test_output_of_another_size_is_an_error() -> None:
    with pytest.raises(ModelError, match="answered"):
        Restorer(lambda batch: batch[..., ::2], TILING)(np.ones((8, 8, 3), np.float32))
