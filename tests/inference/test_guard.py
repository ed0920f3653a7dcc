"""The guard: broken results become the input again, what is sharp stays, and no cut of the photo changes a bit."""

from collections.abc import Callable

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from skimage import data

from deblur.errors import ModelError
from deblur.images import Photo, Rgb8, from_rgb8, to_rgb8
from deblur.inference.engine import Tiles
from deblur.inference.guard import Guard
from deblur.inference.locating import bundled_model
from deblur.inference.model_folder import Model, open_model
from deblur.inference.onnx_runtime import OnnxEngine
from deblur.inference.photo import restore_photo
from deblur.inference.restorer import Restorer
from deblur.inference.tiling import SizeRule, Tiling
from deblur.metrics import psnr_db
from deblur.synthesis.frozen import degraded

ASTRONAUT: Rgb8 = data.astronaut()
FACE = ASTRONAUT[:256, 100:356].copy()


@pytest.fixture(scope="module")
def bundled() -> Model:
    folder = bundled_model()
    assert folder is not None
    return open_model(folder, OnnxEngine)


def guarded(engine: Callable[[Tiles], Tiles], rgb: Rgb8, tiling: Tiling = Tiling(1024, 0)) -> tuple[Rgb8, Guard]:
    result = rgb.copy()
    guard = Guard(result)
    Restorer(engine, tiling).in_place(result, guard=guard)
    return result, guard


def good_on_the_left_only(tile: Tiles) -> Tiles:
    """Pixel by pixel, so that any cut gives the same: a gentle change, but what is bright becomes no number."""
    changed = tile + np.float32(0.05) * np.sin(tile * np.float32(20))
    return np.where(tile > 0.97, np.float32("nan"), changed)


@pytest.mark.parametrize("shape", [(1, 1), (3, 70), (64, 64), (97, 33), (130, 301), (301, 190)])
def test_no_cut_of_the_photo_changes_a_bit(shape: tuple[int, int]) -> None:
    rgb = np.repeat(np.repeat(ASTRONAUT[::4, ::4], 3, axis=0), 3, axis=1)[: shape[0], : shape[1]]
    whole, of_whole = guarded(good_on_the_left_only, rgb)
    for tiling in (Tiling(64, 0, SizeRule(8, 8)), Tiling(48, 16, SizeRule(16, 16), halo_px=8), Tiling(200, 0)):
        cut, of_cut = guarded(good_on_the_left_only, rgb, tiling)
        assert np.array_equal(cut, whole)
        assert (of_cut.replaced, of_cut.left_alone) == (of_whole.replaced, of_whole.left_alone)
    if shape == (301, 190):
        assert 0 < of_whole.replaced < 1
        assert not np.array_equal(whole, rgb)


def not_a_number(tile: Tiles) -> Tiles:
    return tile * np.float32("nan")


def mosaic(tile: Tiles) -> Tiles:
    broken = tile.copy()
    broken[:, 0, ::2, ::2] += 0.4
    broken[:, 1, 1::2, ::2] -= 0.4
    return broken


def shifted(tile: Tiles) -> Tiles:
    return tile + np.array([0.15, -0.1, 0.1], np.float32)[:, None, None]


def too_much_energy(tile: Tiles) -> Tiles:
    return tile + np.random.default_rng(0).normal(0, 0.5, tile.shape).astype(np.float32)


def crushed(tile: Tiles) -> Tiles:
    return np.maximum(tile - 0.4, 0)


@pytest.mark.parametrize("broken", [not_a_number, mosaic, shifted, too_much_energy, crushed])
def test_what_is_broken_becomes_the_input_again_there(broken: Callable[[Tiles], Tiles], bundled: Model) -> None:
    """Blended: the good half is restored as it is without the broken one, the seam is not steeper than the input."""
    blurry = degraded(ASTRONAUT[100:484, :384], 8, 0.0, 0)

    def half_broken(tile: Tiles) -> Tiles:
        restored = bundled.restorer.engine(tile)
        restored[..., 192:] = broken(tile)[..., 192:]
        return restored

    result, guard = guarded(half_broken, blurry)
    good, of_good = guarded(bundled.restorer.engine, blurry)
    assert of_good.replaced == 0
    assert 0.4 < guard.replaced < 0.7
    assert psnr_db(result[:, 224:], blurry[:, 224:]) > 40
    assert np.array_equal(result[:, :112], good[:, :112]), "a cell's neighbours have a say, and what is further not"
    assert np.abs(np.diff(result.astype(float), axis=1)).max() <= np.abs(np.diff(good.astype(float), axis=1)).max() + 8


