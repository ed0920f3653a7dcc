"""Make a blurry picture of a sharp one, as cameras do.

A :class:`Recipe` says what happens how often; :func:`draw` decides, once, everything that is left to chance and puts it
into a :class:`Degradation`, a small value; :func:`degrade` carries it out. Only real pixels are used: the sharp source
has a margin around what is wanted, and the result is cut from where all effects saw real pixels.

The order is a camera's: size of the content, exposure, highlights, blur in light (or on codes, as in GoPro's ``blur``),
clipping, noise in light, codes of 8 bit, resampling, JPEG.
"""

from dataclasses import dataclass, replace
from functools import partial
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.signal import oaconvolve

from deblur.errors import DataError, SettingError
from deblur.images import Pixels, Rgb8
from deblur.synthesis.field import STILL, Blur, Motion, Spot, Thing, blurred_cell, cells_of
from deblur.synthesis.kernels import (
    STEPS,
    Frozen,
    disc_kernel,
    gaussian_kernel,
    line_kernel,
    scaled,
    shake_trajectory,
    swing_trajectory,
)
from deblur.synthesis.light import ENCODED, SRGB, Curve, brightened, light_table, to_linear, to_srgb

SURROUND_PX = 16
"""Real pixels around the result that resampling (reaches 8 px) and JPEG (its blocks begin anywhere) work on."""
JPEG_BLOCK_PX = 16
FRAME_PX = (1280, 720)
"""The picture that a crop is thought to be part of: a camera rolls about a place anywhere in it."""

SEVERITIES = {"mild": 0.25, "medium": 0.5, "strong": 1.0}
"""Names on the knob ``strength``, which scales lengths and levels; at 0 blurry equals sharp."""


def strength_of(severity: str | float) -> float:
    """A severity's name as a number; numbers stay as they are."""
    return SEVERITIES[severity] if isinstance(severity, str) else severity


