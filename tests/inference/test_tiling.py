"""The laws of the planner: weights sum to 1, tiles fit network and image, and nothing is computed that need not be."""

from itertools import product
from math import ceil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deblur.errors import SettingError
from deblur.inference.tiling import AREA_SLACK, Axis, SizeRule, Tiling, plan_tiles

RULE = SizeRule(multiple_of=16, min_side_px=16)
many = settings(max_examples=1000, deadline=None)


@st.composite
def tilings(draw: st.DrawFn) -> Tiling:
    stride_px = draw(st.sampled_from([1, 2, 8, 16]))
    tile_px = stride_px * draw(st.integers(2, 128 // stride_px))
    overlap_px = draw(st.integers(0, tile_px // 2))
    halo_px = draw(st.integers(0, overlap_px // 2))
    return Tiling(tile_px, overlap_px, SizeRule(stride_px, stride_px), halo_px, draw(st.booleans()))


@many
@given(st.integers(1, 500), st.integers(1, 500), st.integers(0, 16), st.booleans())
def test_a_network_of_one_size_gets_no_other(height_px: int, width_px: int, overlap_px: int, fitted: bool) -> None:
    tiling = Tiling(32, overlap_px, SizeRule(8, 32, 32), fitted=fitted)
    plan = plan_tiles(height_px, width_px, tiling)
    for axis, length_px in ((plan.rows, height_px), (plan.columns, width_px)):
        assert axis.tile_px == 32
        assert axis.starts[-1] + 32 >= length_px
        assert min(overlaps_px(axis), default=overlap_px) >= overlap_px


sides = st.one_of(
    st.integers(1, 2000), st.sampled_from([1, 2, 15, 16, 17, 31, 63, 64, 65, 97, 127, 128, 129, 251, 257])
)


def overlaps_px(axis: Axis) -> list[int]:
    return [left + axis.tile_px - right for left, right in zip(axis.starts, axis.starts[1:], strict=False)]


@many
@given(sides, sides, tilings())
def test_weights_sum_to_one_at_every_pixel_of_the_image(height_px: int, width_px: int, tiling: Tiling) -> None:
    plan = plan_tiles(height_px, width_px, tiling)
    for axis in (plan.rows, plan.columns):
        total = np.zeros(axis.length_px)
        for start, weights in zip(axis.starts, axis.weights(), strict=True):
            assert weights.min() >= 0
            assert len(weights) == min(axis.tile_px, axis.length_px - start)
            total[start : start + len(weights)] += weights
        assert np.abs(total - 1).max() < 1e-6


@many
@given(sides, sides, tilings())
def test_tiles_cover_the_image_on_the_stride_with_the_overlap_asked_for(
    height_px: int, width_px: int, tiling: Tiling
) -> None:
    plan = plan_tiles(height_px, width_px, tiling)
    for axis, length_px in ((plan.rows, height_px), (plan.columns, width_px)):
        assert tiling.rule.accepts(axis.tile_px)
        assert all(start % tiling.rule.multiple_of == 0 for start in axis.starts)
        assert axis.starts[0] == 0
        assert axis.starts[-1] + axis.tile_px == tiling.rule.fit(length_px), "ends with the image, on the stride"
        assert min(overlaps_px(axis), default=tiling.overlap_px) >= tiling.overlap_px
        steps = np.diff(axis.starts)
        assert not len(steps) or 0 < steps.max() - steps.min() + 1 <= tiling.rule.multiple_of + 1, "evenly spread"


@many
@given(sides, sides, tilings())
def test_a_pixel_within_the_halo_of_an_inner_border_is_thrown_away(
    height_px: int, width_px: int, tiling: Tiling
) -> None:
    plan = plan_tiles(height_px, width_px, tiling)
    for axis in (plan.rows, plan.columns):
        for i, weights in enumerate(axis.weights()):
            if i > 0:
                assert not weights[: tiling.halo_px].any()
            if i < len(axis.starts) - 1:
                assert not weights[len(weights) - tiling.halo_px :].any()


@many
@given(sides, sides, tilings())
def test_a_fitted_tile_keeps_to_its_budget_and_never_computes_more_than_squares(
    height_px: int, width_px: int, tiling: Tiling
) -> None:
    fitted = plan_tiles(height_px, width_px, Tiling(tiling.tile_px, tiling.overlap_px, tiling.rule))
    squares = plan_tiles(height_px, width_px, Tiling(tiling.tile_px, tiling.overlap_px, tiling.rule, fitted=False))
    assert fitted.rows.tile_px * fitted.columns.tile_px <= AREA_SLACK * tiling.tile_px**2
    assert fitted.computed_px <= squares.computed_px


@many
@given(st.integers(1, 6000), st.integers(1, 6000), st.sampled_from([(256, 32), (256, 64), (512, 64), (512, 96)]))
def test_no_even_grid_within_the_budget_computes_fewer_pixels(
    height_px: int, width_px: int, tile_and_overlap: tuple[int, int]
) -> None:
    """Against every number of rows and columns, tiles as small as the overlap lets them be."""
    tile_px, overlap_px = tile_and_overlap

    def tiles_of(length_px: int) -> list[tuple[int, int]]:
        padded_px = RULE.fit(length_px)
        return [(count, RULE.fit(ceil((padded_px + (count - 1) * overlap_px) / count))) for count in range(1, 60)]

    allowed = [
        rows * h * columns * w
        for (rows, h), (columns, w) in product(tiles_of(height_px), tiles_of(width_px))
        if h * w <= AREA_SLACK * tile_px**2
    ]
    assert plan_tiles(height_px, width_px, Tiling(tile_px, overlap_px, RULE)).computed_px <= min(allowed)


def test_a_full_hd_frame_takes_six_tiles_and_less_than_a_fifth_more_than_its_pixels() -> None:
    plan = plan_tiles(1080, 1920, Tiling(512, 64, RULE))
    assert (plan.rows.tile_px, plan.columns.tile_px) == (576, 688)
    assert (plan.rows.starts, plan.columns.starts) == ((0, 512), (0, 608, 1232))
    assert plan.computed_share < 1.15


def test_photos_of_any_size_compute_little_more_than_their_pixels() -> None:
    rng = np.random.default_rng(0)
    sizes = rng.integers(800, 12_000, (3000, 2))
    shares = [plan_tiles(int(h), int(w), Tiling(512, 64, RULE)).computed_share for h, w in sizes]
    assert max(shares) < 1.27
    assert np.mean(shares) < 1.23


def test_the_published_plan_of_a_full_hd_frame_has_15_square_tiles() -> None:
    plan = plan_tiles(1080, 1920, Tiling(512, 64, RULE, fitted=False))
    assert (len(plan.rows.starts), len(plan.columns.starts), len(plan)) == (3, 5, 15)
    assert plan.computed_share == pytest.approx(15 * 512 * 512 / (1920 * 1080))


def test_a_small_image_gets_one_tile_just_large_enough() -> None:
    for fitted in (True, False):
        plan = plan_tiles(100, 130, Tiling(512, 64, RULE, fitted=fitted))
        assert (plan.rows.tile_px, plan.columns.tile_px, len(plan)) == (112, 144, 1)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((500, 64), "Try 512"),
        ((512, 300), "0 to 256"),
        ((512, -1), "0 to 256"),
        ((16, 8), "0 to 0"),
        ((0, 0), "Try 16"),
    ],
)
def test_impossible_tilings_say_what_would_work(arguments: tuple[int, int], sentence: str) -> None:
    with pytest.raises(SettingError, match=sentence):
        Tiling(*arguments, RULE)


def test_an_image_without_pixels_is_refused() -> None:
    with pytest.raises(SettingError, match="at least one pixel"):
        plan_tiles(0, 5, Tiling(512, 64, RULE))
