"""The laws of tiling: weights sum to 1, identity is identity, tiles fit the network and none is nearly redundant."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deblur.errors import SettingError
from deblur.images import from_rgb8, to_rgb8
from deblur.inference.tiling import SizeRule, Tiling, blend_tiles, plan_axis, plan_tiles

RULE = SizeRule(multiple_of=16, min_side_px=16)
tilings = st.builds(
    lambda tiles, overlap, halo: Tiling(
        16 * tiles, min(overlap, 8 * tiles), RULE, min(halo, min(overlap, 8 * tiles) // 2)
    ),
    st.integers(1, 8),
    st.integers(0, 64),
    st.integers(0, 32),
)
sides = st.one_of(st.integers(1, 300), st.sampled_from([1, 2, 15, 16, 17, 31, 63, 64, 65, 97, 127, 128, 129, 251, 257]))


@given(sides, tilings)
def test_weights_sum_to_one_at_every_pixel(length_px: int, tiling: Tiling) -> None:
    axis = plan_axis(length_px, tiling)
    total = np.zeros(length_px)
    for start, weights in zip(axis.starts, axis.weights(), strict=True):
        assert weights.min() >= 0
        total[start : start + len(weights)] += weights
    assert np.abs(total - 1).max() < 1e-6


@given(sides, sides, tilings)
def test_an_identity_network_returns_the_image(height_px: int, width_px: int, tiling: Tiling) -> None:
    rgb = np.random.default_rng((height_px, width_px)).integers(0, 256, (height_px, width_px, 3), dtype=np.uint8)
    pixels = from_rgb8(rgb)
    shapes = set()

    def identity(tile: np.ndarray) -> np.ndarray:
        shapes.add(tile.shape)
        return tile

    *_, restored = blend_tiles(pixels, plan_tiles(height_px, width_px, tiling), identity)
    assert np.abs(restored - pixels).max() <= 1e-6
    assert np.array_equal(to_rgb8(restored), rgb)
    assert len(shapes) == 1
    (shape,) = shapes
    assert RULE.accepts(shape[0])
    assert RULE.accepts(shape[1])


@given(sides, tilings)
def test_tiles_cover_the_axis_evenly_with_the_overlap_asked_for(length_px: int, tiling: Tiling) -> None:
    axis = plan_axis(length_px, tiling)
    assert axis.starts[0] == 0
    if length_px <= tiling.tile_px:
        assert axis.starts == (0,)
        assert length_px <= axis.tile_px < length_px + RULE.multiple_of
        return
    assert axis.starts[-1] + axis.tile_px == length_px
    steps = np.diff(axis.starts)
    assert steps.min() >= 1
    assert steps.max() - steps.min() <= 1
    assert axis.tile_px - steps.max() >= tiling.overlap_px
    one_less = (len(axis.starts) - 1) * (tiling.tile_px - tiling.overlap_px) + tiling.overlap_px
    assert one_less < length_px, "a tile could be left out"


@given(st.integers(100, 300), st.integers(1, 16))
def test_the_halo_never_reaches_the_image(length_px: int, halo_px: int) -> None:
    """Output within halo_px of an inner tile border gets weight 0."""
    axis = plan_axis(length_px, Tiling(64, 32, RULE, halo_px))
    for i, weights in enumerate(axis.weights()):
        if i > 0:
            assert not weights[:halo_px].any()
        if i < len(axis.starts) - 1:
            assert not weights[len(weights) - halo_px :].any()


def test_the_published_plan_of_1920x1080_has_15_tiles() -> None:
    plan = plan_tiles(1080, 1920, Tiling(512, 64, RULE))
    assert (len(plan.rows.starts), len(plan.columns.starts), len(plan)) == (3, 5, 15)
    assert plan.computed_share == pytest.approx(15 * 512 * 512 / (1920 * 1080))


def test_a_small_image_gets_one_tile_just_large_enough() -> None:
    plan = plan_tiles(100, 130, Tiling(512, 64, RULE))
    assert (plan.rows.tile_px, plan.columns.tile_px) == (112, 144)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [((500, 64), "Try 512"), ((512, 300), "0 to 256"), ((512, -1), "0 to 256"), ((0, 0), "Try 16")],
)
def test_impossible_tilings_say_what_would_work(arguments: tuple[int, int], sentence: str) -> None:
    with pytest.raises(SettingError, match=sentence):
        Tiling(*arguments, RULE)
