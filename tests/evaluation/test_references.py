"""What a user would try first: it helps against mild blur, and a flat picture stays flat."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from deblur.data.photos import HELD_BACK, SharpPhoto
from deblur.evaluation.references import REFERENCES, estimated_blur, polyblur
from deblur.images import from_rgb8, to_rgb8
from deblur.metrics import psnr_db
from deblur.synthesis.field import convolved
from deblur.synthesis.kernels import gaussian_kernel
from tests.evaluation.test_blur_strength import softened


@pytest.mark.parametrize("sigma", [1.0, 2.0, 3.0])
def test_the_blur_of_photographs_is_estimated(photos: dict[str, SharpPhoto], sigma: float) -> None:
    found = [estimated_blur(from_rgb8(softened(photos[name].pixels, sigma)))[0] for name in HELD_BACK]
    assert np.median(found) == pytest.approx(sigma, rel=0.3)


@pytest.mark.parametrize("angle", [0.0, np.pi / 6, np.pi / 2, 5 * np.pi / 6])
def test_the_direction_of_most_blur_is_found(photos: dict[str, SharpPhoto], angle: float) -> None:
    planes = from_rgb8(photos["astronaut"].pixels).transpose(2, 0, 1)
    blurry = convolved(planes, gaussian_kernel(3.0, 0.3, angle)[None])[0].transpose(1, 2, 0)
    sigma, ratio, found = estimated_blur(np.ascontiguousarray(blurry))
    assert abs((found - angle + np.pi / 2) % np.pi - np.pi / 2) < np.pi / 5
    assert ratio < 0.75
    assert sigma > 2


def test_polyblur_gains_on_mild_blur(photos: dict[str, SharpPhoto]) -> None:
    gains = []
    for name in HELD_BACK:
        sharp = photos[name].pixels
        blurry = softened(sharp, 1.2)
        gains.append(psnr_db(to_rgb8(polyblur(from_rgb8(blurry))), sharp) - psnr_db(blurry, sharp))
    assert min(gains) > -0.1
    assert np.mean(gains) > 1


@pytest.mark.parametrize("name", REFERENCES)
def test_each_gains_on_mild_blur(photos: dict[str, SharpPhoto], name: str) -> None:
    sharp = photos["coffee"].pixels[:250, 100:401]
    blurry = softened(photos["coffee"].pixels, 1.2)[:250, 100:401]
    assert psnr_db(to_rgb8(REFERENCES[name](from_rgb8(blurry))), sharp) > psnr_db(blurry, sharp) + 1


@pytest.mark.parametrize("name", REFERENCES)
def test_nothing_wraps_around(name: str) -> None:
    """Four flat quarters, each border of another brightness than the one across, stay as they are at the borders."""
    rows, columns = np.arange(101)[:, None, None] > 50, np.arange(121)[None, :, None] > 60
    blurry = gaussian_filter((0.2 + 0.25 * rows + 0.35 * columns) * np.ones(3), (2, 2, 0)).astype(np.float32)
    change = np.abs(REFERENCES[name](blurry) - blurry)
    assert change.max() > 0.05
    for corner in (change[:12, :12], change[:12, -12:], change[-12:, :12], change[-12:, -12:]):
        assert corner.max() < 1 / 255


@pytest.mark.parametrize("name", REFERENCES)
def test_borders_are_restored_as_the_middle_is(photos: dict[str, SharpPhoto], name: str) -> None:
    sharp = photos["coffee"].pixels[101:300, 151:400]
    blurry = softened(photos["coffee"].pixels, 1.5)[101:300, 151:400]
    error = (REFERENCES[name](from_rgb8(blurry)) - from_rgb8(sharp)) ** 2
    inside = np.zeros(sharp.shape[:2], bool)
    inside[12:-12, 12:-12] = True
    assert error[~inside].mean() < 2 * error[inside].mean() + 1e-4


@pytest.mark.parametrize("name", REFERENCES)
def test_each_keeps_shape_range_and_what_is_flat(name: str) -> None:
    flat = np.full((40, 61, 3), 0.3, np.float32)
    assert np.allclose(REFERENCES[name](flat), flat, atol=1e-5)
    noise = np.random.default_rng(0).random((40, 61, 3), dtype=np.float32)
    restored = REFERENCES[name](noise)
    assert restored.shape == noise.shape
    assert restored.dtype == np.float32
    assert 0 <= restored.min() <= restored.max() <= 1
