"""What a photo may cost, told from its header: what is refused is refused before a pixel is decoded."""

import os
import re
from contextlib import suppress
from dataclasses import dataclass, replace
from math import inf
from pathlib import Path

from PIL import Image

from deblur import deep
from deblur.errors import PhotoTooLarge, UnreadablePhoto, UnsupportedPhoto
from deblur.image_kinds import RAW, READ

DECODE_BYTES_PER_PIXEL = {
    **{"JPEG": 12, "MPO": 12, "PNG": 4, "WEBP": 18, "TIFF": 8, "BMP": 4, "GIF": 4},
    **{"AVIF": 12, "HEIF": 12},
}
"""The formats that are decoded, with the peak memory Pillow was seen to take for each."""
RESTORE_BYTES_PER_PIXEL = {"WEBP": 22}
"""What is taken beside that until the photo is encoded, 8 by default; a WebP with alpha or without loss takes most."""
DEEP_DECODE_BYTES_PER_PIXEL = 12  # 16 bits a channel, whatever the format
DEEP_BYTES_PER_PIXEL = 20  # and all that it takes

MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK")

SUBFILE_TYPE, BITS_PER_SAMPLE, TILE_WIDTH, TILE_LENGTH, DNG_VERSION = 254, 258, 322, 323, 50706
"""TIFF's tags."""


@dataclass(frozen=True)
class DecodeLimits:
    """What a photo may cost before it is decoded, and what of it is taken.

    Args:
        megapixels: to decode.
        side_px: of the longer side.
        decode_mb: that decoding takes.
        jpeg_scans: of a progressive JPEG.
        jpeg_scan_pixels: scans x pixels.
        heif: HEIC and AVIF are read, too, and become JPEG or PNG.
        in_memory: what decoding and restoring take must be available.
        first_of_many: of an animation or a file of several pages the first is taken; else such a file is refused.
        private: position, serial numbers, owner and comments are taken, too.
    """

    megapixels: float = 40.0
    side_px: float = 16_384
    decode_mb: float = 800
    jpeg_scans: float = 100
    jpeg_scan_pixels: float = 2e9
    heif: bool = False
    in_memory: bool = False
    first_of_many: bool = True
    private: bool = False


OWN_FILES = DecodeLimits(inf, inf, inf, jpeg_scan_pixels=inf, heif=True, in_memory=True)
"""Files of the person at the keyboard: what this machine can hold."""

ANY_SIZE = replace(OWN_FILES, jpeg_scans=inf, in_memory=False)
"""The same, whatever it costs: where the person says so, and in training, which must not depend on what else runs."""


def available_memory() -> float:
    """Bytes of memory that are free to use, or all there are where only that is known; inf where nothing is."""
    with suppress(OSError, ValueError, StopIteration):
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        return 1024 * int(next(line for line in lines if line.startswith("MemAvailable:")).split()[1])
    with suppress(AttributeError, OSError, ValueError):  # Windows has no sysconf
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return inf


MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd7\xff]")
"""The next one that a length follows, also from within a scan's data."""

SEQUENTIAL, PROGRESSIVE = (0xC0, 0xC1, 0xC9), (0xC2, 0xCA)
"""Starts of frames: a scan holds all of its components, or some bits of some coefficients."""


def check_scans_of_jpeg(data: bytes, limits: DecodeLimits) -> None:
    """Refuse a progressive JPEG whose many scans would take minutes, or that lacks some.

    Walks the markers of the primary image only: thumbnails lie in segments that are skipped, trailers behind its end.

    Raises:
        PhotoTooLarge: 270 kB can hold 28 s of CPU.
        UnreadablePhoto: bits of coefficients never come, which no encoder leaves out; libjpeg says nothing then.
    """
    if not data.startswith(b"\xff\xd8"):
        return
    scans, pixels, at, progressive = 0, 0, 2, False
    to_come: dict[int, list[int]] = {}
    """By component, of its 64 coefficients."""
    while (found := MARKER.search(data, at)) and (at := found.start()) < len(data) - 4:
        marker = data[at + 1]
        if marker == 0xD9:  # end of image
            break
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):  # start of frame
            pixels = int.from_bytes(data[at + 5 : at + 7]) * int.from_bytes(data[at + 7 : at + 9])
            components = data[at + 10 : at + 10 + 3 * data[at + 9] : 3]
            progressive = marker in PROGRESSIVE
            to_come = {each: [8] * 64 for each in components} if progressive or marker in SEQUENTIAL else {}
        if marker == 0xDA:  # start of scan
            scans += 1
            end = at + 5 + 2 * data[at + 4]
            first, last, bits = data[end : end + 3] if progressive else (0, 63, 0)  # some sequential ones say 0, 0, 0
            for each in to_come.keys() & data[at + 5 : end : 2]:
                to_come[each][first : last + 1] = [bits & 15] * (min(last, 63) + 1 - first)
        if scans > limits.jpeg_scans or scans * pixels > limits.jpeg_scan_pixels:
            raise PhotoTooLarge(
                f"The JPEG has {scans} scans or more, more work than is allowed ({limits.jpeg_scans} scans, fewer for "
                "large images). Save it again as a baseline JPEG."
            )
        at += 2 + int.from_bytes(data[at + 2 : at + 4])
    if any(map(any, to_come.values())):
        raise UnreadablePhoto("The JPEG is cut short: whole scans of its pixels are missing. Send it again.")