def test_a_sharp_photograph_stays(bundled: Model) -> None:
    kept, outcome = restore_photo(bundled, Photo(FACE.copy()))
    changed, unguarded = restore_photo(bundled, Photo(FACE.copy()), guarded=False)
    assert psnr_db(kept.rgb8, FACE) > max(45, psnr_db(changed.rgb8, FACE))
    assert outcome.left_alone > 0.5
    assert outcome.guard == f"replaced=0.00, left-alone={outcome.left_alone:.2f}"
    assert (unguarded.replaced, unguarded.left_alone) == (0, 0)


def test_strong_blur_is_restored_as_without_the_guard(bundled: Model) -> None:
    blurry = degraded(FACE, 8, 0.0, 0)
    restored, outcome = restore_photo(bundled, Photo(blurry.copy()))
    unguarded, _ = restore_photo(bundled, Photo(blurry.copy()), guarded=False)
    assert psnr_db(restored.rgb8, FACE) > psnr_db(unguarded.rgb8, FACE) - 0.05 > psnr_db(blurry, FACE)
    assert outcome.replaced == 0
    assert np.array_equal(unguarded.rgb8, to_rgb8(bundled.restorer(from_rgb8(blurry))))


def test_without_a_guard_what_is_not_a_number_is_an_error() -> None:
    with pytest.raises(ModelError, match="not numbers"):
        Restorer(not_a_number, Tiling(64, 0)).in_place(FACE.copy())
    kept, guard = guarded(not_a_number, FACE)
    assert np.array_equal(kept, FACE)
    assert guard.replaced == 1


def test_a_sharpened_sharp_photograph_is_left_alone_whatever_model_did_it() -> None:
    rgb = FACE[:128, :128].copy()
    pixels = rgb.astype(np.float32) / 255
    sharper = np.clip(1.3 * pixels - 0.3 * gaussian_filter(pixels, (1.5, 1.5, 0)), 0, 1).transpose(2, 0, 1)
    guard = Guard(rgb)
    guard.before(lambda rows, restored: None)(slice(0, 128), sharper)
    assert guard.replaced == 0
    assert guard.left_alone > 0.05


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_a_dead_pixel_in_a_quiet_place_becomes_the_input_again(value: float) -> None:
    blurry = degraded(ASTRONAUT[100:484, :384], 8, 0.0, 0)
    at = np.abs(blurry[..., 1].astype(int) - 255 * (1 - value)).argmin()
    y, x = np.unravel_index(at, blurry.shape[:2])

    def with_a_dead_pixel(tile: Tiles) -> Tiles:
        restored = tile.copy()
        restored[..., y, x] = value
        return restored

    result, guard = guarded(with_a_dead_pixel, blurry)
    assert np.array_equal(result, blurry)
    assert 0 < guard.replaced < 0.1


def test_where_much_is_broken_the_rest_is_doubted() -> None:
    """The same change of the lower half is a good one's alone, and not below a broken upper half."""
    blurry = degraded(ASTRONAUT[100:484, :384], 8, 0.0, 0)
    noise = np.random.default_rng(0).normal(0, 1, blurry.shape).astype(np.float32).transpose(2, 0, 1)

    def lower(tile: Tiles) -> Tiles:
        restored = tile.copy()
        restored[..., 192:, :] += np.float32(0.03) * noise[:, 192:]
        return restored

    def both(tile: Tiles) -> Tiles:
        restored = lower(tile)
        restored[..., :192, :] += np.float32(0.5) * noise[:, :192]
        return restored

    _, alone = guarded(lower, blurry)
    result, doubted = guarded(both, blurry)
    assert alone.replaced == 0
    assert doubted.replaced > 0.7
    assert psnr_db(result, blurry) > 38
