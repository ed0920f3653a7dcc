"""Degradation: what the formulas say, from real pixels only, a function of the generator alone, and the
picture where the path was."""

import pickle
from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.ndimage import convolve, gaussian_filter

from deblur.data.photos import SharpPhoto
from deblur.errors import DataError, SettingError
from deblur.images import Rgb8, from_rgb8, to_rgb8
from deblur.metrics import psnr_db
from deblur.synthesis.degrade import Degradation, Noise, degrade
from deblur.synthesis.draw import NOISE_ONLY, SEVERITIES, BlurRanges, draw, margin_px
from deblur.synthesis.field import Motion, Spot
from deblur.synthesis.kernels import FixedArray, shake_kernel
from deblur.synthesis.light import ENCODED, SRGB, Curve, to_linear

SIZE = (48, 64)
SEEDS = st.integers(0, 100_000)
KINDS = ("swing", "shake", "line", "gaussian", "defocus")
PLAIN = BlurRanges(noise_share=0, resample_share=0, jpeg_share=0, gain_share=0, enlarged_share=0, shrunk_share=0)
"""Blur and nothing else."""


def only(kind: str, ranges: BlurRanges = PLAIN) -> BlurRanges:
    return replace(ranges, **{name: float(name == kind) for name in (*KINDS, "sharp")})


def source_for(degradation: Degradation, seed: int = 0) -> Rgb8:
    """Soft noise: every pixel differs, and no pixel is saturated."""
    height, width = degradation.source_shape
    noise = gaussian_filter(np.random.default_rng(seed).random((height, width, 3)), (1, 1, 0))
    return to_rgb8(np.clip(0.5 + 2 * (noise - 0.5), 0.02, 0.9).astype(np.float32))


def photo_for(degradation: Degradation, photo: SharpPhoto) -> Rgb8:
    """The middle of a photo, repeated where it is too small."""
    height, width = degradation.source_shape
    return np.tile(photo.pixels, (3, 3, 1))[200 : 200 + height, 200 : 200 + width]


@given(SEEDS, st.floats(0, 1))
@settings(deadline=None)
def test_what_is_drawn_is_a_small_value_and_a_function_of_the_generator(seed: int, strength: float) -> None:
    one, same, other = (draw(np.random.default_rng(s), SIZE, strength) for s in (seed, seed, seed + 1))
    assert one == same
    assert one != other
    assert hash(one) == hash(same)
    data = pickle.dumps(one)
    assert pickle.loads(data) == one
    assert len(data) < 30_000


@given(SEEDS, st.sampled_from([0.1, 0.5, 1.0]))
@settings(deadline=None, max_examples=20)
def test_the_pictures_are_a_function_of_source_and_degradation(seed: int, strength: float) -> None:
    degradation = draw(np.random.default_rng(seed), SIZE, strength)
    source = source_for(degradation)
    (blurry, sharp), again = degrade(source, degradation), degrade(source.copy(), degradation)
    assert blurry.shape == sharp.shape == (*SIZE, 3)
    assert blurry.dtype == sharp.dtype == np.uint8
    assert np.array_equal(blurry, again[0])
    assert np.array_equal(sharp, again[1])


@given(SEEDS)
@settings(deadline=None, max_examples=20)
def test_at_strength_zero_blurry_equals_sharp(seed: int) -> None:
    degradation = draw(np.random.default_rng(seed), SIZE, 0.0)
    blurry, sharp = degrade(source_for(degradation), degradation)
    assert np.abs(blurry.astype(int) - sharp).max() <= 1


def test_sharp_is_the_middle_of_the_source() -> None:
    degradation = draw(np.random.default_rng(0), SIZE, 1.0, PLAIN)
    source, margin = source_for(degradation), margin_px(PLAIN)
    assert np.array_equal(degrade(source, degradation)[1], source[margin:-margin, margin:-margin])


