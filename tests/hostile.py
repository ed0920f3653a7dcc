"""Files that are meant to harm whoever decodes them, made here: bombs, cuts, disguises, orientations, and mutants."""

import random
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from PIL import Image

from deblur.png_chunks import SIGNATURE, chunk

SIDES = (48, 32)
ORIENTATION = 0x0112
PICTURE = Image.fromarray(
    np.linspace((0, 0, 0), (255, 120, 60), SIDES[0] * SIDES[1]).astype(np.uint8).reshape(SIDES[1], SIDES[0], 3)
)
IEND = chunk(b"IEND", b"")
FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF")
DISGUISES = ("PPM", "PCX", "TGA", "ICO", "JPEG2000", "EPS", "SGI", "DDS", "PDF", "MSP", "XBM")


@dataclass(frozen=True)
class Hostile:
    """A file, and what must come of it: a photo of ``size_px`` (width, height); a refusal where that is None."""

    name: str
    data: bytes
    size_px: tuple[int, int] | None = None


def saved(image: Image.Image, image_format: str, **options: object) -> bytes:
    """A file of the image."""
    stream = BytesIO()
    image.save(stream, image_format, **options)
    return stream.getvalue()


def all_hostile() -> list[Hostile]:
    """In a second."""
    return [*_png_bombs(), *_jpeg_bombs(), *_other_bombs(), *_cuts(), *_disguises(), *_orientations()]


def mutants(count: int, seed: int = 0) -> Iterator[bytes]:
    """Valid files of every format with a few bytes changed, lost, doubled or exchanged."""
    rng = random.Random(seed)
    files = [saved(PICTURE, name) for name in FORMATS]
    files += [saved(PICTURE, "JPEG", progressive=True), saved(PICTURE, "WEBP", lossless=True)]
    files += [saved(PICTURE, "TIFF", compression="tiff_lzw"), saved(PICTURE.convert("CMYK"), "JPEG")]
    files += [saved(PICTURE.convert("LA"), "PNG"), saved(PICTURE, "PNG", save_all=True, append_images=[PICTURE])]
    for _ in range(count):
        data = bytearray(rng.choice(files))
        for _ in range(rng.randint(1, 4)):
            at, length = rng.randrange(len(data)), rng.choice((1, 1, 2, 4, 16, 64))
            some = rng.choice((rng.randbytes(length), bytes(length), b"\xff" * length, bytes(data[:length])))
            kind = rng.randrange(4)
            data[at : at + (length if kind else 0)] = some if kind != 1 else b""
        yield _with_sums(bytes(data)) if rng.random() < 0.5 else bytes(data)


def _with_sums(data: bytes) -> bytes:
    """A PNG's checksums made right again, so that a mutant comes further than those."""
    if not data.startswith(SIGNATURE):
        return data
    at, parts = len(SIGNATURE), [SIGNATURE]
    while at + 8 <= len(data):
        length = min(int.from_bytes(data[at : at + 4]), len(data))
        parts.append(chunk(data[at + 4 : at + 8], data[at + 8 : at + 8 + length]))
        at += 12 + length
    return b"".join(parts)


