"""Scores: whole images, beside doing nothing."""

import numpy as np
import pytest

from deblur.data.pairs import PairPixels
from deblur.errors import DataError
from deblur.evaluation.scores import EvaluationSet, Scored
from deblur.images import Pixels, from_rgb8
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


def nothing_to_gain(name: str) -> list[PairPixels]:
    """Black; motionless; one code in a thousand another, as an encoder leaves it."""
    still = SHARP[0].copy()
    still[0, :2, 0] ^= 1
    black = np.zeros_like(still)
    return [
        PairPixels(f"{name} {i}", b, s) for i, (b, s) in enumerate([(black, black), (still, still), (still, SHARP[0])])
    ]


def test_pairs_on_which_nothing_can_be_gained_decide_nothing() -> None:
    def worse(pixels: Pixels) -> Pixels:
        return np.clip(pixels + np.float32(1 / 255), 0, 1)

    without, with_them = (EvaluationSet(pairs).score(worse) for pairs in (PAIRS, [*nothing_to_gain("x"), *PAIRS]))
    assert [score.name for score in with_them.images] == [score.name for score in without.images] == ["0", "1"]
    assert [score.name for score in with_them.left_out] == ["x 0", "x 1", "x 2"]
    assert without.left_out == []
    for field in ("psnr_db", "ssim", "psnr_input_db", "ssim_input"):
        assert with_them.mean(field) == without.mean(field)
    assert with_them.gain_db == without.gain_db
    assert abs(with_them.gain_db.mean) < 1, "not the tens of dB that those lose"


def test_every_pair_is_told_whether_it_counts_or_not() -> None:
    seen: list[Scored] = []
    EvaluationSet([*nothing_to_gain("x"), *PAIRS]).score(lambda pixels: pixels, seen.append)
    assert [scored.score.can_gain for scored in seen] == [False, False, False, True, True]


def test_a_weak_blur_counts() -> None:
    """A quarter of all values one code off: 54 dB."""
    weak = SHARP[0].copy()
    weak[::2, ::2] ^= 1
    assert EvaluationSet([PairPixels("weak", weak, SHARP[0])]).score(lambda pixels: pixels).left_out == []


def test_a_set_without_anything_to_gain_is_refused_by_name() -> None:
    scores = EvaluationSet(nothing_to_gain("x")).score(lambda pixels: pixels)
    with pytest.raises(DataError, match=r"all 3 pairs that validate \(x 0, x 1, x 2\).*Give test_data"):
        scores.mean("psnr_db")
    with pytest.raises(DataError):
        _ = scores.gain_db
