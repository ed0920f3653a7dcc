"""Bytes to pixels and back: the one meaning of "a photo" for training, evaluation and serving.

Decoding trusts nothing: a fixed list of formats, limits that are checked from the header before a pixel is decoded,
and one place where any exception of a decoder becomes a sentence. What must survive restoration travels beside the
pixels: alpha, greyness, format, what the colours mean (``colour``) and what the photo says of itself (``metadata``).
"""

import os
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from io import BytesIO
from math import inf
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError
from PIL.ImageFile import ImageFile

from deblur import colour, deep, jpeg_pixels, metadata, pages, png_chunks
from deblur.errors import DeblurError, PhotoTooLarge, RequestError, UnreadablePhoto, UnsupportedPhoto
from deblur.files import pasteable
from deblur.image_kinds import READ, READ_TOO, heif_format
from deblur.image_limits import (
    ANY_SIZE,
    MODES,
    OWN_FILES,
    DecodeLimits,
    bits_a_channel,
    check_header,
    check_scans_of_jpeg,
)

Pixels = NDArray[np.float32]
"""``(H, W, 3)`` float32, sRGB, in ``[0, 1]``: what networks and metrics see."""

Rgb8 = NDArray[np.uint8]
"""``(H, W, 3)`` uint8, sRGB: the same pixels as files hold them, and as they lie between decoding and encoding."""

Rgb16 = NDArray[np.uint16]
"""The same with 16 bits a channel, of files that hold so many."""

Rgb = Rgb8 | Rgb16

OUTPUT_FORMATS = {"jpeg": "JPEG", "png": "PNG", "webp": "WEBP", "tiff": "TIFF", "jpg": "JPEG"}
OPENED = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF")  # an MPO, two JPEGs in a file as phones write it, opens as JPEG
SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".tif", ".tiff", ".bmp")
MEDIA_TYPES = {"JPEG": "image/jpeg", "PNG": "image/png", "WEBP": "image/webp", "TIFF": "image/tiff", "BMP": "image/bmp"}
SIDE_PX = {"WEBP": 16_383, "JPEG": 65_500}  # the longest that the format, or its library, writes
EMPTY = "The image is empty (0 bytes). Send it again."
STRIP_PX = 64
LOSSLESS_TIFF = ("tiff_lzw", "tiff_adobe_deflate", "tiff_deflate", "packbits", "raw")
LOSSLESS_WEBP: dict[str, object] = {"lossless": True, "exact": True, "quality": 25}  # quality is effort here
ICC_PROFILE = 34675  # TIFF's tag
GREYS = {"L;2": 85, "L;4": 17}  # what Pillow multiplies the greys of PNGs of 2 and 4 bits by


@dataclass(frozen=True)
class Photo:
    """A decoded photo: its pixels in 8 bit (16 where its file has them), and what must survive restoration.

    ``alpha`` has as many bits as ``rgb``. ``packing`` is how its file holds the pixels, where the format has several
    ways: ``lossless`` of a WebP, or Pillow's name of a TIFF's compression. ``frames`` tells how many frames or pages
    the file has, of which this is the first; they are counted up to ``pages.MOST``.
    """

    rgb: Rgb
    format: str = "PNG"
    grey: bool = False
    alpha: Rgb | None = None
    icc_profile: bytes | None = None
    said: metadata.Metadata = metadata.Metadata()
    packing: str | None = None
    frames: int = 1

    @property
    def rgb8(self) -> Rgb8:
        """``rgb`` where that is 8 bit, else the nearest of 8 bit."""
        return _in_8_bits(self.rgb)


def centre_crop(image: Rgb8, side_px: int) -> Rgb8:
    """The middle of an image, at most ``side_px`` a side."""
    height, width = image.shape[:2]
    h, w = min(side_px, height), min(side_px, width)
    top, left = (height - h) // 2, (width - w) // 2
    return image[top : top + h, left : left + w]


