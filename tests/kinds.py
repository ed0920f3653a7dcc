"""One photo as every kind of file that people send: the rows of documentation/photos.md, made here byte by byte."""

import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image, ImageChops

from deblur.png_chunks import SIGNATURE, chunk
from tests.hostile import saved

Samples = NDArray[np.uint16]
"""``(H, W, 4)``: red, green, blue, alpha."""

ADAM7 = ((0, 8, 0, 8), (0, 8, 4, 8), (4, 8, 0, 4), (0, 4, 2, 4), (2, 4, 0, 2), (0, 2, 1, 2), (1, 2, 0, 1))
"""First row, step, first column, step of each pass."""


@dataclass(frozen=True)
class Kind:
    """A row.

    Args:
        make: the file, of a photo.
        answer: Pillow's name of the format that comes back; of what is refused, the error's code.
        bands: channels that come back.
        depth: bits of each.
        exact: at strength 0 the same pixels come back.
        frames: that the answer tells of.
        more_pictures: that the answer tells of others that it leaves out.
    """

    make: Callable[[Samples], bytes]
    answer: str
    bands: int = 3
    depth: int = 8
    exact: bool = True
    frames: int = 1
    more_pictures: bool = False


def eight(samples: Samples, mode: str = "RGB") -> Image.Image:
    """In 8 bit; the colours of ``RGB`` are cut to 16 for a palette."""
    image = Image.fromarray((samples >> 8).astype(np.uint8))
    return image.convert("RGB").quantize(16) if mode == "P" else image.convert(mode)


def png16(samples: Samples, colour_type: int, *, interlaced: bool = False, extra: bytes = b"") -> bytes:
    """Each row by the next of PNG's five filters; ``samples`` has as many channels as ``colour_type`` says."""
    height, width = samples.shape[:2]
    passes = [samples[a::b, c::d] for a, b, c, d in ADAM7] if interlaced else [samples]
    rows = b"".join(filtered(part.astype(">u2")) for part in passes if part.size)
    header = struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, interlaced)
    packed = zlib.compress(rows)
    middle = len(packed) // 2
    parts = chunk(b"IDAT", packed[:middle]) + chunk(b"IDAT", packed[middle:])
    return SIGNATURE + chunk(b"IHDR", header) + extra + parts + chunk(b"IEND", b"")


