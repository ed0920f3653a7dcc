"""The restorer: any size, strength, progress, and no half-made or broken image."""

import numpy as np
import pytest

from deblur.errors import ModelError, RequestError
from deblur.inference.restorer import Restorer
from deblur.inference.tiling import SizeRule, Tiling
from deblur.models.engine import TorchEngine
from tests.conftest import sharpening_network

TILING = Tiling(64, 16, SizeRule(16, 16))


@pytest.mark.parametrize("shape", [(1, 1), (1, 200), (17, 31), (64, 64), (65, 63), (101, 211)])
def test_the_network_takes_any_size_through_the_restorer(shape: tuple[int, int]) -> None:
    restorer = Restorer(TorchEngine(sharpening_network()), TILING)
    pixels = np.random.default_rng(0).random((*shape, 3), dtype=np.float32)
    restored = restorer(pixels)
    assert restored.shape == pixels.shape
    assert restored.dtype == np.float32
    assert 0 <= restored.min() <= restored.max() <= 1
    assert not np.array_equal(restored, pixels)


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
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Restorer(lambda batch: batch, TILING)(np.zeros((100, 100, 3), np.float32), on_tile=stop)


def test_output_that_is_not_a_number_is_an_error() -> None:
    with pytest.raises(ModelError, match="not numbers"):
        Restorer(lambda batch: batch * np.float32("nan"), TILING)(np.ones((8, 8, 3), np.float32))


def test_output_of_another_size_is_an_error() -> None:
    with pytest.raises(ModelError, match="answered"):
        Restorer(lambda batch: batch[..., ::2], TILING)(np.ones((8, 8, 3), np.float32))
