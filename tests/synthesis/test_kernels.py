"""Kernels: they sum to 1; motion is at 0 at half time, and what has no time has its centre of mass in the middle."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from deblur.errors import DataError
from deblur.synthesis.kernels import (
    TURN_RAD,
    FixedArray,
    disc_kernel,
    gaussian_kernel,
    kernel_from_trajectory,
    line_kernel,
    load_kernels,
    recentred,
    scaled,
    shake_kernel,
    shake_trajectory,
    swing_trajectory,
)

CENTRED_PX = 1e-3
SEEDS = st.integers(0, 10_000)


def assert_sums_to_one(kernel: NDArray[np.float32]) -> None:
    side = kernel.shape[0]
    assert kernel.shape == (side, side)
    assert side % 2 == 1
    assert kernel.min() >= 0
    assert kernel.sum() == pytest.approx(1, abs=1e-5)


def assert_is_a_kernel(kernel: NDArray[np.float32]) -> None:
    """One that moves nothing."""
    assert_sums_to_one(kernel)
    side = kernel.shape[0]
    offset = np.arange(side) - side // 2
    assert abs((kernel.sum(axis=0) * offset).sum()) < CENTRED_PX  # across
    assert abs((kernel.sum(axis=1) * offset).sum()) < CENTRED_PX  # down


@given(SEEDS, st.floats(0, 60))
def test_kernels_of_motion_sum_to_one(seed: int, extent_px: float) -> None:
    rng = np.random.default_rng(seed)
    assert_sums_to_one(shake_kernel(rng, extent_px))
    assert_sums_to_one(kernel_from_trajectory(swing_trajectory(rng, extent_px)))
    assert_sums_to_one(kernel_from_trajectory(swing_trajectory(rng, extent_px, steps=7)))
    assert_is_a_kernel(line_kernel(extent_px, rng.uniform(0, np.pi)))  # its speed is constant


@given(SEEDS, st.floats(1, 60), st.integers(7, 13))
def test_a_path_is_at_the_centre_at_half_time(seed: int, extent_px: float, frames: int) -> None:
    rng = np.random.default_rng(seed)
    for path in (shake_trajectory(rng, extent_px), swing_trajectory(rng, extent_px, frames)):
        times = np.linspace(0, 1, len(path))
        half = [np.interp(0.5, times, axis) for axis in path.T]
        assert np.abs(half).max() < 1e-9


@pytest.mark.parametrize("trajectory", [shake_trajectory, swing_trajectory])
def test_one_path_moves_the_picture_and_the_mean_of_many_does_not(
    trajectory: Callable[..., NDArray[np.float64]],
) -> None:
    shifts = np.array([trajectory(np.random.default_rng(seed), 24.0).mean(axis=0) for seed in range(500)])
    error = shifts.std(axis=0) / np.sqrt(len(shifts))
    assert np.all(np.abs(shifts.mean(axis=0)) < 3.5 * error)
    assert np.median(np.hypot(*shifts.T)) > 0.5


def test_swings_lie_beside_their_middle_as_real_pairs_do() -> None:
    """At strength 0.6: 0.92 px at the median and 1.40 at the third quartile."""
    draws = [np.random.default_rng(seed) for seed in range(1500)]
    beside = [np.hypot(*swing_trajectory(rng, 0.6 * rng.uniform(16, 64)).mean(axis=0)) for rng in draws]
    assert np.percentile(beside, [50, 75]) == pytest.approx([0.92, 1.40], rel=0.1)


@given(st.floats(0, 12), st.floats(0.1, 1), st.floats(0, 4))
def test_kernels_of_lenses_sum_to_one_and_are_centred(size_px: float, ratio: float, angle: float) -> None:
    assert_is_a_kernel(gaussian_kernel(size_px, ratio, angle))
    assert_is_a_kernel(disc_kernel(size_px))


@given(SEEDS, st.integers(1, 30), st.integers(1, 30), st.floats(0, 1))
def test_measured_kernels_are_recentred_and_can_be_scaled(seed: int, height: int, width: int, factor: float) -> None:
    kernel = recentred(np.random.default_rng(seed).random((height, width)) + 0.01)
    assert_is_a_kernel(kernel)
    assert_is_a_kernel(scaled(FixedArray.of(kernel), factor).array)


@given(SEEDS, st.floats(1, 40))
def test_a_trajectory_is_as_wide_as_asked(seed: int, extent_px: float) -> None:
    for trajectory in (shake_trajectory, swing_trajectory):
        path = trajectory(np.random.default_rng(seed), extent_px)
        assert np.linalg.norm(np.ptp(path, axis=0)) == pytest.approx(extent_px)


def test_a_swing_turns_as_much_as_documented() -> None:
    turns = []
    for seed in range(400):
        steps = np.diff(swing_trajectory(np.random.default_rng(seed), 20.0), axis=0)
        heading = np.unwrap(np.arctan2(steps[:, 1], steps[:, 0]))
        turns.append(heading[-1] - heading[0])
    assert abs(np.mean(turns)) < 0.1
    assert np.std(turns) == pytest.approx(TURN_RAD, rel=0.1)


def test_a_shake_turns_more_than_a_swing() -> None:
    def detour(path: NDArray[np.float64]) -> float:
        return float(np.linalg.norm(np.diff(path, axis=0), axis=1).sum() / np.linalg.norm(np.ptp(path, axis=0)))

    shakes, swings = (
        [detour(trajectory(np.random.default_rng(seed), 10.0)) for seed in range(100)]
        for trajectory in (shake_trajectory, swing_trajectory)
    )
    assert np.median(swings) < 1.1 < 1.3 < np.median(shakes)


def test_a_still_camera_does_not_blur() -> None:
    kernel = kernel_from_trajectory(np.zeros((5, 2)))
    assert kernel[kernel.shape[0] // 2, kernel.shape[1] // 2] == 1


def test_a_path_is_integrated_as_a_loop_would() -> None:
    """To the bit: recorded figures rest on these kernels."""
    path = shake_trajectory(np.random.default_rng(4), 9.0)
    radius = int(np.ceil(np.abs(path).max())) + 1
    kernel = np.zeros((2 * radius + 1, 2 * radius + 1))
    for dx in (0, 1):
        for dy in (0, 1):
            for x, y in path:
                left, top = int(np.floor(x)), int(np.floor(y))
                share_x = x - left if dx else 1 - (x - left)
                share_y = y - top if dy else 1 - (y - top)
                kernel[top + dy + radius, left + dx + radius] += share_x * share_y
    assert np.array_equal(kernel_from_trajectory(path), (kernel / kernel.sum()).astype(np.float32))


def test_kernels_are_read_from_a_folder(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([[0, 0, 3.0], [0, 0, 1.0]]))
    Image.fromarray(np.array([[0, 255, 0], [0, 255, 0]], np.uint8)).save(tmp_path / "b.png")
    (tmp_path / "notes.txt").write_text("not a kernel")
    kernels = load_kernels(tmp_path)
    assert len(kernels) == 2
    for kernel in kernels:
        assert_is_a_kernel(kernel.array)
        assert np.count_nonzero(kernel.array.sum(axis=0)) == 1  # a column stays a column
    assert kernels == load_kernels(tmp_path)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        (np.array([[-1.0, 2.0]]), "negative"),
        (np.array([[np.nan, 2.0]]), "no numbers"),
        (np.zeros((3, 3)), "all 0"),
        (np.ones((3, 3, 3)), "2-D"),
        (np.ones((3, 300)), "255 px"),
        (np.array([["text"]]), "no array of numbers"),
        (np.ones((1000, 1000)), "more than 4 MB"),
        (np.array([{"code": "runs when unpickled"}], dtype=object), "no array of numbers"),
    ],
)
def test_a_file_that_is_no_kernel_is_named(tmp_path: Path, values: NDArray[np.generic], sentence: str) -> None:
    np.save(tmp_path / "bad.npy", values)
    with pytest.raises(DataError, match=f"bad.npy.*{sentence}"):
        load_kernels(tmp_path)


def test_broken_images_and_empty_folders_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="0 kernels"):
        load_kernels(tmp_path)
    (tmp_path / "cut.png").write_bytes(b"\x89PNG")
    with pytest.raises(DataError, match=r"cut\.png"):
        load_kernels(tmp_path)