def check_header(image: Image.Image, data: bytes, limits: DecodeLimits) -> None:
    """Of an opened image.

    Raises:
        UnsupportedPhoto: a format or a mode that is not restored.
        PhotoTooLarge: over ``limits``.
    """
    width, height = image.size
    name = image.format or ""
    if image.format not in DECODE_BYTES_PER_PIXEL:
        raise UnsupportedPhoto(f"{name or 'This format'} is not read; allowed are {READ}.")
    if image.format == "TIFF" and _is_raw(image, data):
        raise UnsupportedPhoto(RAW)
    bits = bits_a_channel(image, data)
    if bits == 16:
        deep.check(image)
    elif bits > 8:
        raise UnsupportedPhoto(
            f"A {name} with {bits} bits a channel (mode {image.mode}) is not restored. Save it with 8 or 16."
        )
    elif image.mode not in MODES:
        raise UnsupportedPhoto(f"A {name} with colours of mode {image.mode} is not restored. Save it as RGB.")
    megapixels = max(width * height, _tile_pixels(image)) / 1e6
    to_decode = DECODE_BYTES_PER_PIXEL[name] if bits <= 8 else DEEP_DECODE_BYTES_PER_PIXEL
    in_all = to_decode + RESTORE_BYTES_PER_PIXEL.get(name, 8) if bits <= 8 else DEEP_BYTES_PER_PIXEL
    memory_mb = megapixels * to_decode
    if megapixels > limits.megapixels or max(width, height) > limits.side_px or memory_mb > limits.decode_mb:
        raise PhotoTooLarge(
            f"The image is {width} x {height} ({megapixels:.1f} megapixels to decode); allowed are "
            f"{limits.megapixels:g} megapixels and {limits.side_px:g} px a side. Scale it down."
        )
    needed = megapixels * 1e6 * in_all
    if limits.in_memory and needed > (available := available_memory()):
        raise PhotoTooLarge(
            f"The image is {width} x {height}. To decode and restore it takes about {needed / 1e9:.2f} GB of memory; "
            f"{available / 1e9:.2f} GB are available. Scale it down, or end other programs."
        )


def _is_raw(image: Image.Image, data: bytes) -> bool:
    """Whether a TIFF is a camera's RAW file: its first image is a preview, and would be restored in its place."""
    tags = image.tag_v2  # type: ignore[attr-defined]
    return DNG_VERSION in tags or bool(tags.get(SUBFILE_TYPE, 0) & 1) or data[8:10] == b"CR"


def _tile_pixels(image: Image.Image) -> int:
    """A TIFF's tile is decoded whole, however small the image that it belongs to."""
    if image.format != "TIFF":
        return 0
    width, length = (image.tag_v2.get(tag, 0) for tag in (TILE_WIDTH, TILE_LENGTH))  # type: ignore[attr-defined]
    return int(width * length)


def bits_a_channel(image: Image.Image, start: bytes) -> int:
    """From an opened image's header and the file's first 32 bytes: Pillow cuts 16 bits to 8 without a word."""
    bits = 16 if image.mode.startswith(("I", "F")) else 8
    if image.format == "PNG":
        bits = start[24]  # IHDR is always the first chunk
    elif image.format == "TIFF":
        bits = max(image.tag_v2.get(BITS_PER_SAMPLE, (8,)))  # type: ignore[attr-defined]
    return bits
