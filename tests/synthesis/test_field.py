"""Blur from place to place: equal to averaging many turned and shifted pictures, constants stay, cells do not show."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.ndimage import convolve, gaussian_filter, map_coordinates

from deblur.data.photos import SharpPhoto
from deblur.synthesis import field
from deblur.synthesis.field import STILL, Blur, Cell, Motion, Spot, Thing, blurred_cell, cells_of, convolved
from deblur.synthesis.kernels import FixedArray, disc_kernel, shake_trajectory, swing_trajectory

HEIGHT, WIDTH = 90, 120


def moving(seed: int, extent_px: float = 9.0, roll_rad: float = 0.0, centre: tuple[float, float] = (0, 0)) -> Motion:
    rng = np.random.default_rng(seed)
    roll = swing_trajectory(rng, 1.0)[:, 0]
    roll *= roll_rad / np.abs(roll).max()
    return Motion(FixedArray.of(np.column_stack([shake_trajectory(rng, extent_px), roll])), centre)


def whole(light: NDArray[np.float32], reach: int, blur: Blur, thing: Thing | None = None) -> NDArray[np.float32]:
    """All cells of a picture whose light has a margin of ``reach``."""
    size = light.shape[1] - 2 * reach, light.shape[2] - 2 * reach
    out = np.full((3, *size), np.nan, np.float32)
    for cell in cells_of(blur, size):
        rows, columns = cell.wanted
        part = light[:, rows.start : rows.stop + 2 * reach, columns.start : columns.stop + 2 * reach]
        out[:, rows, columns] = blurred_cell(part, cell, size, blur, thing)
    return out


@given(st.integers(0, 1000), st.floats(0, 0.08), st.booleans(), st.floats(0.0, 2.0))
@settings(max_examples=15, deadline=None)
def test_a_constant_stays_constant(seed: int, roll_rad: float, has_thing: bool, value: float) -> None:
    blur = moving(seed, 8.0, roll_rad, (20.0, -35.0))
    blob = FixedArray.of([[5, 3, 20, 12, 0.5], [-10, 0, 9, 14, 1.0]])
    thing = Thing(moving(seed + 1, 12.0), blob, 3.0) if has_thing else None
    reach = max(blur.reach_px(WIDTH, HEIGHT), thing.blur.reach_px(WIDTH, HEIGHT) if thing else 0)
    constant = np.full((3, HEIGHT + 2 * reach, WIDTH + 2 * reach), value, np.float32)
    assert np.abs(whole(constant, reach, blur, thing) - value).max() < 1e-5


def test_a_rolling_camera_equals_many_turned_and_shifted_pictures(photos: dict[str, SharpPhoto]) -> None:
    """The reference turns about the centre exactly, frame by frame, and knows nothing of kernels."""
    centre, size = (50.0, -80.0), 200
    blur = moving(3, 10.0, np.deg2rad(1.5), centre)
    reach = blur.reach_px(size, size)
    light = photos["astronaut"].pixels[: size + 2 * reach, : size + 2 * reach].transpose(2, 0, 1) / np.float32(255)
    result = whole(light, reach, blur)

    middle = size / 2 - 0.5 + reach
    y, x = np.mgrid[reach : reach + size, reach : reach + size] - middle
    frames = []
    for dx, dy, roll in blur.path.array.astype(np.float64):
        cos, sin = np.cos(roll), np.sin(roll)
        there_x = centre[0] + (x - centre[0]) * cos + (y - centre[1]) * sin - dx
        there_y = centre[1] - (x - centre[0]) * sin + (y - centre[1]) * cos - dy
        frames.append([map_coordinates(plane, [there_y + middle, there_x + middle], order=1) for plane in light])
    expected = np.mean(frames, axis=0)
    assert np.sqrt(np.mean((result - expected) ** 2)) < 0.5 / 255
    without = whole(light, reach, Motion(FixedArray.of(blur.path.array * [1, 1, 0])))
    assert np.sqrt(np.mean((without - expected) ** 2)) > 5 / 255


def test_kernels_lie_where_the_path_is_on_average_wherever_the_camera_rolls() -> None:
    blur = moving(5, 12.0, 0.02, (300.0, 200.0))
    places = np.array([(x, y) for x in (-60, 0, 60) for y in (-45, 45)], float)
    kernels, paths = blur.kernels(places, 30), blur.displacements(places)
    offset = np.arange(61) - 30
    assert np.allclose(kernels.sum(axis=(1, 2)), 1, atol=1e-5)
    centres = np.stack([(kernels.sum(axis=axis) * offset).sum(axis=1) for axis in (1, 2)], axis=1)
    assert np.abs(centres - paths.mean(axis=1)).max() < 1e-3
    assert np.abs(paths[:, 31:33].mean(axis=1)).max() < 1e-6, "at 0 at half time"
    assert np.abs(kernels[0] - kernels[-1]).max() > 0.01


def test_a_thing_moves_in_front_of_its_background() -> None:
    """Against the formula, by direct convolution."""
    rng = np.random.default_rng(0)
    background, own = moving(1, 6.0), moving(2, 9.0)
    thing = Thing(own, FixedArray.of([[4, -6, 18, 11, 0.7]]), 4.0)
    reach = max(part.reach_px(WIDTH, HEIGHT) for part in (background, own))
    light = rng.random((3, HEIGHT + 2 * reach, WIDTH + 2 * reach), np.float32)
    result = whole(light, reach, background, thing)

    y, x = np.mgrid[: light.shape[1], : light.shape[2]] + 0.5
    mask = thing.mask(x - light.shape[2] / 2, y - light.shape[1] / 2)
    assert mask.min() == 0
    assert mask.max() == 1
    (here,) = background.kernels(np.zeros((1, 2)), reach)
    (there,) = own.kernels(np.zeros((1, 2)), reach)
    cover = convolve(mask, there)
    expected = np.stack([convolve(mask * p, there) + (1 - cover) * convolve(p, here) for p in light])
    assert np.abs(result - expected[:, reach:-reach, reach:-reach]).max() < 1e-4


def test_weights_inside_a_cell_sum_to_one() -> None:
    weights = Cell((10, 47), (3, 90), (slice(10, 47), slice(3, 90))).weights()
    assert weights.shape == (4, 1, 37, 87)
    assert np.abs(weights.sum(axis=0) - 1).max() < 1e-6
    assert weights.min() >= 0


def test_cells_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    """A large picture is done cell by cell; where the kernel is one, nobody can tell."""
    light = np.random.default_rng(0).random((3, 170, 150), np.float32)
    blur = Spot(FixedArray.of(disc_kernel(4)))
    reach = blur.reach_px(0, 0)
    at_once = whole(light, reach, blur)
    monkeypatch.setattr(field, "CELL_PX", 37)
    assert len(list(cells_of(blur, (160, 140)))) == 20
    assert np.abs(whole(light, reach, blur) - at_once).max() < 1e-5


def test_a_part_of_a_picture_is_the_wholes() -> None:
    light = np.random.default_rng(0).random((3, 150, 170), np.float32)
    blur = moving(7, 8.0, 0.03, (40.0, 10.0))
    reach = blur.reach_px(130, 110)
    light = light[:, : 110 + 2 * reach, : 130 + 2 * reach]
    complete = whole(light, reach, blur)
    for cell in cells_of(blur, (110, 130), inset_px=17):
        rows, columns = cell.wanted
        assert rows.start >= 17
        assert columns.stop <= 113
        part = light[:, rows.start : rows.stop + 2 * reach, columns.start : columns.stop + 2 * reach]
        same = blurred_cell(part, cell, (110, 130), blur, None)
        assert np.abs(same - complete[:, rows, columns]).max() < 1e-5


def test_a_rolling_blur_has_no_seams() -> None:
    """Of a smooth picture: neighbouring pixels across a seam differ no more than elsewhere."""
    smooth = gaussian_filter(np.random.default_rng(0).random((3, 260, 260)), (0, 5, 5)).astype(np.float32)
    blur = moving(2, 10.0, 0.02)
    reach = blur.reach_px(200, 200)
    result = whole(smooth[:, : 200 + 2 * reach, : 200 + 2 * reach], reach, blur)
    seams = [cell.x[0] for cell in cells_of(blur, (200, 200)) if cell.x[0] and cell.y[0] == 0]
    curvature = np.abs(np.diff(result, n=2, axis=2)).mean(axis=(0, 1))
    assert len(seams) >= 2
    assert curvature[[seam - 1 for seam in seams]].mean() < 1.5 * np.median(curvature)


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 5))
@settings(max_examples=20, deadline=None)
def test_the_fourier_convolution_equals_the_direct_one(height: int, width: int, radius: int) -> None:
    rng = np.random.default_rng(height * 41 + width)
    planes = rng.random((2, height + 2 * radius, width + 2 * radius), np.float32)
    kernels = rng.random((3, 2 * radius + 1, 2 * radius + 1), np.float32)
    inner = np.s_[:, radius : radius + height, radius : radius + width]
    expected = [np.stack([convolve(p, k, mode="constant") for p in planes])[inner] for k in kernels]
    assert np.allclose(convolved(planes, kernels), expected, rtol=1e-4)


def test_a_camera_at_rest_changes_nothing() -> None:
    light = np.random.default_rng(0).random((3, 30, 40), np.float32)
    assert np.array_equal(whole(light, 0, STILL), light)
    at_rest = Motion(FixedArray.of(np.zeros((64, 3))))
    assert at_rest.reach_px(40, 30) == 0
    assert np.array_equal(whole(light, 0, at_rest), light)
