"""Make a blurry picture of a sharp one, as cameras do.

A :class:`Degradation` is a small value that holds every decision (``draw`` makes them); :func:`degrade` carries it out.
Only real pixels are used: the sharp source has a margin around what is wanted, and the result is cut from where all
effects saw real pixels.

The order is a camera's: size of the content, exposure, highlights, blur in light (or on codes, as in GoPro's ``blur``),
clipping, noise in light, codes of 8 bit, resampling, JPEG.
"""

from dataclasses import dataclass
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from deblur.errors import DataError
from deblur.images import Pixels, Rgb8
from deblur.synthesis.field import STILL, Blur, Thing, blurred_cell, cells_of
from deblur.synthesis.light import ENCODED, SRGB, Curve, brightened, light_table, to_linear

SURROUND_PX = 16
"""Real pixels around the result that resampling (reaches 8 px) and JPEG (its blocks begin anywhere) work on."""
JPEG_BLOCK_PX = 16


@dataclass(frozen=True)
class Noise:
    """Shot and read noise: variance ``shot * light + read**2`` (Foi et al., IEEE TIP 2008), from a seed of its own.

    ``coded``: on codes in the place of light, of pictures that are blurred on codes.
    """

    shot: float
    read: float
    seed: int
    coded: bool = False

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
        bilinear: by this filter, and not the bicubic one.
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
    bilinear: bool = False
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
    def decodes(self) -> bool:
        """Whether what was blurred on codes becomes light for its noise."""
        return self.noise is not None and not self.noise.coded and self.curve == ENCODED

    @property
    def sensor_curve(self) -> Curve:
        """The curve under which noise is added: blur may be on codes, a sensor's noise never is."""
        return SRGB if self.decodes else self.curve


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
    return _handed_on(_exposed(framed, degradation), degradation), np.array(sharp)


def recorded(light: Pixels, degradation: Degradation) -> Rgb8:
    """What a camera makes of light that was blurred elsewhere: all that follows the blur.

    Args:
        light: ``(h, w, 3)``, the result with ``surround_px`` around it.
        degradation: without a zoom.
    """
    rng = np.random.default_rng(degradation.noise.seed) if degradation.noise else None
    return _handed_on(_encoded(light, degradation, rng), degradation)


def _handed_on(blurry: Rgb8, degradation: Degradation) -> Rgb8:
    """Resampled and compressed, without its surround."""
    if degradation.scale < 1:
        blurry = _resampled(blurry, degradation.scale, resampling(degradation.bilinear))
    if degradation.quality is not None:
        blurry = _compressed(blurry, degradation, degradation.quality)
    return _inner(blurry, degradation.surround_px)


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
        light = to_linear(light) if degradation.decodes else light
        light = degradation.noise.added(light, rng)
    return np.rint(degradation.sensor_curve.encode(light) * 255).astype(np.uint8)


def _resampled(rgb: Rgb8, scale: float, filter: Image.Resampling) -> Rgb8:
    """Down and up again."""
    height, width = rgb.shape[:2]
    small = Image.fromarray(rgb).resize(small_size(width, height, scale), filter)
    return np.asarray(small.resize((width, height), filter))


def resampling(bilinear: bool) -> Image.Resampling:
    """Pillow's filter."""
    return Image.Resampling.BILINEAR if bilinear else Image.Resampling.BICUBIC


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
    sides = [whole_blocks_px(side) for side in degradation.shape_px]
    ends = [
        min(start + side, whole + 2 * SURROUND_PX)
        for start, side, whole in zip(starts, sides, degradation.shape_px, strict=True)
    ]
    return slice(starts[0], ends[0]), slice(starts[1], ends[1])


def whole_blocks_px(side_px: int) -> int:
    """So many pixels, in whole blocks of JPEG, hold ``side_px`` wherever in the first block they begin."""
    return -(-(side_px + JPEG_BLOCK_PX - 1) // JPEG_BLOCK_PX) * JPEG_BLOCK_PX
