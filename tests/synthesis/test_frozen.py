"""Frozen kernels: the same bytes for ever, kernels that move nothing, and pictures that depend on nothing else."""

from importlib import resources
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import correlate

from deblur.data.photos import SharpPhoto
from deblur.errors import SettingError
from deblur.files import sha256_of
from deblur.images import from_rgb8, to_rgb8
from deblur.metrics import psnr_db
from deblur.synthesis.frozen import FILE, degraded, frozen_kernel, frozen_kernels
from deblur.synthesis.light import to_linear, to_srgb
from tests.synthesis.test_kernels import assert_is_a_kernel

COUNT = 24
SHA256 = "04cac9db4560b6aa7f62b915312007353236675b3c81ccf4214e12b757c713e3"


@pytest.fixture(scope="module")
def sharp(photos: dict[str, SharpPhoto]) -> NDArray[np.uint8]:
    return photos["astronaut"].pixels[100:228, 150:310]


def test_the_kernels_are_those_of_the_first_day() -> None:
    assert sha256_of(Path(str(resources.files("deblur.synthesis") / FILE))) == SHA256
    assert len(frozen_kernels()) == COUNT
    assert list(frozen_kernels())[7] == "shake, 8 px"


@pytest.mark.parametrize("number", range(COUNT))
def test_every_one_is_a_kernel_that_moves_nothing(number: int) -> None:
    kernel = frozen_kernel(number)
    assert_is_a_kernel(kernel)
    assert kernel.dtype == np.float32
    assert len(kernel) <= 49
    with pytest.raises(ValueError, match="read-only"):
        kernel[0, 0] = 1


def test_they_grow_in_strength(sharp: NDArray[np.uint8]) -> None:
    psnr = [psnr_db(degraded(sharp, number), sharp) for number in range(COUNT)]
    means = [np.mean(psnr[part]) for part in (slice(0, 4), slice(4, 12), slice(12, 18), slice(18, 24))]
    assert means == sorted(means, reverse=True)


@pytest.mark.parametrize("number", [0, 7, 23])
def test_blur_is_a_convolution_of_light_reflected_at_the_border(number: int, sharp: NDArray[np.uint8]) -> None:
    light = to_linear(from_rgb8(sharp)).astype(np.float64)
    flipped = frozen_kernel(number)[::-1, ::-1].astype(np.float64)
    planes = [correlate(light[..., colour], flipped, mode="reflect") for colour in range(3)]
    expected = to_rgb8(to_srgb(np.stack(planes, axis=-1).astype(np.float32)))
    blurred = degraded(sharp, number)
    assert blurred.shape == sharp.shape
    assert np.abs(blurred.astype(int) - expected).max() <= 1


def test_a_constant_stays_and_nothing_changes_nothing(sharp: NDArray[np.uint8]) -> None:
    assert np.array_equal(degraded(sharp, None), sharp)
    grey = np.full((9, 30, 3), 137, np.uint8)  # lower than the kernel
    assert all(np.array_equal(degraded(grey, number), grey) for number in range(COUNT))


def test_noise_has_its_deviation_and_its_seed() -> None:
    grey = np.full((300, 400, 3), 128, np.uint8)
    noisy = degraded(grey, None, 6.0, seed=3)
    error = noisy.astype(float) - 128
    assert error.std() == pytest.approx(np.hypot(6, 12**-0.5), rel=0.01)  # and that of rounding
    assert abs(error.mean()) < 0.05
    assert np.abs(np.corrcoef(error.reshape(-1, 3).T)[np.triu_indices(3, 1)]).max() < 0.02
    assert np.array_equal(noisy, degraded(grey, None, 6.0, seed=3))
    assert not np.array_equal(noisy, degraded(grey, None, 6.0, seed=4))
    blurred = degraded(grey, 12, 6.0, seed=3)
    assert np.abs(blurred.astype(int) - noisy).max() <= 1, "the blur of a constant, the same noise"


@pytest.mark.parametrize(("kernel", "noise"), [(24, 0.0), (-1, 0.0), (None, -1.0), (None, float("nan"))])
def test_what_there_is_not_is_told(kernel: int | None, noise: float) -> None:
    with pytest.raises(SettingError, match=r"there are 24, numbered 0 to 23|noise is (-1|nan)"):
        degraded(np.zeros((8, 8, 3), np.uint8), kernel, noise)