def image_files(folder: Path, suffixes: Sequence[str] = SUFFIXES) -> list[Path]:
    """The images directly in ``folder``, sorted; hidden files (macOS's ``._NAME``) are none."""
    found = (p for p in folder.glob("*") if p.suffix.lower() in suffixes and not p.name.startswith("."))
    return sorted(p for p in found if p.is_file())


def decode(data: bytes, limits: DecodeLimits = DecodeLimits()) -> Photo:
    """Image bytes -> upright :class:`Photo`.

    Raises:
        UnreadablePhoto: not an image, or broken.
        UnsupportedPhoto: a format or a mode that is not restored, or several frames where these are not allowed.
        PhotoTooLarge: over ``limits``.
    """
    with _opened(data, limits) as image:
        if image.format in ("JPEG", "MPO"):
            rgb = jpeg_pixels.decoded(data, image.size, cmyk=image.mode == "CMYK")
            if rgb is not None:
                return _photo_of_jpeg(image, rgb, limits.private)
        space = None
        if image.format == "PNG":
            png_chunks.check(data)
            space = colour.space_in_png(image, data)
        packing, frames = _packing_in(image, data), pages.count(image, data)
        if frames > 1 and not limits.first_of_many:
            raise UnsupportedPhoto(f"The file has {frames} frames or pages, not one. Send a single one.")
        if bits_a_channel(image, data) == 16:
            return replace(_deep_photo(image, data, space, limits.private), packing=packing, frames=frames)
        del data
        stream = cast(ImageFile, image).fp
        said = _loaded(image, limits.private)
        if stream:
            stream.close()  # the file, which may be as large as the photo; some of Pillow's images keep it
        return replace(_photo_from(_upright(image), said, space), packing=packing, frames=frames)


def megapixels(data: bytes, limits: DecodeLimits = DecodeLimits()) -> float:
    """Of an image's header: refuses in milliseconds what :func:`decode` would refuse by it, with the same errors."""
    with _opened(data, limits) as image:
        return image.width * image.height / 1e6


def format_in(data: bytes, limits: DecodeLimits = DecodeLimits()) -> str:
    """The ``format`` of what :func:`decode` would give, told from the header alone, with the errors of that."""
    with _opened(data, limits) as image:
        return str(image.format) if bits_a_channel(image, data) == 16 else _format_kept(image)


@contextmanager
def _opened(data: bytes, limits: DecodeLimits) -> Iterator[Image.Image]:
    """The image with its header read and within ``limits``; whatever a decoder raises inside becomes a PhotoError."""
    if not data:
        raise UnreadablePhoto(EMPTY)
    heif = heif_format(data, limits.heif)
    try:
        check_scans_of_jpeg(data, limits)
        png_chunks.check_start(data)
        with quiet(), Image.open(BytesIO(data), formats=(heif,) if heif else OPENED) as image:
            check_header(image, data, limits)
            del data
            yield image
    except DeblurError:
        raise
    except MemoryError as error:
        raise PhotoTooLarge("The image does not fit into memory. Scale it down.") from error
    except UnidentifiedImageError as error:
        if heif:
            raise UnreadablePhoto(f"The {heif} image is broken or cut short. Send it again.") from error
        allowed = READ_TOO if limits.heif else READ
        raise UnreadablePhoto(f"These bytes are not an image that can be read. Allowed are {allowed}.") from error
    except Exception as error:  # decoders raise IndexError, SyntaxError, KeyError, struct.error ... on broken files
        raise UnreadablePhoto(f"The image is broken or cut short ({type(error).__name__}). Send it again.") from error


@contextmanager
def quiet() -> Iterator[None]:
    """Pillow warns nobody, and leaves it to ``DecodeLimits`` what is too large.

    Both belong to the process: the first thread that decodes sets them, the last one puts back what was there.
    """
    with _Quiet.lock:
        if not _Quiet.users:
            _Quiet.before.enter_context(warnings.catch_warnings(action="ignore"))
            _Quiet.before.callback(setattr, Image, "MAX_IMAGE_PIXELS", Image.MAX_IMAGE_PIXELS)
            Image.MAX_IMAGE_PIXELS = None
        _Quiet.users += 1
    try:
        yield
    finally:
        with _Quiet.lock:
            _Quiet.users -= 1
            if not _Quiet.users:
                _Quiet.before.close()