def filtered(part: NDArray[np.uint16]) -> bytes:
    bpp = part.itemsize * part.shape[2]
    rows = np.ascontiguousarray(part).view(np.uint8).reshape(len(part), -1).astype(np.int32)
    up = np.pad(rows, ((1, 0), (0, 0)))[:-1]
    left, corner = (np.pad(a, ((0, 0), (bpp, 0)))[:, :-bpp] for a in (rows, up))
    around = np.stack([left, up, corner])
    paeth = np.take_along_axis(around, np.abs(left + up - corner - around).argmin(axis=0)[None], axis=0)[0]
    guesses = (np.zeros_like(rows), left, up, (left + up) // 2, paeth)
    return b"".join(
        bytes([y % 5]) + ((row - guesses[y % 5][y]) % 256).astype(np.uint8).tobytes() for y, row in enumerate(rows)
    )


IN_TILES = {"compression": "zlib", "predictor": 2, "tile": (32, 16)}


def tiff16(samples: Samples, order: str = "<", **options: object) -> bytes:
    stream = BytesIO()
    options = {"photometric": "minisblack" if samples.ndim == 2 else "rgb"} | options
    if options["photometric"] == "rgb" and 4 in (samples.shape[0], samples.shape[2]):
        options = {"extrasamples": ["unassalpha"]} | options
    tifffile.imwrite(stream, samples, byteorder=order, metadata=None, **options)
    return stream.getvalue()


def bmp_with_alpha(samples: Samples) -> bytes:
    """With the header that names the bits of alpha (BITMAPV4HEADER); Pillow writes none such."""
    height, width = samples.shape[:2]
    masks = (0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    pixels = (samples[::-1, :, [2, 1, 0, 3]] >> 8).astype(np.uint8).tobytes()
    file = struct.pack("<2sI4xI", b"BM", 122 + len(pixels), 122)
    return file + struct.pack("<IiiHHI20x4I52x", 108, width, height, 1, 32, 3, *masks) + pixels


def ycck(samples: Samples) -> bytes:
    """As Photoshop writes CMYK: the three inks as luma and colour differences, told by Adobe's transform 2."""
    *colours, black = eight(samples, "CMYK").split()
    luma = ImageChops.invert(Image.merge("RGB", colours).convert("YCbCr"))
    data = saved(Image.merge("CMYK", (*luma.split(), black)), "JPEG", quality=95)  # Pillow inverts them once more
    transform = data.index(b"Adobe") + 11
    return data[:transform] + b"\2" + data[transform + 1 :]


def turned(samples: Samples) -> bytes:
    """Stored lying on its side, as phones do."""
    exif = Image.Exif()
    exif[0x0112] = 6
    return saved(eight(samples).transpose(Image.Transpose.ROTATE_90), "JPEG", exif=exif, quality=95)


def several(samples: Samples, image_format: str, mode: str = "RGB", **options: object) -> bytes:
    image = eight(samples, mode)
    others = [image.transpose(Image.Transpose.FLIP_LEFT_RIGHT), image.transpose(Image.Transpose.FLIP_TOP_BOTTOM)]
    return saved(image, image_format, save_all=True, append_images=others, **options)


def with_gain_map(samples: Samples) -> bytes:
    """As phones write Ultra HDR: of the same two pictures as an MPO, but Pillow opens it as a plain JPEG."""
    xmp = b'<rdf:Description xmlns:hdrgm="http://ns.adobe.com/hdr-gain-map/1.0/" hdrgm:Version="1.0"/>'
    return saved(eight(samples), "MPO", save_all=True, append_images=[eight(samples, "L")], xmp=xmp, quality=95)


def cut(samples: Samples) -> bytes:
    whole = saved(eight(samples), "JPEG")
    return whole[: len(whole) // 2] + b"\xff\xd9"


def wrong_checksum(samples: Samples) -> bytes:
    whole = saved(eight(samples), "PNG")
    at = whole.rindex(b"IEND") - 8  # the last byte but three of the checksum of the pixels
    return whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :]


def grey(samples: Samples) -> Samples:
    return samples[..., 0]


KINDS = {
    "JPEG": Kind(lambda s: saved(eight(s), "JPEG", quality=95), "JPEG", exact=False),
    "JPEG, progressive": Kind(lambda s: saved(eight(s), "JPEG", progressive=True, quality=95), "JPEG", exact=False),
    "JPEG, grey": Kind(lambda s: saved(eight(s, "L"), "JPEG", quality=95), "JPEG", bands=1, exact=False),
    "JPEG, CMYK": Kind(lambda s: saved(eight(s, "CMYK"), "JPEG", quality=95), "JPEG", exact=False),
    "JPEG, CMYK as YCCK": Kind(ycck, "JPEG", exact=False),
    "JPEG with an orientation": Kind(turned, "JPEG", exact=False),
    "JPEG of several pictures (MPO)": Kind(
        lambda s: several(s, "MPO", quality=95), "JPEG", exact=False, more_pictures=True
    ),
    "JPEG with a gain map (Ultra HDR)": Kind(with_gain_map, "JPEG", exact=False, more_pictures=True),
    "JPEG, cut short, with or without its end marker": Kind(cut, "photo-unreadable"),
    "PNG": Kind(lambda s: saved(eight(s), "PNG"), "PNG"),
    "PNG with alpha": Kind(lambda s: saved(eight(s, "RGBA"), "PNG"), "PNG", bands=4),
    "PNG, grey": Kind(lambda s: saved(eight(s, "L"), "PNG"), "PNG", bands=1),
    "PNG, grey with alpha": Kind(lambda s: saved(eight(s, "LA"), "PNG"), "PNG", bands=2),
    "PNG, bilevel": Kind(lambda s: saved(eight(s, "1"), "PNG"), "PNG", bands=1),
    "PNG, palette": Kind(lambda s: saved(eight(s, "P"), "PNG"), "PNG"),
    "PNG, 16 bits": Kind(lambda s: png16(s[..., :3], 2), "PNG", depth=16),
    "PNG, 16 bits, interlaced": Kind(lambda s: png16(s[..., :3], 2, interlaced=True), "PNG", depth=16),
    "PNG, 16 bits with alpha": Kind(lambda s: png16(s, 6), "PNG", bands=4, depth=16),
    "PNG, 16 bits with a transparent colour": Kind(
        lambda s: png16(s[..., :3], 2, extra=chunk(b"tRNS", s[0, 0, :3].astype(">u2").tobytes())), "PNG", 4, 16
    ),
    "PNG, 16 bits, grey": Kind(lambda s: png16(s[..., :1], 0), "PNG", bands=1, depth=16),
    "PNG, 16 bits, grey with alpha": Kind(lambda s: png16(s[..., ::3], 4), "PNG", bands=2, depth=16),
    "PNG, animated": Kind(lambda s: several(s, "PNG"), "PNG", frames=3),
    "PNG in HDR (PQ or HLG by cICP)": Kind(
        lambda s: png16(s[..., :3], 2, extra=chunk(b"cICP", bytes([9, 16, 0, 1]))), "photo-unsupported"
    ),
    "PNG with a wrong checksum": Kind(wrong_checksum, "photo-unreadable"),
    "WebP": Kind(lambda s: saved(eight(s), "WEBP", quality=95), "WEBP", exact=False),
    "WebP with alpha": Kind(lambda s: saved(eight(s, "RGBA"), "WEBP", quality=95), "WEBP", bands=4, exact=False),
    "WebP, lossless": Kind(lambda s: saved(eight(s), "WEBP", lossless=True), "WEBP"),
    "WebP, animated": Kind(lambda s: several(s, "WEBP", quality=95), "WEBP", exact=False, frames=3),
    "TIFF": Kind(lambda s: saved(eight(s), "TIFF", compression="tiff_lzw"), "TIFF"),
    "TIFF, 16 bits": Kind(lambda s: tiff16(s[..., :3]), "TIFF", depth=16),
    "TIFF, 16 bits, big-endian": Kind(lambda s: tiff16(s[..., :3], ">"), "TIFF", depth=16),
    "TIFF, 16 bits, deflate, in tiles": Kind(lambda s: tiff16(s[..., :3], ">", **IN_TILES), "TIFF", depth=16),
    "TIFF, 16 bits with alpha": Kind(lambda s: tiff16(s, compression="zlib"), "TIFF", bands=4, depth=16),
    "TIFF, 16 bits, grey": Kind(lambda s: tiff16(grey(s), ">"), "TIFF", bands=1, depth=16),
    "TIFF, 16 bits, grey, white is 0": Kind(
        lambda s: tiff16(65_535 - grey(s), photometric="miniswhite"), "TIFF", bands=1, depth=16
    ),
    "TIFF of several pages": Kind(lambda s: several(s, "TIFF"), "TIFF", frames=3),
    "TIFF, 16 bits, in planes": Kind(
        lambda s: tiff16(np.moveaxis(s[..., :3], 2, 0), planarconfig="separate"), "TIFF", depth=16
    ),
    "TIFF, 16 bits, in planes with alpha": Kind(
        lambda s: tiff16(np.moveaxis(s, 2, 0), ">", planarconfig="separate", **IN_TILES), "TIFF", 4, 16
    ),
    "TIFF, 16 bits, CMYK or signed": Kind(lambda s: tiff16(s, photometric="separated"), "photo-unsupported"),
    "TIFF, 32 bits or floats": Kind(
        lambda s: saved(Image.fromarray(grey(s).astype(np.float32)), "TIFF"), "photo-unsupported"
    ),
    "TIFF, palette": Kind(lambda s: saved(eight(s, "P"), "TIFF"), "PNG"),
    "BMP": Kind(lambda s: saved(eight(s), "BMP"), "BMP"),
    "BMP, palette": Kind(lambda s: saved(eight(s, "P"), "BMP"), "PNG"),
    "BMP with alpha": Kind(bmp_with_alpha, "PNG", bands=4),
    "GIF": Kind(lambda s: saved(eight(s, "P"), "GIF"), "PNG"),
    "GIF, animated": Kind(lambda s: several(s, "GIF", "P"), "PNG", frames=3),
    "AVIF, HEIC (the service)": Kind(lambda s: saved(eight(s), "AVIF"), "photo-unsupported"),
    "A camera's RAW file": Kind(lambda s: saved(eight(s), "TIFF", tiffinfo={50706: b"\1\4\0\0"}), "photo-unsupported"),
}
