"""Scores: whole images, beside doing nothing."""

import numpy as np
import pytest

from deblur.data.pairs import PairPixels
from deblur.errors import DataError
from deblur.evaluation.scores import EvaluationSet, Scored
from deblur.images import from_rgb8
from deblur.metrics import psnr_db, ssim

RNG = np.random.default_rng(0)
SHARP = [RNG.integers(0, 256, (40, 50, 3), dtype=np.uint8) for _ in range(2)]
BLURRY = [np.clip(s.astype(int) + RNG.integers(-20, 20, s.shape), 0, 255).astype(np.uint8) for s in SHARP]
PAIRS = [PairPixels(str(i), b, s) for i, (b, s) in enumerate(zip(BLURRY, SHARP, strict=True))]


def test_doing_nothing_gains_nothing() -> None:
    scores = EvaluationSet(PAIRS).score(lambda pixels: pixels)
    assert scores.mean("psnr_db") == scores.mean("psnr_input_db")
    assert scores.mean("ssim") == scores.mean("ssim_input")
    assert scores.gain_db.mean == 0
    assert scores.mean("psnr_db") == pytest.approx(np.mean([psnr_db(b, s) for b, s in zip(BLURRY, SHARP, strict=True)]))
    assert scores.images[1].ssim_input == ssim(BLURRY[1], SHARP[1])


def test_figures_are_of_8_bit_output() -> None:
    """Less than half a step away from the sharp image is the sharp image."""
    answers = iter([from_rgb8(s) + np.float32(0.4 / 255) for s in SHARP])
    scores = EvaluationSet(PAIRS).score(lambda pixels: next(answers))
    assert scores.mean("psnr_db") == 100
    assert scores.gain_db.mean > 50


def test_each_image_is_told_with_its_pixels() -> None:
    seen: list[Scored] = []
    EvaluationSet(PAIRS).score(lambda pixels: pixels, seen.append)
    assert [scored.score.name for scored in seen] == ["0", "1"]
    assert np.array_equal(seen[0].blurry, BLURRY[0])
    assert np.array_equal(seen[0].restored, BLURRY[0])
    assert np.array_equal(seen[0].sharp, SHARP[0])


def test_images_too_small_to_score_are_named() -> None:
    tiny = np.zeros((10, 30, 3), np.uint8)
    with pytest.raises(DataError, match="thumb: MS-SSIM needs a side of at least 11 px"):
        EvaluationSet([PairPixels("thumb", tiny, tiny)]).score(lambda pixels: pixels)
