"""What is left to chance when a picture is blurred, drawn once, into a value.

A :class:`BlurRanges` says what happens how often; :func:`draw` decides everything and puts it into a
:class:`~deblur.synthesis.degrade.Degradation`, which ``degrade`` carries out.
"""

from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from deblur.errors import SettingError
from deblur.synthesis.degrade import JPEG_BLOCK_PX, SURROUND_PX, Degradation, Noise
from deblur.synthesis.field import STILL, Blur, Motion, Spot, Thing
from deblur.synthesis.kernels import (
    STEPS,
    FixedArray,
    disc_kernel,
    gaussian_kernel,
    line_kernel,
    scaled,
    shake_trajectory,
    swing_trajectory,
)
from deblur.synthesis.light import ENCODED, SRGB, Curve

FRAME_PX = (1280, 720)
"""The picture that a crop is thought to be part of: a camera rolls about a place anywhere in it."""

SEVERITIES = {"mild": 0.25, "medium": 0.5, "strong": 1.0}
"""Names on the knob ``strength``, which scales lengths and levels; at 0 blurry equals sharp."""


def strength_of(severity: str | float) -> float:
    """A severity's name as a number; numbers stay as they are."""
    return SEVERITIES[severity] if isinstance(severity, str) else severity


@dataclass(frozen=True)
class BlurRanges:
    """Which degradations, how often, how strong. Lengths and levels are those at strength 1.

    Args:
        swing, shake, line, gaussian, defocus, sharp: relative shares of the kinds of blur (``sharp``: none).
        measured_share: relative share of measured kernels, where there are any.
        measured: measured kernels (``load_kernels``); at their own size from strength 0.5 on.
        length_px: of a path, across; uniform.
        frames: of swings on encoded values, an average of so many frames.
        roll_share, roll_deg: how many swings and shakes also roll, and by how much in all, at most.
        thing_share: how many pictures with motion, or none, have a thing that moves by itself.
        sigma_px, disc_px: of Gaussians and of defocus.
        encoded_share: blur on encoded values; of the others ``srgb_share`` have the sRGB curve, the rest another one.
        powers, contrasts: of those curves.
        highlights_share, highlights: how many pictures in linear light have expanded highlights, and by how much.
        gain_share, gain_stops: exposure change of both pictures.
        white_levels: instead of a camera's noise, white Gaussian noise on encoded values: its deviation in levels of
            255, uniform, whatever the strength.
        noise_share, shot, read: noise of variance ``shot * light + read**2``; log-uniform shot, read from it (Brooks).
        resample_share, scale, bilinear_share: down to this scale and up again; bicubic or bilinear.
        jpeg_share, quality: JPEG, 4:2:0.
        enlarged_share, enlarged_to: soft content, which the network must learn to leave soft.
        shrunk_share, shrunk_to: the source is scaled down, the content is smaller and crisper.
        reach_px: no kernel reaches farther; longer paths are shortened.
        milder: share of samples whose strength is anything between 0 and what is asked for.
    """

    swing: float = 0.55
    shake: float = 0.17
    line: float = 0.05
    gaussian: float = 0.08
    defocus: float = 0.05
    sharp: float = 0.1
    measured_share: float = 0.2
    measured: tuple[FixedArray, ...] = ()
    length_px: tuple[float, float] = (16.0, 64.0)
    frames: tuple[int, int] = (7, 13)
    roll_share: float = 0.5
    roll_deg: float = 1.2
    thing_share: float = 0.35
    sigma_px: tuple[float, float] = (0.8, 4.0)
    disc_px: tuple[float, float] = (1.5, 8.0)
    encoded_share: float = 0.4
    srgb_share: float = 0.5
    powers: tuple[float, float] = (1.8, 2.6)
    contrasts: tuple[float, float] = (0.0, 0.6)
    highlights_share: float = 0.4
    highlights: tuple[float, float] = (1.0, 6.0)
    gain_share: float = 0.3
    gain_stops: tuple[float, float] = (-1.2, 0.8)
    white_levels: tuple[float, float] | None = None
    noise_share: float = 0.35
    shot: tuple[float, float] = (1e-4, 1.2e-2)
    resample_share: float = 0.15
    scale: tuple[float, float] = (0.4, 1.0)
    bilinear_share: float = 0.0
    jpeg_share: float = 0.35
    quality: tuple[float, float] = (30.0, 95.0)
    enlarged_share: float = 0.3
    enlarged_to: float = 2.2
    shrunk_share: float = 0.3
    shrunk_to: float = 0.5
    reach_px: int = 38
    milder: float = 0.0

    def __post_init__(self) -> None:
        largest = max((kernel.shape[0] // 2 for kernel in self.measured), default=0)
        if largest > self.reach_px:
            raise SettingError(
                f"A measured kernel reaches {largest} px and the ranges allow {self.reach_px}: raise reach_px, or "
                "scale the kernel down."
            )
        if sum(share for _, share in self.kinds) <= 0:
            raise SettingError("All kinds of blur have share 0; give one a share above 0 (sharp: no blur).")

    @property
    def kinds(self) -> tuple[tuple[str, float], ...]:
        """The kinds of blur and their relative shares."""
        named = [(kind, getattr(self, kind)) for kind in ("swing", "shake", "line", "gaussian", "defocus", "sharp")]
        return (*named, ("measured", self.measured_share if self.measured else 0.0))


NOISE_ONLY = BlurRanges(
    swing=0, shake=0, line=0, gaussian=0, defocus=0, measured_share=0, thing_share=0, noise_share=1,
    resample_share=0, jpeg_share=0,
)  # fmt: skip
"""Pairs to learn denoising from."""


def margin_px(ranges: BlurRanges) -> int:
    """Real pixels that are needed on every side, at any strength (before a zoom)."""
    return ranges.reach_px + SURROUND_PX


def draw(
    rng: np.random.Generator, shape_px: tuple[int, int], strength: float, ranges: BlurRanges = BlurRanges()
) -> Degradation:
    """Decide everything for one sample. The same rng gives the same decisions at every strength, only weaker ones.

    Args:
        rng: the only source of chance.
        shape_px: (height, width) of the result.
        strength: 0 to 1, see SEVERITIES.
        ranges: what happens how often.

    Raises:
        SettingError: strength out of range.
    """
    if not 0 <= strength <= 1:
        raise SettingError(f"strength is {strength:g}; allowed are 0 to 1 ({SEVERITIES}).")
    if ranges.milder and rng.random() < ranges.milder:
        strength *= rng.random()
    zoom = _zoom(rng, ranges)
    curve = _curve(rng, ranges)
    blur, thing = _motion(rng, shape_px, strength, ranges, encoded=curve == ENCODED)
    highlights, stops = rng.uniform(*ranges.highlights), rng.uniform(*ranges.gain_stops)
    expanded, changed = rng.random() < ranges.highlights_share, rng.random() < ranges.gain_share
    noise = _noise(rng, strength, ranges)
    resampled, scale = rng.random() < ranges.resample_share, 1 - strength * (1 - rng.uniform(*ranges.scale))
    compressed, quality = rng.random() < ranges.jpeg_share, round(100 - strength * (100 - rng.uniform(*ranges.quality)))
    corner = rng.integers(JPEG_BLOCK_PX, size=2)
    bilinear = ranges.bilinear_share > 0 and rng.random() < ranges.bilinear_share
    return Degradation(
        shape_px,
        margin_px(ranges),
        zoom,
        gain=float(2 ** (strength * stops)) if changed else 1.0,
        highlights=1 + strength * (highlights - 1) if expanded and curve != ENCODED else 1.0,
        curve=curve,
        blur=blur,
        thing=thing,
        noise=noise,
        scale=scale if resampled else 1.0,
        bilinear=bilinear,
        quality=quality if compressed and quality < 100 else None,
        corner=(int(corner[0]), int(corner[1])),
    )


def _zoom(rng: np.random.Generator, ranges: BlurRanges) -> float:
    which, larger, smaller = rng.random(), rng.uniform(1, ranges.enlarged_to), rng.uniform(ranges.shrunk_to, 1)
    if which < ranges.enlarged_share:
        return larger
    return smaller if which < ranges.enlarged_share + ranges.shrunk_share else 1.0


def _curve(rng: np.random.Generator, ranges: BlurRanges) -> Curve:
    encoded, srgb = rng.random() < ranges.encoded_share, rng.random() < ranges.srgb_share
    other = Curve(rng.uniform(*ranges.powers), rng.uniform(*ranges.contrasts))
    return ENCODED if encoded else SRGB if srgb else other


def _noise(rng: np.random.Generator, strength: float, ranges: BlurRanges) -> Noise | None:
    """White, or levels of real cameras (Brooks et al. 2019), their standard deviation scaled by strength."""
    if ranges.white_levels:
        return Noise(0.0, rng.uniform(*ranges.white_levels) / 255, int(rng.integers(2**63)), coded=True)
    log_shot = rng.uniform(*np.log(ranges.shot))
    read = np.exp(0.5 * (2.18 * log_shot + 1.2 + rng.normal(0, 0.26)))
    seed, noisy = int(rng.integers(2**63)), rng.random() < ranges.noise_share
    if not noisy or strength == 0:
        return None
    return Noise(float(np.exp(log_shot) * strength**2), float(read * strength), seed)


def _motion(
    rng: np.random.Generator, shape_px: tuple[int, int], strength: float, ranges: BlurRanges, encoded: bool
) -> tuple[Blur, Thing | None]:
    names, shares = zip(*ranges.kinds, strict=True)
    kind = names[rng.choice(len(names), p=np.array(shares) / sum(shares))]
    frames = int(rng.integers(ranges.frames[0], ranges.frames[1], endpoint=True)) if encoded else STEPS
    blur = _blur(rng, kind, shape_px, strength, ranges, frames)
    has_thing = rng.random() < ranges.thing_share
    if kind not in ("swing", "shake", "line") or not has_thing:
        return blur, None
    still = rng.random() < 0.15  # a camera at rest, and something passes by
    height, width = shape_px
    middle = rng.uniform(-0.4, 0.4, 2) * (width, height)
    parts = rng.normal(0, 0.08 * min(shape_px), (3, 2)) + middle
    radii = rng.uniform(0.08, 0.35, (3, 2)) * min(shape_px)
    ellipses = np.concatenate([parts, radii, rng.uniform(0, np.pi, (3, 1))], axis=1)
    path = swing_trajectory(rng, strength * _length(rng, ranges), frames)
    moving = _within(Motion(_path(path)), shape_px, ranges)
    return STILL if still else blur, Thing(moving, FixedArray.of(ellipses), rng.uniform(1, 6))


def _blur(
    rng: np.random.Generator, kind: str, shape_px: tuple[int, int], strength: float, ranges: BlurRanges, frames: int
) -> Blur:
    angle, ratio, low_to_high = rng.uniform(0, np.pi), rng.uniform(0.3, 1), rng.random()
    if kind == "gaussian":
        return _spot(gaussian_kernel(strength * _between(ranges.sigma_px, low_to_high), ratio, angle), ranges)
    if kind == "defocus":
        return _spot(disc_kernel(strength * _between(ranges.disc_px, low_to_high)), ranges)
    if kind == "line":
        length = min(strength * _length(rng, ranges), 2.0 * ranges.reach_px - 4)
        return _spot(line_kernel(length, angle), ranges)
    if kind == "measured":
        return _spot(scaled(ranges.measured[rng.integers(len(ranges.measured))], min(1.0, 2 * strength)).array, ranges)
    if kind == "sharp":
        return STILL
    trajectory = partial(swing_trajectory, steps=frames) if kind == "swing" else shake_trajectory
    shift = trajectory(rng, strength * _length(rng, ranges))
    roll = trajectory(rng, strength * np.deg2rad(ranges.roll_deg) * rng.random())[:, 0]
    rolls = rng.random() < ranges.roll_share
    x, y = rng.uniform(-0.5, 0.5, 2) * np.maximum(FRAME_PX, shape_px[::-1])
    return _within(Motion(_path(shift, roll if rolls else None), (float(x), float(y))), shape_px, ranges)


def _length(rng: np.random.Generator, ranges: BlurRanges) -> float:
    return _between(ranges.length_px, rng.random())


def _between(limits: tuple[float, float], share: float) -> float:
    return limits[0] + (limits[1] - limits[0]) * share


def _path(shift: NDArray[np.float64], roll: NDArray[np.float64] | None = None) -> FixedArray:
    return FixedArray.of(np.column_stack([shift, np.zeros(len(shift)) if roll is None else roll]))


def _within(motion: Motion, shape_px: tuple[int, int], ranges: BlurRanges) -> Motion:
    """The motion, shortened where it would reach farther than the ranges allow."""
    reach = motion.reach_px(shape_px[1] + 2 * SURROUND_PX, shape_px[0] + 2 * SURROUND_PX)
    if reach <= ranges.reach_px:
        return motion
    return replace(motion, path=FixedArray.of(motion.path.array * ((ranges.reach_px - 1) / reach)))


def _spot(kernel: NDArray[np.float32], ranges: BlurRanges) -> Spot:
    """A kernel, without the zeros around it, cut and normalised where it would reach farther than allowed."""
    y, x = np.nonzero(kernel)
    middle = kernel.shape[0] // 2
    reach = min(ranges.reach_px, int(np.abs(np.stack([y, x]) - middle).max()))
    cut = kernel[middle - reach : middle + reach + 1, middle - reach : middle + reach + 1]
    return Spot(FixedArray.of(cut / cut.sum()))
