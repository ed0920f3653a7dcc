"""The weights that come with the package: checked like any model, better than doing nothing, and no harm."""

from pathlib import Path

import numpy as np
import pytest

from deblur.data.pairs import find_pairs
from deblur.data.photos import HELD_BACK, SharpPhoto, shaken
from deblur.evaluation.scores import Benchmark
from deblur.images import from_rgb8, to_rgb8
from deblur.inference.engine import OnnxEngine
from deblur.inference.model_folder import Model, open_model
from deblur.metrics import psnr_db
from deblur.serving.model_store import bundled_model
from tests.conftest import SHARED


@pytest.fixture(scope="module")
def model() -> Model:
    folder = bundled_model()
    assert folder is not None
    return open_model(folder, OnnxEngine)


def test_they_sharpen_photographs_they_never_saw(model: Model, photos: dict[str, SharpPhoto]) -> None:
    pairs = [shaken(photos[name], np.random.default_rng((5, i)), 12.0) for i, name in enumerate(HELD_BACK)]
    scores = Benchmark(pairs).score(model.restorer)
    gains = [score.psnr_db - score.psnr_input_db for score in scores.images]
    assert min(gains) > 0.2
    assert np.mean(gains) > 1


@pytest.mark.parametrize(("name", "at_least_db"), [("astronaut", 34), ("china", 38), ("moon", 44)])
def test_a_sharp_photograph_stays(model: Model, photos: dict[str, SharpPhoto], name: str, at_least_db: float) -> None:
    sharp = photos[name].pixels
    assert psnr_db(to_rgb8(model.restorer(from_rgb8(sharp))), sharp) > at_least_db


@pytest.mark.skipif(not SHARED.is_dir(), reason="real pairs are not here (../shared)")
@pytest.mark.parametrize(("pairs", "gain_db"), [("gopro/val", 0.45), ("reds/val", 1.2), ("reds320/val", 0.4)])
def test_real_pairs_gain(model: Model, pairs: str, gain_db: float) -> None:
    assert Benchmark(find_pairs(SHARED / "pairs" / pairs)[:4]).score(model.restorer).gain_db.mean > gain_db


def test_they_are_small_and_in_half_precision() -> None:
    folder = bundled_model()
    assert folder is not None
    assert sum(file.stat().st_size for file in Path(folder).iterdir()) < 6e6