class _Quiet:
    """How many threads are in :func:`quiet`, and what it puts back."""

    lock = threading.Lock()
    users = 0
    before = ExitStack()


def read(path: Path, limits: DecodeLimits = OWN_FILES) -> Photo:
    """Decode the file at ``path``, one's own and therefore with wide limits; errors name it."""
    try:
        return decode(path.read_bytes(), limits)
    except DeblurError as error:
        raise type(error)(f"{pasteable(path)}: {error}") from error


def read_rgb8(path: Path) -> Rgb8:
    """The file's pixels as ``(H, W, 3)`` uint8: what training and evaluation read, through the server's decoder.

    Raises:
        PhotoError: it cannot be read, or has several frames, or 16 bits a channel, which no figure is about.
    """
    photo = read(path, replace(ANY_SIZE, first_of_many=False))
    if photo.rgb.dtype != np.uint8:
        raise UnsupportedPhoto(f"{pasteable(path)}: It has 16 bits a channel. Save it with 8 bits a channel.")
    return photo.rgb8


def encode(photo: Photo, output_format: str | None = None, quality: int | None = None) -> bytes:
    """:func:`write` into memory; where that can be a file, Pillow encodes a JPEG without holding Python's lock."""
    with os.fdopen(os.memfd_create("photo"), "w+b") if hasattr(os, "memfd_create") else BytesIO() as stream:
        write(photo, stream, output_format, quality)
        stream.seek(0)
        return stream.read()


def write(photo: Photo, stream: BinaryIO, output_format: str | None = None, quality: int | None = None) -> None:
    """:class:`Photo` -> image bytes in ``output_format`` (a key of OUTPUT_FORMATS), else in the photo's own format.

    ``quality`` (1 to 100, by default 95) is for JPEG and WebP; without one, a lossless WebP stays lossless. A TIFF
    keeps its compression if that is LZW, deflate, packbits or none; for any other it gets deflate. Alpha survives in
    PNG, WebP and TIFF; JPEG shows it on white. Pixels of 16 bits stay so in PNG and TIFF (packed by deflate, or not at
    all); the other formats get 8.

    Raises:
        RequestError: as :func:`format_of_output`.
    """
    target = format_of_output(photo, output_format, quality)
    if photo.rgb.dtype == np.uint16 and target in ("PNG", "TIFF"):
        return _write_deep(photo, stream, target)
    profile = colour.fitting(photo.icc_profile, grey=photo.grey and target != "WEBP")  # WebP has no grey
    image = _image_of(photo, with_alpha=target != "JPEG" and target != "BMP")
    options = _packing_of(photo, target, quality)
    if profile and target != "BMP":
        options["icc_profile"] = profile
    photo.said.save(image, stream, target, **options)
    return None


def format_of_output(photo: Photo, output_format: str | None = None, quality: int | None = None) -> str:
    """What :func:`write` would write, Pillow's name; to be asked before work that it would refuse in the end.

    Raises:
        RequestError: an unknown format, a quality out of range, or a photo that is too large for the format.
    """
    if output_format is not None and output_format not in OUTPUT_FORMATS:
        raise RequestError(f"format is {output_format!r}; allowed are {', '.join(OUTPUT_FORMATS)}.")
    if quality is not None and not 1 <= quality <= 100:
        raise RequestError(f"quality is {quality}; allowed are 1 to 100.")
    target = OUTPUT_FORMATS[output_format] if output_format else photo.format
    if max(photo.rgb.shape[:2]) > SIDE_PX.get(target, inf):
        raise RequestError(f"A {target} holds at most {SIDE_PX[target]} px a side; take another format.")
    return target


