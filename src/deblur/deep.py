"""Sixteen bits a channel, in and out: PNG and TIFF, grey or colours, with alpha or without.

Pillow cuts colours of 16 bits to 8, but which byte it keeps follows from the byte order that it is told: a first look
gives the high bytes, a second one, told the other order, the low ones. So its readers (filters, interlacing, LZW,
tiles, predictors) serve here, too. Writing is short enough to be done here.
"""

import re
import sys
import zlib
from collections.abc import Iterator
from itertools import accumulate
from typing import BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from deblur.errors import UnsupportedPhoto
from deblur.png_chunks import SIGNATURE, chunk, chunks

Samples = NDArray[np.uint16]
"""``(H, W, 3)``, or 4 with alpha; grey three times."""

STRIP_PX = 256
FULL = 65_535
RAW_MODE = re.compile(r"(I|LA|RGB|RGBA|RGBX|RGBa);16([BLN]?)")
OTHER_ORDER = {"B": "L", "L": "B"}
PHOTOMETRIC, PLANAR, EXTRA_SAMPLES = 262, 284, 338
OF_A_PLANE = (256, 257, 259, 266, 274, 278, 317, 322, 323)
"""TIFF's tags of size, compression, bit order, orientation, predictor and tiles."""
UP = 2  # PNG's filter: each byte less the one above it


def check(image: Image.Image) -> None:
    """Whether an opened image of 16 bits a channel can be read at its depth; from its header.

    Raises:
        UnsupportedPhoto: signed numbers, or colours other than grey and RGB.
    """
    if not (image.mode in ("RGB", "RGBA") if in_planes(image) else RAW_MODE.fullmatch(raw_mode(image))):
        raise UnsupportedPhoto(
            f"A {image.format} with 16 bits a channel and numbers as {raw_mode(image) or image.mode} is not restored. "
            "Save it as grey, RGB or RGBA."
        )


def in_planes(image: Image.Image) -> bool:
    """Whether an opened file holds one colour after the other, of which Pillow reads the high bytes only."""
    return image.format == "TIFF" and not image.mode.startswith("I") and _tag(image, PLANAR) == 2


def planes(image: Image.Image, data: bytes) -> Iterator[bytes]:
    """Each plane of an opened TIFF, whose bytes are ``data``, as a grey TIFF of its own."""
    tags = image.tag_v2  # type: ignore[attr-defined]
    starts, counts = (273, 279) if 273 in tags else (324, 325)
    each = len(tags[starts]) // tags[277]
    if sum(tags[counts]) > len(data):
        raise ValueError("parts overlap")
    head = b"II*\0\x08\0\0\0" if tags.prefix == b"II" else b"MM\0*\0\0\0\x08"
    for first in range(0, each * channels(image), each):
        sizes = tags[counts][first : first + each]
        directory = ImageFileDirectory_v2(head)
        directory.update({tag: tags[tag] for tag in OF_A_PLANE if tag in tags})
        directory[258], directory[PHOTOMETRIC], directory[277] = 16, 1, 1
        directory[starts], directory[counts] = sizes, sizes
        begin = 8 + len(directory.tobytes(8)) if starts == 324 else 0  # Pillow counts strips from the directory's end
        directory[starts] = tuple(accumulate(sizes[:-1], initial=begin))
        parts = zip(tags[starts][first : first + each], sizes, strict=True)
        yield b"".join([head, directory.tobytes(8), *(data[start : start + size] for start, size in parts)])


def aim(image: Image.Image, byte: Literal["high", "low"]) -> bool:
    """Tell Pillow which bytes to read from an opened image; False where it reads both at once."""
    found = RAW_MODE.fullmatch(raw_mode(image))
    assert found
    colours, order = found.groups()
    if colours == "I":
        return False
    if colours == "LA":
        _set_raw_mode(image, "RGBA")  # four bytes, as they come
        return False
    order = {"N": "L" if sys.byteorder == "little" else "B"}.get(order, order)
    order = order if byte == "high" else OTHER_ORDER[order]
    _set_raw_mode(image, f"{colours.replace('a', 'A')};16{order}")
    return True


def channels(image: Image.Image) -> int:
    """Of the samples that an opened image becomes: 4 with alpha, or with a colour that stands for transparency."""
    return 4 if image.mode == "RGBA" or "transparency" in image.info else 3


def add(samples: Samples, image: Image.Image, held: str, byte: Literal["high", "low"]) -> None:
    """What was read, upright, into samples that were 0."""
    width, height = image.size
    for top in range(0, height, STRIP_PX):
        bottom = min(top + STRIP_PX, height)
        read = np.asarray(image.crop((0, top, width, bottom))).astype(np.uint16)
        strip = samples[top:bottom]
        if held.startswith("I"):
            strip[..., :3] = read[..., None]
        elif held.startswith("LA"):
            strip[..., :3] = (read[..., :1] << 8) | read[..., 1:2]
            strip[..., 3] = (read[..., 2] << 8) | read[..., 3]
        else:
            strip[..., : read.shape[2]] |= read << 8 if byte == "high" else read