def test_strength_lowers_the_psnr_of_blurry(photos: dict[str, SharpPhoto]) -> None:
    means = []
    for strength in (0.1, SEVERITIES["mild"], SEVERITIES["medium"], 0.75, SEVERITIES["strong"]):
        drawn = [draw(np.random.default_rng(seed), (64, 64), strength) for seed in range(60)]
        pairs = [degrade(photo_for(d, photos["coffee"]), d) for d in drawn]
        means.append(np.mean([min(psnr_db(*pair), 60.0) for pair in pairs]))
    assert np.diff(means).max() < -0.5


@pytest.mark.parametrize("kind", KINDS)
def test_blurry_lies_where_the_path_was_on_average(kind: str, photos: dict[str, SharpPhoto]) -> None:
    """The shift between the two, by least squares on their slopes (Lucas & Kanade), pixels being codes.

    Optics and lines leave the picture where it is.
    """
    ranges = replace(only(kind), encoded_share=1.0, thing_share=0.0)
    shifts = []
    for seed in range(6):
        degradation = draw(np.random.default_rng(seed), (128, 128), 0.5, ranges)
        pair = degrade(photo_for(degradation, photos["china"]), degradation)
        assert psnr_db(*pair) < 45
        blurry, sharp = (gaussian_filter(image.mean(axis=2), 8)[24:-24, 24:-24] for image in pair)
        slopes = np.stack([slope.ravel() for slope in np.gradient((blurry + sharp) / 2)], axis=1)
        moves = isinstance(degradation.blur, Motion)
        there = degradation.blur.displacements(np.zeros((1, 2)))[0].mean(axis=0)[::-1] if moves else np.zeros(2)
        shifts.append(np.linalg.lstsq(slopes, (sharp - blurry).ravel(), rcond=None)[0] - there)
    assert np.abs(np.mean(shifts, axis=0)).max() < 0.1  # px
    assert np.abs(shifts).max() < 0.4


@pytest.mark.parametrize("encoded_share", [0.0, 1.0])
def test_all_that_moves_is_at_the_centre_at_half_time(encoded_share: float) -> None:
    """Swings, shakes, rolls and things, in 64 steps or as few as a film has frames; speed changes on the way."""
    drawn = [
        draw(np.random.default_rng(seed), SIZE, 1.0, BlurRanges(encoded_share=encoded_share)) for seed in range(300)
    ]
    moving = [blur for d in drawn for blur in (d.blur, d.thing and d.thing.blur) if isinstance(blur, Motion)]
    paths = [blur.path.array for blur in moving]
    halves = [[np.interp(0.5, np.linspace(0, 1, len(path)), axis) for axis in path.T] for path in paths]
    assert np.abs(halves).max() < 1e-5
    assert np.median([np.hypot(*path[:, :2].mean(axis=0)) for path in paths]) > 0.5
    assert max(abs(float(path[:, 2].mean())) for path in paths) > 1e-3
    assert {len(path) for path in paths} >= (set(range(7, 14)) if encoded_share else {64})


@pytest.mark.parametrize("curve", [ENCODED, SRGB, Curve(2.2, 0.4)])
def test_it_equals_a_direct_convolution_of_light(curve: Curve) -> None:
    """Or of codes, where there is no curve."""
    kernel = shake_kernel(np.random.default_rng(8), 11.0)
    degradation = Degradation(SIZE, 20, curve=curve, blur=Spot(FixedArray.of(kernel)))
    source = source_for(degradation)
    light = curve.decode(from_rgb8(source))
    direct = np.stack([convolve(light[..., c], kernel) for c in range(3)], axis=-1)[20:-20, 20:-20]
    assert np.abs(degrade(source, degradation)[0].astype(int) - to_rgb8(curve.encode(direct))).max() <= 1


@given(SEEDS, st.integers(0, 255))
@example(456, 246)  # expanded highlights
@settings(deadline=None, max_examples=30)
def test_a_constant_stays_constant_through_blur_resampling_and_jpeg(seed: int, code: int) -> None:
    degradation = replace(draw(np.random.default_rng(seed), SIZE, 1.0), noise=None)
    blurry, sharp = degrade(np.full((*degradation.source_shape, 3), code, np.uint8), degradation)
    assert sharp.min() == sharp.max()
    assert np.abs(blurry.astype(int) - sharp).max() <= (3 if degradation.quality else 1)