@dataclass(frozen=True)
class Recipe:
    """Which degradations, how often, how strong. Lengths and levels are those at strength 1.

    Args:
        swing, shake, line, gaussian, defocus, sharp: relative shares of the kinds of blur (``sharp``: none).
        measured_share: relative share of measured kernels, where there are any.
        measured: measured kernels (``load_kernels``); at their own size from strength 0.5 on.
        length_px: of a path, across; most are short: low + (high - low) * u ** length_power with u uniform.
        frames: of swings on encoded values, an average of so many frames.
        roll_share, roll_deg: how many swings and shakes also roll, and by how much in all, at most.
        thing_share: how many pictures with motion, or none, have a thing that moves by itself.
        sigma_px, disc_px: of Gaussians and of defocus.
        encoded_share: blur on encoded values; of the others ``srgb_share`` have the sRGB curve, the rest another one.
        powers, contrasts: of those curves.
        highlights_share, highlights: how many pictures in linear light have expanded highlights, and by how much.
        gain_share, gain_stops: exposure change of both pictures.
        noise_share, shot, read: noise of variance ``shot * light + read**2``; log-uniform shot, read from it (Brooks).
        resample_share, scale: down to this scale and up again.
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
    measured: tuple[Frozen, ...] = ()
    length_px: tuple[float, float] = (16.0, 64.0)
    length_power: float = 1.0
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
    noise_share: float = 0.35
    shot: tuple[float, float] = (1e-4, 1.2e-2)
    resample_share: float = 0.15
    scale: tuple[float, float] = (0.4, 1.0)
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
                f"A measured kernel reaches {largest} px and the recipe allows {self.reach_px}: raise reach_px, or "
                "scale the kernel down."
            )
        if sum(share for _, share in self.kinds) <= 0:
            raise SettingError("All kinds of blur have share 0; give one a share above 0 (sharp: no blur).")

    @property
    def kinds(self) -> tuple[tuple[str, float], ...]:
        """The kinds of blur and their relative shares."""
        named = [(kind, getattr(self, kind)) for kind in ("swing", "shake", "line", "gaussian", "defocus", "sharp")]
        return (*named, ("measured", self.measured_share if self.measured else 0.0))


NOISE_ONLY = Recipe(
    swing=0, shake=0, line=0, gaussian=0, defocus=0, measured_share=0, thing_share=0, noise_share=1,
    resample_share=0, jpeg_share=0,
)  # fmt: skip
"""Pairs to learn denoising from."""


def margin_px(recipe: Recipe) -> int:
    """Real pixels that are needed on every side, at any strength (before a zoom)."""
    return recipe.reach_px + SURROUND_PX


@dataclass(frozen=True)
class Noise:
    """Shot and read noise: variance ``shot * light + read**2`` (Foi et al., IEEE TIP 2008), from a seed of its own."""

    shot: float
    read: float
    seed: int

    def added(self, light: Pixels, rng: np.random.Generator) -> Pixels:
        """Light in ``[0, 1]`` with noise."""
        deviation = np.sqrt(np.float32(self.shot) * light + np.float32(self.read**2))
        return light + deviation * rng.standard_normal(light.shape, np.float32)


@dataclass(frozen=True)
class Degradation:
    """All that was decided for one sample.

    Args:
        shape_px: (height, width) of the result.
        margin_px: around it, at the result's scale.
        zoom: above 1 the source is smaller and enlarged, below 1 larger and shrunk.
        gain: of the light, both pictures.
        highlights: light of a clipped code, in times white.
        curve: between light and codes; ENCODED blurs codes.
        blur: of the picture, or of what lies behind ``thing``.
        thing: moves by itself.
        noise: in light.
        scale: down and up again.
        quality: of the JPEG.
        corner: (y, x) of the result in the JPEG's first block.
    """

    shape_px: tuple[int, int]
    margin_px: int
    zoom: float = 1.0
    gain: float = 1.0
    highlights: float = 1.0
    curve: Curve = SRGB
    blur: Blur = STILL
    thing: Thing | None = None
    noise: Noise | None = None
    scale: float = 1.0
    quality: int | None = None
    corner: tuple[int, int] = (0, 0)

    @property
    def framed_shape(self) -> tuple[int, int]:
        """(height, width) of the result with its margins."""
        return self.shape_px[0] + 2 * self.margin_px, self.shape_px[1] + 2 * self.margin_px

    @property
    def source_shape(self) -> tuple[int, int]:
        """(height, width) of the sharp pixels to give to :func:`degrade`."""
        height, width = self.framed_shape
        return int(np.ceil(height / self.zoom - 1e-6)), int(np.ceil(width / self.zoom - 1e-6))

    @property
    def reach_px(self) -> int:
        """How far the blur of this sample reaches."""
        height, width = (side + 2 * SURROUND_PX for side in self.shape_px)
        return max(part.reach_px(width, height) for part in (self.blur, self.thing.blur if self.thing else STILL))

    @property
    def surround_px(self) -> int:
        """What resampling and JPEG need around the result."""
        return SURROUND_PX if self.scale < 1 or self.quality is not None else 0

    @property
    def changes_light(self) -> bool:
        """Whether the sharp picture becomes brighter or darker, too."""
        return (self.gain, self.highlights) != (1.0, 1.0)

    @property
    def sensor_curve(self) -> Curve:
        """The curve under which noise is added: blur may be on codes, noise never is."""
        return SRGB if self.noise and self.curve == ENCODED else self.curve


def draw(
    rng: np.random.Generator,
    shape_px: tuple[int, int],
    strength: float,
    recipe: Recipe = Recipe(),
    photo_px: tuple[int, int] | None = None,
) -> Degradation:
    """Decide everything for one sample. The same rng gives the same decisions at every strength, only weaker ones.

    Args:
        rng: the only source of chance.
        shape_px: (height, width) of the result.
        strength: 0 to 1, see SEVERITIES.
        recipe: what happens how often.
        photo_px: (height, width) of the photo; the source is made to fit into it, enlarged where it has to be.

    Raises:
        SettingError: strength out of range.
    """
    if not 0 <= strength <= 1:
        raise SettingError(f"strength is {strength:g}; allowed are 0 to 1 ({SEVERITIES}).")
    if recipe.milder and rng.random() < recipe.milder:
        strength *= rng.random()
    margin = margin_px(recipe)
    framed = shape_px[0] + 2 * margin, shape_px[1] + 2 * margin
    zoom = _zoom(rng, recipe)
    if photo_px is not None:
        zoom = max(zoom, *(wanted / there for wanted, there in zip(framed, photo_px, strict=True)))
    curve = _curve(rng, recipe)
    blur, thing = _motion(rng, shape_px, strength, recipe, encoded=curve == ENCODED)
    highlights, stops = rng.uniform(*recipe.highlights), rng.uniform(*recipe.gain_stops)
    expanded, changed = rng.random() < recipe.highlights_share, rng.random() < recipe.gain_share
    noise = _noise(rng, strength, recipe)
    resampled, scale = rng.random() < recipe.resample_share, 1 - strength * (1 - rng.uniform(*recipe.scale))
    compressed, quality = rng.random() < recipe.jpeg_share, round(100 - strength * (100 - rng.uniform(*recipe.quality)))
    corner = rng.integers(JPEG_BLOCK_PX, size=2)
    return Degradation(
        shape_px,
        margin,
        zoom,
        gain=float(2 ** (strength * stops)) if changed else 1.0,
        highlights=1 + strength * (highlights - 1) if expanded and curve != ENCODED else 1.0,
        curve=curve,
        blur=blur,
        thing=thing,
        noise=noise,
        scale=scale if resampled else 1.0,
        quality=quality if compressed and quality < 100 else None,
        corner=(int(corner[0]), int(corner[1])),
    )


def _zoom(rng: np.random.Generator, recipe: Recipe) -> float:
    which, larger, smaller = rng.random(), rng.uniform(1, recipe.enlarged_to), rng.uniform(recipe.shrunk_to, 1)
    if which < recipe.enlarged_share:
        return larger
    return smaller if which < recipe.enlarged_share + recipe.shrunk_share else 1.0


def _curve(rng: np.random.Generator, recipe: Recipe) -> Curve:
    encoded, srgb = rng.random() < recipe.encoded_share, rng.random() < recipe.srgb_share
    other = Curve(rng.uniform(*recipe.powers), rng.uniform(*recipe.contrasts))
    return ENCODED if encoded else SRGB if srgb else other


def _noise(rng: np.random.Generator, strength: float, recipe: Recipe) -> Noise | None:
    """Levels of real cameras (Brooks et al. 2019), their standard deviation scaled by strength."""
    log_shot = rng.uniform(*np.log(recipe.shot))
    read = np.exp(0.5 * (2.18 * log_shot + 1.2 + rng.normal(0, 0.26)))
    seed, noisy = int(rng.integers(2**63)), rng.random() < recipe.noise_share
    if not noisy or strength == 0:
        return None
    return Noise(float(np.exp(log_shot) * strength**2), float(read * strength), seed)


def _motion(
    rng: np.random.Generator, shape_px: tuple[int, int], strength: float, recipe: Recipe, encoded: bool
) -> tuple[Blur, Thing | None]:
    names, shares = zip(*recipe.kinds, strict=True)
    kind = names[rng.choice(len(names), p=np.array(shares) / sum(shares))]
    frames = int(rng.integers(recipe.frames[0], recipe.frames[1], endpoint=True)) if encoded else STEPS
    blur = _blur(rng, kind, shape_px, strength, recipe, frames)
    has_thing = rng.random() < recipe.thing_share
    if kind not in ("swing", "shake", "line") or not has_thing:
        return blur, None
    still = rng.random() < 0.15  # a camera at rest, and something passes by
    height, width = shape_px
    middle = rng.uniform(-0.4, 0.4, 2) * (width, height)
    parts = rng.normal(0, 0.08 * min(shape_px), (3, 2)) + middle
    radii = rng.uniform(0.08, 0.35, (3, 2)) * min(shape_px)
    ellipses = np.concatenate([parts, radii, rng.uniform(0, np.pi, (3, 1))], axis=1)
    path = swing_trajectory(rng, strength * _length(rng, recipe), frames)
    moving = _within(Motion(_path(path)), shape_px, recipe)
    return STILL if still else blur, Thing(moving, Frozen.of(ellipses), rng.uniform(1, 6))


def _blur(
    rng: np.random.Generator, kind: str, shape_px: tuple[int, int], strength: float, recipe: Recipe, frames: int
) -> Blur:
    angle, ratio, low_to_high = rng.uniform(0, np.pi), rng.uniform(0.3, 1), rng.random()
    if kind == "gaussian":
        return _spot(gaussian_kernel(strength * _between(recipe.sigma_px, low_to_high), ratio, angle), recipe)
    if kind == "defocus":
        return _spot(disc_kernel(strength * _between(recipe.disc_px, low_to_high)), recipe)
    if kind == "line":
        length = min(strength * _length(rng, recipe), 2.0 * recipe.reach_px - 4)
        return _spot(line_kernel(length, angle), recipe)
    if kind == "measured":
        return _spot(scaled(recipe.measured[rng.integers(len(recipe.measured))], min(1.0, 2 * strength)).array, recipe)
    if kind == "sharp":
        return STILL
    trajectory = partial(swing_trajectory, steps=frames) if kind == "swing" else shake_trajectory
    shift = trajectory(rng, strength * _length(rng, recipe))
    roll = trajectory(rng, strength * np.deg2rad(recipe.roll_deg) * rng.random())[:, 0]
    rolls = rng.random() < recipe.roll_share
    x, y = rng.uniform(-0.5, 0.5, 2) * np.maximum(FRAME_PX, shape_px[::-1])
    return _within(Motion(_path(shift, roll if rolls else None), (float(x), float(y))), shape_px, recipe)


def _length(rng: np.random.Generator, recipe: Recipe) -> float:
    return _between(recipe.length_px, rng.random() ** recipe.length_power)


def _between(limits: tuple[float, float], share: float) -> float:
    return limits[0] + (limits[1] - limits[0]) * share


def _path(shift: NDArray[np.float64], roll: NDArray[np.float64] | None = None) -> Frozen:
    return Frozen.of(np.column_stack([shift, np.zeros(len(shift)) if roll is None else roll]))


def _within(motion: Motion, shape_px: tuple[int, int], recipe: Recipe) -> Motion:
    """The motion, shortened where it would reach farther than the recipe allows."""
    reach = motion.reach_px(shape_px[1] + 2 * SURROUND_PX, shape_px[0] + 2 * SURROUND_PX)
    if reach <= recipe.reach_px:
        return motion
    return replace(motion, path=Frozen.of(motion.path.array * ((recipe.reach_px - 1) / reach)))


def _spot(kernel: NDArray[np.float32], recipe: Recipe) -> Spot:
    """A kernel, without the zeros around it, cut and normalised where it would reach farther than allowed."""
    y, x = np.nonzero(kernel)
    middle = kernel.shape[0] // 2
    reach = min(recipe.reach_px, int(np.abs(np.stack([y, x]) - middle).max()))
    cut = kernel[middle - reach : middle + reach + 1, middle - reach : middle + reach + 1]
    return Spot(Frozen.of(cut / cut.sum()))


def zoomed(source: Rgb8, degradation: Degradation) -> Rgb8:
    """The sharp source at the scale of the result: ``framed_shape``.

    Raises:
        DataError: the source has another size than ``source_shape``.
    """
    if source.shape != (*degradation.source_shape, 3):
        wanted = " x ".join(map(str, (*degradation.source_shape, 3)))
        raise DataError(f"The source is {' x '.join(map(str, source.shape))}; this degradation wants {wanted}.")
    if degradation.zoom == 1:
        return source
    height, width = degradation.framed_shape
    box = (0, 0, min(width / degradation.zoom, source.shape[1]), min(height / degradation.zoom, source.shape[0]))
    image = Image.fromarray(np.ascontiguousarray(source))
    return np.asarray(image.resize((width, height), Image.Resampling.BICUBIC, box))


def degrade(source: Rgb8, degradation: Degradation) -> tuple[Rgb8, Rgb8]:
    """Carry it out: sharp pixels of ``source_shape`` -> (blurry, sharp), both ``(*shape_px, 3)`` uint8.

    Memory beside these does not grow with the picture unless it is zoomed, resampled or compressed.

    Raises:
        DataError: the source has another size.
    """
    framed = zoomed(source, degradation)
    sharp = _inner(framed, degradation.margin_px)
    if degradation.changes_light:
        sharp = brightened(degradation.curve, degradation.gain, degradation.highlights)[sharp]
    blurry = _exposed(framed, degradation)
    if degradation.scale < 1:
        blurry = _resampled(blurry, degradation.scale)
    if degradation.quality is not None:
        blurry = _compressed(blurry, degradation, degradation.quality)
    return _inner(blurry, degradation.surround_px), np.array(sharp)


def _inner(rgb: Rgb8, margin_px: int) -> Rgb8:
    return rgb[margin_px : rgb.shape[0] - margin_px, margin_px : rgb.shape[1] - margin_px]


def _exposed(framed: Rgb8, degradation: Degradation) -> Rgb8:
    """What the sensor saw and the camera encoded: the result with its surround."""
    d, reach = degradation, degradation.reach_px
    height, width = (side + 2 * SURROUND_PX for side in d.shape_px)
    first, inset = d.margin_px - SURROUND_PX - reach, SURROUND_PX - d.surround_px
    table = light_table(d.curve, d.gain, d.highlights)
    rng = np.random.default_rng(d.noise.seed) if d.noise else None
    out = np.empty((height - 2 * inset, width - 2 * inset, 3), np.uint8)
    for cell in cells_of(d.blur, (height, width), inset):
        seen = tuple(slice(first + part.start, first + part.stop + 2 * reach) for part in cell.wanted)
        light = table[framed[seen].transpose(2, 0, 1)]
        codes = _encoded(blurred_cell(light, cell, (height, width), d.blur, d.thing), d, rng)
        out[tuple(slice(part.start - inset, part.stop - inset) for part in cell.wanted)] = codes.transpose(1, 2, 0)
    return out


def _encoded(light: Pixels, degradation: Degradation, rng: np.random.Generator | None) -> NDArray[np.uint8]:
    """Clip, add noise, encode, round."""
    if degradation.noise and rng:
        light = np.clip(light, 0, 1)
        light = to_linear(light) if degradation.curve == ENCODED else light
        light = degradation.noise.added(light, rng)
    return np.rint(degradation.sensor_curve.encode(light) * 255).astype(np.uint8)


def _resampled(rgb: Rgb8, scale: float) -> Rgb8:
    """Down and up again."""
    height, width = rgb.shape[:2]
    small = Image.fromarray(rgb).resize(small_size(width, height, scale), Image.Resampling.BICUBIC)
    return np.asarray(small.resize((width, height), Image.Resampling.BICUBIC))


def small_size(width: int, height: int, scale: float) -> tuple[int, int]:
    """Width and height after scaling down."""
    return max(1, round(width * scale)), max(1, round(height * scale))


def _compressed(rgb: Rgb8, degradation: Degradation, quality: int) -> Rgb8:
    """Through JPEG, whose blocks begin anywhere; what lies outside of those that the result touches stays as it is."""
    rows, columns = jpeg_window(degradation)
    stream = BytesIO()
    part = np.ascontiguousarray(rgb[rows, columns])
    Image.fromarray(part).save(stream, "JPEG", quality=quality, subsampling=2)
    result = np.array(rgb)
    with Image.open(stream) as image:
        result[rows, columns] = np.asarray(image)
    return result


def jpeg_window(degradation: Degradation) -> tuple[slice, slice]:
    """Rows and columns, of the result with its surround, that are compressed: whole blocks around the result."""
    starts = [SURROUND_PX - offset for offset in degradation.corner]
    sides = [-(-(side + JPEG_BLOCK_PX - 1) // JPEG_BLOCK_PX) * JPEG_BLOCK_PX for side in degradation.shape_px]
    ends = [
        min(start + side, whole + 2 * SURROUND_PX)
        for start, side, whole in zip(starts, sides, degradation.shape_px, strict=True)
    ]
    return slice(starts[0], ends[0]), slice(starts[1], ends[1])


def blur(sharp: Pixels, kernel: NDArray[np.float32]) -> Pixels:
    """Convolve ``(H, W, 3)`` sRGB with a ``(k, k)`` kernel in linear light -> ``(H - k + 1, W - k + 1, 3)`` sRGB.

    Only pixels whose whole neighbourhood is real are returned; no border is made up.
    """
    return to_srgb(oaconvolve(to_linear(sharp), kernel[..., None], mode="valid", axes=(0, 1)))


def shrink(rgb: NDArray[np.uint8], side_px: int) -> NDArray[np.uint8]:
    """Scale ``(h, w, 3)`` uint8 down until its longer side is at most ``side_px``; smaller images stay as they are."""
    image = Image.fromarray(rgb)
    image.thumbnail((side_px, side_px), Image.Resampling.LANCZOS)
    return np.asarray(image)