def finish(samples: Samples, image: Image.Image) -> None:
    """What the file's header says of the numbers: white is 0, a colour is transparent, alpha was multiplied in."""
    tiff = image.format == "TIFF"
    if tiff and _tag(image, PHOTOMETRIC) == 0:
        samples[..., :3] ^= FULL
    transparent = image.info.get("transparency")
    for top in range(0, len(samples), STRIP_PX):
        strip = samples[top : top + STRIP_PX]
        if transparent is not None:
            strip[..., 3] = np.where((strip[..., :3] == np.array(transparent)).all(axis=2), 0, FULL)
        elif tiff and _tag(image, EXTRA_SAMPLES) == (1,):
            alpha = np.maximum(strip[..., 3:].astype(np.float64), 1)
            strip[..., :3] = np.rint(np.minimum(strip[..., :3] / alpha, 1) * FULL)


def strips(rgb: Samples, alpha: Samples | None, *, grey: bool) -> Iterator[Samples]:
    """Copies, ``(rows, W, channels)``, from top to bottom; grey is the luma (BT.601), as Pillow takes it at 8 bits."""
    for top in range(0, len(rgb), STRIP_PX):
        strip: Samples = rgb[top : top + STRIP_PX].copy()
        if grey:
            strip = np.rint(strip @ np.array([0.299, 0.587, 0.114], np.float32)).astype(np.uint16)[..., None]
        if alpha is not None:
            strip = np.concatenate([strip, alpha[top : top + STRIP_PX, :, None]], axis=2)
        yield strip


def write_png(stream: BinaryIO, rgb: Samples, alpha: Samples | None, *, grey: bool, like: bytes) -> None:
    """``like`` is a PNG of one pixel, whose other chunks (profile, density, EXIF) are taken over."""
    height, width = rgb.shape[:2]
    colour_type = (0 if grey else 2) + (0 if alpha is None else 4)
    stream.write(SIGNATURE)
    for kind, start, end in chunks(like):
        body = like[start:end]
        if kind == b"IHDR":
            body = width.to_bytes(4) + height.to_bytes(4) + bytes([16, colour_type, 0, 0, 0])
        if kind != b"IDAT":
            stream.write(chunk(kind, body))
            continue
        packer, above = zlib.compressobj(1), np.zeros((1, 1), np.uint8)
        for strip in strips(rgb, alpha, grey=grey):
            rows = strip.astype(">u2").view(np.uint8).reshape(len(strip), -1)
            filtered = np.full((len(rows), rows.shape[1] + 1), UP, np.uint8)
            filtered[0, 1:] = rows[0] - above
            filtered[1:, 1:] = rows[1:] - rows[:-1]
            above = rows[-1]
            stream.write(chunk(b"IDAT", packer.compress(filtered.tobytes())))
        stream.write(chunk(b"IDAT", packer.flush()))


def write_tiff(
    stream: BinaryIO,
    rgb: Samples,
    alpha: Samples | None,
    *,
    grey: bool,
    directory: ImageFileDirectory_v2,
    deflate: bool,
) -> None:
    """Little-endian, in strips.

    Args:
        stream: empty; can be sought in.
        rgb: the pixels.
        alpha: ``(H, W)``.
        grey: whether one channel is written for three; with alpha, three that are equal, since Pillow reads no other.
        directory: what else the file says; it is filled.
        deflate: pack them, as differences to the pixel on the left.
    """
    bands = 4 if alpha is not None else 1 if grey else 3
    directory[256], directory[257] = rgb.shape[1], rgb.shape[0]
    directory[258], directory[277] = (16,) * bands, bands
    directory[259], directory[317] = (8, 2) if deflate else (1, 1)
    directory[PHOTOMETRIC], directory[278] = 1 if bands == 1 else 2, STRIP_PX
    if alpha is not None:
        directory[EXTRA_SAMPLES] = 2  # beside the colours, not multiplied in
    counts = [0] * len(range(0, len(rgb), STRIP_PX))
    directory[273], directory[279] = tuple(counts), tuple(counts)
    stream.write(b"II*\0\x08\0\0\0" + directory.tobytes(8))  # as long as it will be
    for i, strip in enumerate(strips(rgb, alpha, grey=grey)):
        if strip.shape[2] == 2:
            strip = strip[..., [0, 0, 0, 1]]
        if deflate:
            strip[:, 1:] -= strip[:, :-1].copy()
        packed = strip.astype("<u2", copy=False).tobytes()
        counts[i] = stream.write(zlib.compress(packed, 1) if deflate else packed)
    starts = accumulate(counts[:-1], initial=0)  # Pillow counts them from the directory's end
    directory[273], directory[279] = tuple(starts), tuple(counts)
    stream.seek(8)
    stream.write(directory.tobytes(8))


def raw_mode(image: Image.Image) -> str:
    """Pillow's name of how an opened file holds its pixels."""
    tiles = getattr(image, "tile", ())
    arguments = tiles[0].args if tiles else ""
    return str(arguments[0] if isinstance(arguments, tuple) else arguments)


def _set_raw_mode(image: Image.Image, name: str) -> None:
    image.tile = [  # type: ignore[attr-defined]
        tile._replace(args=(name, *tile.args[1:]) if isinstance(tile.args, tuple) else name)
        for tile in image.tile  # type: ignore[attr-defined]
    ]


def _tag(image: Image.Image, tag: int) -> object:
    return image.tag_v2.get(tag)  # type: ignore[attr-defined]