@given(SEEDS)
@settings(deadline=None, max_examples=30)
def test_pixels_outside_of_the_needed_margin_are_not_looked_at(seed: int) -> None:
    drawn = draw(np.random.default_rng(seed), SIZE, 1.0)
    degradation = replace(drawn, zoom=1.0)
    source, garbage = source_for(degradation), source_for(degradation, seed=1)
    unused = degradation.margin_px - degradation.reach_px - degradation.surround_px
    assert unused >= 0
    inner = np.s_[unused : source.shape[0] - unused, unused : source.shape[1] - unused]
    garbage[inner] = source[inner]
    assert all(map(np.array_equal, degrade(source, degradation), degrade(garbage, degradation)))


@pytest.mark.parametrize("kind", KINDS)
def test_pixels_inside_of_it_are(kind: str) -> None:
    """So the margin is not larger than it has to be, and its pixels are real: garbage there shows."""
    degradation = draw(np.random.default_rng(1), SIZE, 0.5, replace(only(kind), thing_share=0))
    source = source_for(degradation)
    painted, needed = 255 - source, degradation.margin_px - degradation.reach_px + 2
    inner = np.s_[needed : source.shape[0] - needed, needed : source.shape[1] - needed]
    painted[inner] = source[inner]
    (here, sharp), (there, same) = degrade(source, degradation), degrade(painted, degradation)
    assert np.array_equal(sharp, same)
    assert not np.array_equal(here, there)
    assert np.array_equal(here[20:-20, 24:-24], there[20:-20, 24:-24]) or degradation.reach_px > 20


@pytest.mark.parametrize("curve", [ENCODED, SRGB])
def test_noise_has_the_variance_of_its_law(curve: Curve) -> None:
    """In linear light, also where the blur was on codes."""
    noise = Noise(shot=2e-3, read=3e-3, seed=5)
    for code in (60, 128, 200):
        degradation = Degradation((256, 256), 0, curve=curve, noise=noise)
        blurry, _ = degrade(np.full((256, 256, 3), code, np.uint8), degradation)
        light, expected = to_linear(from_rgb8(blurry)), float(to_linear(np.float32(code / 255)))
        rounding = (to_linear(np.float32((code + 1) / 255)) - expected) ** 2 / 12
        assert light.mean() == pytest.approx(expected, rel=0.01)
        assert light.var() == pytest.approx(noise.shot * expected + noise.read**2 + rounding, rel=0.05)


def test_noise_only_is_noise_only(photos: dict[str, SharpPhoto]) -> None:
    for seed in range(10):
        degradation = draw(np.random.default_rng(seed), SIZE, 0.5, NOISE_ONLY)
        assert degradation.noise is not None
        assert degradation.reach_px == degradation.surround_px == 0
        blurry, sharp = degrade(photo_for(degradation, photos["coffee"]), degradation)
        assert not np.array_equal(blurry, sharp)


def test_a_saturated_light_leaves_a_bright_trail() -> None:
    """A lamp of 5 x 5 px, smeared over 25: as a clipped code it fades, as the light it was it does not."""
    degradation = Degradation((41, 41), 20, highlights=6.0, blur=Spot(FixedArray.of(np.full((15, 15), 1 / 225))))
    source = np.zeros((81, 81, 3), np.uint8)
    source[38:43, 38:43] = 255
    blurry, _ = degrade(source, degradation)
    clipped, _ = degrade(source, replace(degradation, highlights=1.0))
    assert int(blurry.max()) > 1.8 * int(clipped.max())