def _write_deep(photo: Photo, stream: BinaryIO, target: str) -> None:
    rgb, alpha = cast(Rgb16, photo.rgb), cast(Rgb16 | None, photo.alpha)
    grey = photo.grey and (target == "PNG" or alpha is None)  # as deep.write_tiff has it
    profile = colour.fitting(photo.icc_profile, grey=grey)
    if target == "PNG":
        like = BytesIO()
        photo.said.save(Image.new("L" if photo.grey else "RGB", (1, 1)), like, "PNG", icc_profile=profile)
        return deep.write_png(stream, rgb, alpha, grey=photo.grey, like=like.getvalue())
    directory = photo.said.tiff_directory()
    if profile:
        directory[ICC_PROFILE] = profile
    packed = photo.format == "TIFF" and photo.packing != "raw"
    return deep.write_tiff(stream, rgb, alpha, grey=photo.grey, directory=directory, deflate=packed)


def _packing_of(photo: Photo, target: str, quality: int | None) -> dict[str, object]:
    """What Pillow's ``save`` takes, of how pixels are packed."""
    packing = photo.packing if photo.format == target else None
    if target == "WEBP" and packing == "lossless" and quality is None:
        return dict(LOSSLESS_WEBP)
    if target == "TIFF" and packing:
        return {"compression": packing if packing in LOSSLESS_TIFF else "tiff_adobe_deflate"}
    if target == "PNG":
        return {"compress_level": 1}  # 0.18 s instead of 0.69 s for 1920x1080
    if target not in ("JPEG", "WEBP"):
        return {}
    options: dict[str, object] = {"quality": 95 if quality is None else quality}
    return options | ({"subsampling": 0} if target == "JPEG" else {})  # restored detail is in the colours, too


def photo_of(image: Image.Image) -> Photo:
    """A copy of a PIL image's pixels, upright.

    Raises:
        UnsupportedPhoto: a mode that is not restored.
        UnreadablePhoto: its file, which Pillow reads only now, is broken.
    """
    if image.mode not in MODES:
        raise UnsupportedPhoto(f"An image of mode {image.mode} is not restored. Convert it to RGB, RGBA or L.")
    try:
        with quiet():
            said = _loaded(image)
    except Exception as error:  # decoders' errors share no base
        raise UnreadablePhoto(f"The image is broken or cut short ({type(error).__name__}).") from error
    upright = image
    with quiet(), suppress(Exception):  # broken metadata: it is copied as it lies
        upright = ImageOps.exif_transpose(image)
    return _photo_from(upright, said, colour.space_of_info(image))


def image_of(photo: Photo) -> Image.Image:
    """The same pixels as a PIL image: L, LA, RGB or RGBA; its ``info`` holds ICC profile, EXIF and density."""
    image = _image_of(photo, with_alpha=True)
    said = {"exif": photo.said.exif_bytes(), "dpi": photo.said.dpi}
    said["icc_profile"] = colour.fitting(photo.icc_profile, grey=photo.grey)
    image.info.update({name: value for name, value in said.items() if value})
    return image


def array_of(photo: Photo) -> Rgb:
    """The same pixels as an array of their own depth: ``(H, W)`` grey, ``(H, W, 3)``, or 2 and 4 with alpha."""
    if photo.rgb.dtype == np.uint8:
        return np.array(_image_of(photo, with_alpha=True))
    rgb, alpha = cast(Rgb16, photo.rgb), cast(Rgb16 | None, photo.alpha)
    pixels = np.concatenate(list(deep.strips(rgb, alpha, grey=photo.grey)))
    return pixels[..., 0] if pixels.shape[2] == 1 else pixels


def to_rgb8(pixels: Pixels) -> Rgb8:
    """``[0, 1]`` float -> 8 bit, clamped, rounded to nearest."""
    return np.rint(np.clip(pixels, 0.0, 1.0) * 255.0).astype(np.uint8)


def from_rgb8(rgb: Rgb8) -> Pixels:
    """8 bit -> ``[0, 1]`` float32."""
    return rgb.astype(np.float32) / np.float32(255.0)


