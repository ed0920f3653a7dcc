"""Kernels: they sum to 1 and do not move the image."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deblur.synthesis.kernels import kernel_from_trajectory, shake_kernel, shake_trajectory


@given(st.integers(0, 10_000), st.floats(0.5, 40))
def test_a_kernel_sums_to_one_and_is_centred(seed: int, extent_px: float) -> None:
    kernel = shake_kernel(np.random.default_rng(seed), extent_px)
    side = kernel.shape[0]
    assert kernel.shape == (side, side)
    assert side % 2 == 1
    assert kernel.min() >= 0
    assert kernel.sum() == pytest.approx(1, abs=1e-5)
    offset = np.arange(side) - side // 2
    assert abs((kernel.sum(axis=0) * offset).sum()) < 1e-3  # px, across
    assert abs((kernel.sum(axis=1) * offset).sum()) < 1e-3  # px, down


@given(st.integers(0, 10_000), st.floats(1, 40))
def test_a_trajectory_is_as_wide_as_asked(seed: int, extent_px: float) -> None:
    path = shake_trajectory(np.random.default_rng(seed), extent_px)
    assert np.linalg.norm(np.ptp(path, axis=0)) == pytest.approx(extent_px)


def test_a_still_camera_does_not_blur() -> None:
    kernel = kernel_from_trajectory(np.zeros((5, 2)))
    assert kernel[kernel.shape[0] // 2, kernel.shape[1] // 2] == 1