def test_shares_and_ranges_are_what_the_ranges_says() -> None:
    ranges = BlurRanges()
    drawn = [draw(np.random.default_rng(seed), (128, 128), 1.0, ranges) for seed in range(800)]

    def share(fact: list[bool]) -> float:
        return float(np.mean(fact))

    within = 0.06  # more than three standard deviations of a share of 800
    total = sum(share for _, share in ranges.kinds)
    moving = (ranges.swing + ranges.shake) / total
    assert share([d.curve == ENCODED for d in drawn]) == pytest.approx(ranges.encoded_share, abs=within)
    assert share([d.noise is not None for d in drawn]) == pytest.approx(ranges.noise_share, abs=within)
    assert share([d.quality is not None for d in drawn]) == pytest.approx(ranges.jpeg_share, abs=within)
    assert share([d.zoom > 1 for d in drawn]) == pytest.approx(ranges.enlarged_share, abs=within)
    assert share([d.blur.roll_rad > 0 for d in drawn]) == pytest.approx(moving * ranges.roll_share, abs=within)
    assert all(30 <= d.quality <= 95 for d in drawn if d.quality)
    assert all(d.reach_px <= ranges.reach_px for d in drawn)
    assert {len(d.blur.path.array) for d in drawn if isinstance(d.blur, Motion) and d.curve == ENCODED} >= set(
        range(ranges.frames[0], ranges.frames[1] + 1)
    )
    assert all(name.name in str(BlurRanges.__doc__) for name in fields(BlurRanges)), "every setting is explained"


def test_measured_kernels_are_used_and_checked() -> None:
    kernel = FixedArray.of(shake_kernel(np.random.default_rng(0), 12.0))
    ranges = replace(only("sharp"), measured=(kernel,), measured_share=1e9)
    degradation = draw(np.random.default_rng(0), SIZE, 0.5, ranges)
    assert isinstance(degradation.blur, Spot)
    used, reach = kernel.array, degradation.reach_px
    middle = used.shape[0] // 2
    inner = used[middle - reach : middle + reach + 1, middle - reach : middle + reach + 1]
    assert np.allclose(degradation.blur.kernel.array, inner, atol=1e-6)
    with pytest.raises(SettingError, match="raise reach_px"):
        replace(ranges, reach_px=3)
    with pytest.raises(SettingError, match="share 0"):
        only("none")


@given(SEEDS, st.integers(40, 300), st.integers(40, 300))
@settings(deadline=None, max_examples=30)
def test_a_zoom_makes_the_source_fit_into_any_photo(seed: int, height: int, width: int) -> None:
    """Shrunk less where the photo is small, enlarged where it is smaller than the crop with its margins."""
    drawn = draw(np.random.default_rng(seed), SIZE, 0.5)
    fitting = (wanted / there for wanted, there in zip(drawn.framed_shape, (height, width), strict=True))
    degradation = replace(drawn, zoom=max(drawn.zoom, *fitting))
    assert degradation.source_shape <= (height, width)
    assert degradation.source_shape[1] <= width
    blurry, sharp = degrade(source_for(degradation), degradation)
    assert blurry.shape == sharp.shape == (*SIZE, 3)


def test_a_wrong_source_and_a_wrong_strength_are_refused() -> None:
    degradation = draw(np.random.default_rng(0), SIZE, 0.5, PLAIN)
    with pytest.raises(DataError, match="this degradation wants 156 x 172 x 3"):
        degrade(np.zeros((100, 100, 3), np.uint8), degradation)
    with pytest.raises(SettingError, match="0 to 1"):
        draw(np.random.default_rng(0), SIZE, 1.5)


def test_a_whole_photo_of_any_size(photos: dict[str, SharpPhoto]) -> None:
    """Cell by cell, read-only and of odd sides; the crop of the whole is the same as the whole's crop."""
    degradation = replace(draw(np.random.default_rng(3), (601, 533), 0.5, only("line")), thing=None)
    source = np.broadcast_to(photo_for(degradation, photos["china"]), (*degradation.source_shape, 3))
    blurry, _ = degrade(source, degradation)
    part = replace(degradation, shape_px=(101, 133))
    margin = degradation.margin_px
    crop, _ = degrade(source[500 : 601 + 2 * margin, 400 : 533 + 2 * margin], part)
    assert np.abs(blurry[500:, 400:].astype(int) - crop).max() <= 1
