"""What a file says its colours mean, as an ICC profile: the one way of saying it that every format we write can hold.

ICC profiles travel as they came. What PNG says in its chunks cICP, sRGB, gAMA and cHRM, and EXIF of Adobe RGB, becomes
a profile that says the same. So pixels stay as they are, and nothing but a profile is written.
"""

import struct
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from PIL import Image, ImageCms

from deblur import png_chunks
from deblur.errors import UnsupportedPhoto

LARGEST_PROFILE_BYTES = 4 << 20  # those of printers have about a megabyte
D50 = np.array([0.9642, 1.0, 0.8249])
BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])

D65 = (0.3127, 0.329)
SRGB_CURVE = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
BT709_CURVE = (1 / 0.45, 1 / 1.099, 0.099 / 1.099, 1 / 4.5, 0.081)


@dataclass(frozen=True)
class Space:
    """An RGB space.

    Args:
        xy: of white, red, green and blue, the eight numbers of PNG's cHRM.
        curve: (g, a, b, c, d): a value v in [0, 1] is light ``(a v + b) ** g`` from v = d on, and ``c v`` below.
    """

    xy: tuple[float, ...] = (*D65, 0.64, 0.33, 0.3, 0.6, 0.15, 0.06)
    curve: tuple[float, ...] = SRGB_CURVE


def gamma(exponent: float) -> tuple[float, ...]:
    """The curve ``v ** exponent``."""
    return exponent, 1.0, 0.0, 0.0, 0.0


SRGB = Space()
ADOBE_RGB = Space((*D65, 0.64, 0.33, 0.21, 0.71, 0.15, 0.06), gamma(563 / 256))
CICP_PRIMARIES = {
    1: SRGB.xy,
    9: (*D65, 0.708, 0.292, 0.17, 0.797, 0.131, 0.046),  # BT.2020
    12: (*D65, 0.68, 0.32, 0.265, 0.69, 0.15, 0.06),  # Display P3
}
CICP_CURVES = {
    **dict.fromkeys((1, 6, 14, 15), BT709_CURVE),
    4: gamma(2.2),
    5: gamma(2.8),
    8: gamma(1.0),
    13: SRGB_CURVE,
}

HDR_CURVES = {16: "PQ", 18: "HLG"}


def space_in_png(image: Image.Image, data: bytes) -> Space | None:
    """What a PNG says, the strongest first: cICP, ICC (None here), sRGB, gAMA and cHRM; None where it says nothing.

    Raises:
        UnsupportedPhoto: its light is that of HDR (PQ, HLG), which no ICC profile can say.
    """
    primaries, curve, matrix, full_range = _cicp(data)
    if curve in HDR_CURVES:
        raise UnsupportedPhoto(
            f"A PNG in HDR ({HDR_CURVES[curve]}, told by its cICP) is not restored. Save it as sRGB."
        )
    if primaries in CICP_PRIMARIES and curve in CICP_CURVES and (matrix, full_range) == (0, 1):
        return Space(CICP_PRIMARIES[primaries], CICP_CURVES[curve])
    return space_of_info(image)


def space_of_info(image: Image.Image) -> Space | None:
    """PNG's sRGB, else its gAMA and cHRM, as Pillow tells them; None beside an ICC profile, which is stronger."""
    if image.info.get("icc_profile"):
        return None
    light, xy = image.info.get("gamma"), image.info.get("chromaticity")
    if "srgb" in image.info:
        return SRGB
    if (not light and not xy) or not 0.1 <= (light or 1) <= 10:
        return None
    return Space(tuple(xy) if xy else SRGB.xy, gamma(1 / light) if light else SRGB_CURVE)


def _cicp(data: bytes) -> tuple[int, int, int, int]:
    """A PNG's cICP, which Pillow does not read: primaries, curve, matrix, full range; zeros where there is none."""
    for kind, start, end in png_chunks.chunks(data):
        if kind == b"cICP" and end == start + 4 <= len(data) - 4:
            return data[start], data[start + 1], data[start + 2], data[start + 3]
        if kind == b"IDAT":
            break
    return 0, 0, 0, 0


