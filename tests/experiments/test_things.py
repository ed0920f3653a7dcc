"""Things cut out of other photographs: they are where the mask is, and elsewhere nothing changes."""

from dataclasses import replace

import numpy as np

from deblur.images import Rgb8
from deblur.synthesis.degrade import Degradation, degrade
from deblur.synthesis.draw import BlurRanges, draw
from experiments.things import SIDE_PX, STRENGTH, pair_of

QUIET = BlurRanges(noise_share=0, jpeg_share=0, resample_share=0, highlights_share=0, gain_share=0)


def with_a_thing() -> Degradation:
    rng = np.random.default_rng(0)
    while (found := replace(draw(rng, (SIDE_PX, SIDE_PX), STRENGTH, QUIET), zoom=1.0)).thing is None:
        pass
    return found


def source(degradation: Degradation, seed: int) -> Rgb8:
    return np.random.default_rng(seed).integers(256, size=(*degradation.source_shape, 3), dtype=np.uint8)


def test_a_thing_of_its_own_photograph_is_what_synthesis_makes() -> None:
    degradation = with_a_thing()
    photo = source(degradation, 1)
    pair, (blurry, sharp) = pair_of(photo, photo, degradation), degrade(photo, degradation)
    assert np.array_equal(pair["sharp"], sharp)
    assert np.abs(pair["blur"].astype(int) - blurry).max() <= 1


def test_a_thing_of_another_photograph_is_there_and_nowhere_else() -> None:
    degradation = with_a_thing()
    assert degradation.thing is not None
    behind, before = source(degradation, 1), source(degradation, 2)
    sharp = pair_of(behind, before, degradation)["sharp"]
    place = np.arange(SIDE_PX, dtype=np.float32) + 0.5 - SIDE_PX / 2
    mask, margin = degradation.thing.mask(place, place[:, None]), degradation.margin_px
    inner = np.s_[margin : margin + SIDE_PX, margin : margin + SIDE_PX]
    for whole, photo in ((mask == 1, before), (mask == 0, behind)):
        assert whole.any()
        assert np.array_equal(sharp[whole], photo[inner][whole])