def planes_of(rgb: Rgb, out: Pixels | None = None) -> Pixels:
    """8 or 16 bit ``(H, W, 3)`` -> ``[0, 1]`` float32 ``(3, H, W)``, in ``out`` if given: for networks."""
    planes: Pixels = np.empty((3, *rgb.shape[:2]), np.float32) if out is None else out
    planes[:] = rgb.transpose(2, 0, 1)
    planes /= np.float32(np.iinfo(rgb.dtype).max)
    return planes


def put_planes(rgb: Rgb, planes: Pixels) -> None:
    """Overwrite ``(H, W, 3)`` of 8 or 16 bit with ``[0, 1]`` float32 ``(3, H, W)``, clamped, rounded to nearest."""
    levels = np.clip(planes, 0.0, 1.0)
    levels *= np.float32(np.iinfo(rgb.dtype).max)
    whole = np.rint(levels, out=levels).astype(rgb.dtype)
    for channel, values in enumerate(whole):  # three times as fast as one transposed assignment
        rgb[..., channel] = values


def _photo_of_jpeg(image: Image.Image, rgb: Rgb8, private: bool) -> Photo:
    """From its header, opened by Pillow, and its pixels as they lie in the file."""
    said, orientation = metadata.read(image, private=private), None
    with suppress(Exception):
        orientation = image.getexif().get(metadata.ORIENTATION)
    grey = image.mode == "L"
    icc_profile = _profile_of(image, said, None, grey=grey)
    return Photo(jpeg_pixels.upright(rgb, orientation), "JPEG", grey, None, icc_profile, said)


def _profile_of(image: Image.Image, said: metadata.Metadata, space: colour.Space | None, *, grey: bool) -> bytes | None:
    """``space`` is what the file says of its colours; it is stronger than an ICC profile."""
    icc_profile: bytes | None = image.info.get("icc_profile") or None
    if space is None and icc_profile is None and said.adobe_rgb:
        space = colour.ADOBE_RGB
    return icc_profile if space is None else colour.profile_of(space, grey=grey) or icc_profile


def _format_kept(image: Image.Image) -> str:
    """The image's own format; another where that cannot hold what is restored, or is not written."""
    alpha_lost = image.has_transparency_data and image.format in ("AVIF", "HEIF", "BMP")
    if image.mode in ("P", "PA") or image.format == "GIF" or alpha_lost:
        return "PNG"
    return "JPEG" if image.format in ("AVIF", "HEIF", "MPO") else str(image.format)


def _photo_from(upright: Image.Image, said: metadata.Metadata, space: colour.Space | None) -> Photo:
    cmyk, grey = upright.mode == "CMYK", upright.mode in ("1", "L", "LA")
    icc_profile = None if cmyk else _profile_of(upright, said, space, grey=grey)
    rgb, alpha = _pixels_of(upright)
    return Photo(rgb, _format_kept(upright), grey, alpha, icc_profile, said.without_colour() if cmyk else said)


def _deep_photo(image: Image.Image, data: bytes, space: colour.Space | None, private: bool) -> Photo:
    """16 bits a channel, in one look or two, or plane by plane (see :mod:`deblur.deep`)."""
    held = deep.raw_mode(image)
    if deep.in_planes(image):
        said = metadata.read(image, private=private)
        samples = np.zeros((image.height, image.width, deep.channels(image)), np.uint16)  # a TIFF's size is upright
        for channel, plane in enumerate(deep.planes(image, data)):
            with Image.open(BytesIO(plane), formats=("TIFF",)) as one:
                deep.add(samples[..., channel : channel + 1], one, "I", "high")
    else:
        two_looks = deep.aim(image, "high")
        said = _loaded(image, private)
        width, height = _upright(image).size
        samples = np.zeros((height, width, deep.channels(image)), np.uint16)
        deep.add(samples, image, held, "high")
        if two_looks:
            image.close()  # its pixels
            with Image.open(BytesIO(data), formats=(str(image.format),)) as again:
                deep.aim(again, "low")
                again.load()
                deep.add(samples, _upright(again), held, "low")
    deep.finish(samples, image)
    grey = held.startswith(("I", "LA"))
    icc_profile = _profile_of(image, said, space, grey=grey)
    alpha = samples[..., 3] if samples.shape[2] == 4 else None
    return Photo(samples[..., :3], str(image.format), grey, alpha, icc_profile, said)