def profile_of(space: Space, *, grey: bool) -> bytes | None:
    """An ICC profile (version 4) for grey or RGB pixels; None where the numbers are none of colours."""
    if not all(0.1 < part < 0.6 for part in space.xy[:2]):  # no white
        return None
    curve = struct.pack(">4s4xHxx", b"para", 3) + _fixed(*space.curve)
    try:
        with np.errstate(all="raise"):
            return _profile(space.xy, curve, grey)
    except (np.linalg.LinAlgError, ArithmeticError, ValueError, struct.error):
        return None


def fitting(profile: bytes | None, *, grey: bool) -> bytes | None:
    """The profile where it fits the pixels that are written, byte for byte.

    A grey one becomes an RGB one of the same curve for RGB pixels; one of CMYK or Lab fits none.
    """
    if profile is None or len(profile) > LARGEST_PROFILE_BYTES:
        return None
    space = profile[16:20]
    if space == b"GRAY" and not grey:
        curve = _grey_curve(profile)
        return curve and _profile(SRGB.xy, curve, grey=False)
    return profile if space in (b"RGB ", b"GRAY", b"") else None  # too short to name one: passed on as it is


def srgb_from_cmyk(icc_profile: bytes | None) -> Callable[[Image.Image], Image.Image]:
    """What converts an image, or a part of it: through the profile where it is one of CMYK, else plainly."""
    if icc_profile:
        with suppress(ImageCms.PyCMSError, OSError, ValueError):  # a profile that does not fit
            source = ImageCms.ImageCmsProfile(BytesIO(icc_profile))
            return ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), "CMYK", "RGB").apply
    return lambda image: image.convert("RGB")


def _grey_curve(profile: bytes) -> bytes | None:
    tags = min(int.from_bytes(profile[128:132]), (len(profile) - 132) // 12)
    for tag in range(tags):
        name, offset, size = struct.unpack_from(">4sII", profile, 132 + 12 * tag)
        curve = profile[offset : offset + size]
        if name == b"kTRC" and curve[:4] in (b"curv", b"para") and profile[20:24] == b"XYZ ":
            return curve
    return None


def _profile(xy: tuple[float, ...], curve: bytes, grey: bool) -> bytes:
    """Colours and white are adapted to D50 (Bradford), as ICC wants it; ``chad`` says how."""
    white, *colours = (np.array([x / y, 1.0, (1 - x - y) / y]) for x, y in zip(xy[::2], xy[1::2], strict=True))
    cones = BRADFORD @ D50 / (BRADFORD @ white)
    adapted = np.linalg.inv(BRADFORD) @ np.diag(cones) @ BRADFORD
    columns = np.stack(colours, axis=1)
    columns = adapted @ (columns * np.linalg.solve(columns, white))
    tags = {
        b"desc": _text("Colours of the photo"),
        b"cprt": _text("No copyright"),
        b"wtpt": b"XYZ \0\0\0\0" + _fixed(*D50),
        b"chad": b"sf32\0\0\0\0" + _fixed(*adapted.ravel()),
    }
    if grey:
        tags[b"kTRC"] = curve
    else:
        tags |= {name + b"XYZ": b"XYZ \0\0\0\0" + _fixed(*columns[:, i]) for i, name in enumerate((b"r", b"g", b"b"))}
        tags |= {name + b"TRC": curve for name in (b"r", b"g", b"b")}
    return _file(tags, b"GRAY" if grey else b"RGB ")


def _file(tags: dict[bytes, bytes], space: bytes) -> bytes:
    table, body, at = struct.pack(">I", len(tags)), b"", 132 + 12 * len(tags)
    for name, data in tags.items():
        table += struct.pack(">4sII", name, at + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    header = struct.pack(
        ">I4xI4s4s4s6H4s28x12s48x", at + len(body), 0x04300000, b"mntr", space, b"XYZ ", 2000, 1, 1, 0, 0, 0, b"acsp",
        _fixed(*D50),
    )  # fmt: skip
    return header + table + body


def _fixed(*values: float) -> bytes:
    """ICC's s15Fixed16 numbers."""
    return struct.pack(f">{len(values)}i", *(round(float(value) * 65536) for value in values))


def _text(text: str) -> bytes:
    return struct.pack(">4s4xII4sII", b"mluc", 1, 12, b"enUS", 2 * len(text), 28) + text.encode("utf-16-be")