def png(width: int, height: int, packed: bytes, *between: bytes) -> bytes:
    """8-bit RGB, with the chunks that come ``between`` header and pixels."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return SIGNATURE + header + b"".join(between) + chunk(b"IDAT", packed) + IEND


def _png_bombs() -> Iterator[Hostile]:
    small = zlib.compress(bytes(4 * 13))  # 4 x 4 px
    zeros, megabyte = zlib.compress(bytes(100_000_000), 1), zlib.compress(bytes(1_000_000))
    yield Hostile("PNG of 2.5 gigapixels", png(50_000, 50_000, b""))
    yield Hostile("PNG of 41 megapixels, black", png(8200, 5000, zeros))
    yield Hostile("PNG of 20,000 x 1", png(20_000, 1, small))
    yield Hostile("PNG of 2^31 - 1 px a side", png(2**31 - 1, 2**31 - 1, b""))
    yield Hostile("PNG without pixels", SIGNATURE + chunk(b"IHDR", struct.pack(">IIBBBBB", 0, 0, 8, 2, 0, 0, 0)) + IEND)
    yield Hostile("PNG whose pixels unpack to 100 MB", png(4, 4, zeros), (4, 4))
    for kind, start in ((b"zTXt", b"a\0\0"), (b"iTXt", b"a\0\1\0\0\0"), (b"iCCP", b"a\0\0")):
        yield Hostile(f"PNG, {kind.decode()} of 100 MB", png(4, 4, small, chunk(kind, start + zeros)))
        many = [chunk(kind, start + megabyte)] * 200
        yield Hostile(f"PNG, 200 {kind.decode()} of 1 MB", png(4, 4, small, *many))
        behind = png(4, 4, small).removesuffix(IEND) + b"".join(many)
        yield Hostile(f"PNG, 200 {kind.decode()} of 1 MB behind IDAT", behind + IEND)
    texts = [chunk(b"tEXt", b"a\0b")] * 50_000
    yield Hostile("PNG, 50,000 tEXt", png(4, 4, small, *texts))
    yield Hostile("PNG, 50,000 empty IDAT", png(4, 4, small, *[chunk(b"IDAT", b"")] * 50_000), (4, 4))
    yield Hostile("PNG, a chunk of 4 GB", png(4, 4, small, b"\xff\xff\xff\xfftEXtab"))
    yield Hostile("PNG, negative animation", png(4, 4, small, chunk(b"acTL", b"\xff" * 8)), (4, 4))


def _jpeg_bombs() -> Iterator[Hostile]:
    plain = saved(PICTURE, "JPEG")
    progressive = saved(PICTURE, "JPEG", progressive=True)
    frame = plain.index(b"\xff\xc0")
    wide = plain[: frame + 5] + struct.pack(">HH", 65_500, 65_500) + plain[frame + 9 :]
    yield Hostile("JPEG of 4.3 gigapixels", wide)
    scan = progressive.rindex(b"\xff\xda")
    for count in (101, 2000, 20_000):
        yield Hostile(f"JPEG of {count} scans", progressive[:scan] + progressive[scan:-2] * count + b"\xff\xd9")
    frame = progressive.index(b"\xff\xc2")
    large = progressive[: frame + 5] + struct.pack(">HH", 6000, 6000) + progressive[frame + 9 : scan]
    yield Hostile("JPEG of 36 megapixels and 60 scans", large + progressive[scan:-2] * 60 + b"\xff\xd9")
    yield Hostile(
        "JPEG, 300 segments of 64 kB", plain[:2] + (b"\xff\xee\xff\xff" + bytes(65_533)) * 300 + plain[2:], SIDES
    )
    entry = struct.pack("<HHII", 0x010F, 2, 0x7FFFFFFF, 8)
    for name, directory in (
        ("EXIF that claims 2 GB", struct.pack("<H", 1) + entry + bytes(4)),
        (
            "EXIF that points at itself",
            struct.pack("<H", 1) + struct.pack("<HHII", 0x8769, 4, 1, 8) + struct.pack("<I", 8),
        ),
        ("EXIF of 65,535 entries", b"\xff\xff" + entry * 5000),
    ):
        body = b"Exif\0\0II*\0\x08\0\0\0" + directory
        yield Hostile(
            f"JPEG, {name}", plain[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + plain[2:], SIDES
        )
    several = saved(PICTURE, "MPO", save_all=True, append_images=[PICTURE] * 3)
    index = several.index(b"MPF\0")
    yield Hostile("MPO with a broken index", several[: index + 12] + b"\xff" * 40 + several[index + 52 :], SIDES)


def _other_bombs() -> Iterator[Hostile]:
    plain = saved(PICTURE, "BMP")
    yield Hostile("BMP of 900 megapixels", plain[:18] + struct.pack("<ii", 30_000, 30_000) + plain[26:])
    yield Hostile("BMP of negative sides", plain[:18] + struct.pack("<ii", -2, -(2**31)) + plain[26:])
    gif = saved(PICTURE, "GIF")
    yield Hostile("GIF of 4.3 gigapixels", gif[:6] + struct.pack("<HH", 65_535, 65_535) + gif[10:])
    pixel = saved(Image.new("L", (1, 1)), "GIF")
    frame = pixel[pixel.index(b",", 13) : -1]
    yield Hostile("GIF of 100,000 frames", pixel[:-1] + frame * 100_000 + b";", (1, 1))
    webp = b"RIFF\x1a\0\0\0WEBPVP8L\x0d\0\0\0\x2f\xff\xff\xff\x0f" + bytes(9)
    yield Hostile("WebP of 268 megapixels", webp)
    yield Hostile("TIFF of 4 gigapixels", _tiff({256: 65_535, 257: 65_535}))
    yield Hostile("TIFF in one tile of 1 gigapixel", _tiff({256: 4, 257: 4, 322: 32_768, 323: 32_768, 324: 8, 325: 8}))
    yield Hostile("TIFF whose directory follows itself", _tiff({256: 4, 257: 4}, following=8), (4, 4))
    page = _tiff({256: 1, 257: 1})
    pages = page[:8] + b"".join(page[8:-4] + struct.pack("<I", 8 + i * (len(page) - 8)) for i in range(1, 5001))
    yield Hostile("TIFF of 5,000 pages", pages + page[8:], (1, 1))


def _tiff(tags: dict[int, int], following: int = 0) -> bytes:
    """Little-endian, 8-bit grey, of these tags and no pixels to speak of."""
    tags = {258: 8, 259: 1, 262: 1, 273: 8, 277: 1, 279: 8} | tags
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in sorted(tags.items()))
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(tags)) + entries + struct.pack("<I", following)


def _cuts() -> Iterator[Hostile]:
    for name in FORMATS:
        whole = saved(PICTURE, name)
        for percent in (5, 20, 40, 60, 80, 95):
            if (name, percent) != ("GIF", 95):  # only its trailer may be missing then
                yield Hostile(f"{name}, {percent} % of it", whole[: len(whole) * percent // 100])
    jpeg = saved(PICTURE, "JPEG", quality=100)
    yield Hostile("JPEG, 60 % of it and an end marker", jpeg[: len(jpeg) * 6 // 10] + b"\xff\xd9")
    progressive = saved(PICTURE, "JPEG", progressive=True)
    yield Hostile("JPEG without its last scan", progressive[: progressive.rindex(b"\xff\xda")] + b"\xff\xd9")
    yield Hostile("nothing", b"")


def _disguises() -> Iterator[Hostile]:
    for name in DISGUISES:
        stream = BytesIO()
        PICTURE.convert("1" if name in ("MSP", "XBM") else "RGB").save(stream, name)
        yield Hostile(f"{name} as a JPEG", stream.getvalue())
    for name, start in (
        ("SVG", b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>'),
        ("ZIP", b"PK\x03\x04" + bytes(60)),
        ("program", b"\x7fELF" + bytes(60)),
        ("PSD", b"8BPS\0\1" + bytes(60)),
        ("FITS", b"SIMPLE  =                    T" + bytes(50)),
        ("web page", b"<!doctype html><title>photo.jpg</title>"),
        ("start of a JPEG", b"\xff\xd8\xff\xe0" + bytes(200)),
    ):
        yield Hostile(f"{name} as a JPEG", start)
    yield Hostile("JPEG with a ZIP behind it", saved(PICTURE, "JPEG") + b"PK\x03\x04" + bytes(60), SIDES)


def _orientations() -> Iterator[Hostile]:
    for orientation in (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 65_535):
        exif = Image.Exif()
        exif[ORIENTATION] = orientation
        turned = orientation in (5, 6, 7, 8)
        for name in ("JPEG", "PNG", "WEBP", "TIFF"):
            data = saved(PICTURE, name, exif=exif)
            yield Hostile(f"{name}, orientation {orientation}", data, SIDES[::-1] if turned else SIDES)