def _packing_in(image: Image.Image, data: bytes) -> str | None:
    """A TIFF's compression in Pillow's words; ``lossless`` of a WebP, which Pillow does not tell: its chunk is VP8L."""
    if image.format == "TIFF":
        return str(image.info.get("compression"))
    at = 12 if image.format == "WEBP" else len(data)
    while (kind := data[at : at + 4]) not in (b"VP8L", b"VP8 ", b"ANMF", b""):
        size = int.from_bytes(data[at + 4 : at + 8], "little")
        at += 8 + size + size % 2
    return "lossless" if kind == b"VP8L" else None


def _loaded(image: Image.Image, private: bool = False) -> metadata.Metadata:
    """Read the image whole, and what it says of itself: a PNG when all is read, a TIFF before Pillow turns it."""
    if image.format == "PNG":
        scale, transparent = GREYS.get(deep.raw_mode(image)), image.info.get("transparency")
        image.load()
        if scale and transparent is not None:
            image.info["transparency"] = transparent * scale  # as Pillow scaled the pixels
    said = metadata.read(image, private=private)
    image.load()
    return said


def _upright(image: Image.Image) -> Image.Image:
    """Apply the EXIF orientation; broken metadata is ignored, never an error."""
    with suppress(Exception):  # SyntaxError, struct.error, ... : the pixels are good, the metadata is not
        ImageOps.exif_transpose(image, in_place=True)
    return image


def _pixels_of(image: Image.Image) -> tuple[Rgb8, Rgb8 | None]:
    """Colours and alpha, copied in strips: Pillow makes another copy of what it converts or hands over."""
    width, height = image.size
    mode = "RGBA" if image.has_transparency_data else "RGB"
    cmyk = colour.srgb_from_cmyk(image.info.get("icc_profile")) if image.mode == "CMYK" else None
    rgb = np.empty((height, width, 3), np.uint8)
    alpha = np.empty((height, width), np.uint8) if mode == "RGBA" else None
    for top in range(0, height, STRIP_PX):
        strip = image.crop((0, top, width, min(top + STRIP_PX, height)))
        pixels = np.asarray(cmyk(strip) if cmyk else strip.convert(mode))
        rgb[top : top + STRIP_PX] = pixels[..., :3]
        if alpha is not None:
            alpha[top : top + STRIP_PX] = pixels[..., 3]
    return rgb, alpha


def _in_8_bits(samples: Rgb) -> Rgb8:
    """The same, or a copy made in strips, rounded to nearest."""
    if samples.dtype == np.uint8:
        return cast(Rgb8, samples)
    rounded = np.empty(samples.shape, np.uint8)
    for top in range(0, len(samples), STRIP_PX):
        rounded[top : top + STRIP_PX] = (samples[top : top + STRIP_PX].astype(np.uint32) + 128) // 257
    return rounded


def _image_of(photo: Photo, with_alpha: bool) -> Image.Image:
    """A copy; where something is to be converted, made in strips; without alpha on white."""
    if photo.alpha is None and not photo.grey:
        return Image.fromarray(photo.rgb8)
    height, width = photo.rgb.shape[:2]
    mode = ("L" if photo.grey else "RGB") + ("A" if with_alpha and photo.alpha is not None else "")
    image = Image.new(mode, (width, height))
    for top in range(0, height, STRIP_PX):
        strip = Image.fromarray(_in_8_bits(photo.rgb[top : top + STRIP_PX])).convert(mode.removesuffix("A"))
        if photo.alpha is not None:
            mask = Image.fromarray(_in_8_bits(photo.alpha[top : top + STRIP_PX]))
            if with_alpha:
                strip.putalpha(mask)
            else:
                strip = Image.composite(strip, Image.new(mode, strip.size, "white"), mask)
        image.paste(strip, (0, top))
    return image
