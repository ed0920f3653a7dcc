"""What a file says of its colours is seen in every file that is written of it: checked through Little CMS."""

import itertools
import struct
import zlib
from io import BytesIO

import numpy as np
import pytest
from PIL import Image, ImageCms

from deblur.errors import UnsupportedPhoto
from deblur.images import decode, encode

Y, X = np.mgrid[0:32, 0:32]
RGB = np.stack([60 + 4 * X, 200 - 4 * Y, 90 + 2 * X + 2 * Y], axis=2).astype(np.uint8)
SRGB_FROM_XYZ = np.array(
    [[3.2404542, -1.5371385, -0.4985314], [-0.969266, 1.8760108, 0.041556], [0.0556434, -0.2040259, 1.0572252]]
)
SRGB_TO_XYZ = np.linalg.inv(SRGB_FROM_XYZ)
ADOBE_TO_XYZ = np.array(
    [[0.5767309, 0.185554, 0.1881852], [0.2973769, 0.6273491, 0.0752741], [0.0270343, 0.0706872, 0.9911085]]
)
P3_TO_XYZ = np.array([[0.4865709, 0.2656677, 0.1982173], [0.2289746, 0.6917385, 0.0792869], [0, 0.0451134, 1.0439444]])
D50 = (63190, 65536, 54061)
P3_XY = (31270, 32900, 68000, 32000, 26500, 69000, 15000, 6000)


def seen(rgb: np.ndarray, to_xyz: np.ndarray, exponent: float | None) -> np.ndarray:
    """The sRGB, 8 bit, that an eye sees as these values of a space; an exponent of None is sRGB's curve."""
    values = rgb / 255
    if exponent is None:
        light = np.where(values > 0.04045, ((values + 0.055) / 1.055) ** 2.4, values / 12.92)
    else:
        light = values**exponent
    light = np.clip(light @ to_xyz.T @ SRGB_FROM_XYZ.T, 0, 1)
    return 255 * np.where(light > 0.0031308, 1.055 * light ** (1 / 2.4) - 0.055, 12.92 * light)


def shown(data: bytes) -> np.ndarray:
    """The sRGB that a program with colour management shows of a file."""
    image = Image.open(BytesIO(data))
    profile = image.info.get("icc_profile")
    if profile is None:
        return np.asarray(image.convert("RGB"))
    source = ImageCms.ImageCmsProfile(BytesIO(profile))
    converted = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
    assert converted is not None
    return np.asarray(converted)


def png(rgb: np.ndarray, *chunks: tuple[bytes, bytes]) -> bytes:
    stream = BytesIO()
    Image.fromarray(rgb).save(stream, "PNG")
    head, rest = stream.getvalue()[:33], stream.getvalue()[33:]
    for kind, body in chunks:
        head += struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    return head + rest


def webp_of_exif(rgb: np.ndarray, colour_space: int, interop: str | None = None) -> bytes:
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0xA001] = colour_space
    if interop:
        exif.get_ifd(0x8769)[0xA005] = {1: interop}
    stream = BytesIO()
    Image.fromarray(rgb).save(stream, "WEBP", lossless=True, exif=exif)
    return stream.getvalue()


def srgb_profile(space: bytes = b"RGB ") -> bytes:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return profile[:16] + space + profile[20:]


SAID = {
    "linear": (png(RGB, (b"gAMA", struct.pack(">I", 100_000))), SRGB_TO_XYZ, 1.0),
    "gamma 2.2": (png(RGB, (b"gAMA", struct.pack(">I", 45_455))), SRGB_TO_XYZ, 2.2),
    "P3 by cHRM": (
        png(RGB, (b"gAMA", struct.pack(">I", 50_000)), (b"cHRM", struct.pack(">8I", *P3_XY))),
        P3_TO_XYZ,
        2.0,
    ),
    "cHRM alone": (png(RGB, (b"cHRM", struct.pack(">8I", *P3_XY))), P3_TO_XYZ, None),
    "sRGB before gAMA": (png(RGB, (b"sRGB", b"\0"), (b"gAMA", struct.pack(">I", 100_000))), SRGB_TO_XYZ, None),
    "P3 by cICP": (png(RGB, (b"cICP", bytes([12, 13, 0, 1])), (b"sRGB", b"\0")), P3_TO_XYZ, None),
    "no known cICP": (
        png(RGB, (b"cICP", bytes([2, 2, 0, 1])), (b"gAMA", struct.pack(">I", 100_000))),
        SRGB_TO_XYZ,
        1.0,
    ),
    "Adobe RGB as DCF says it": (webp_of_exif(RGB, 65535, "R03"), ADOBE_TO_XYZ, 563 / 256),
    "Adobe RGB as some say it": (webp_of_exif(RGB, 2), ADOBE_TO_XYZ, 563 / 256),
    "sRGB by EXIF": (webp_of_exif(RGB, 1, "R98"), SRGB_TO_XYZ, None),
}


@pytest.mark.parametrize("output_format", ["png", "tiff", "jpeg", "webp"])
@pytest.mark.parametrize("name", SAID)
def test_colours_look_the_same_in_every_format(name: str, output_format: str) -> None:
    data, to_xyz, exponent = SAID[name]
    answer = encode(decode(data), output_format, 100)
    assert np.array_equal(decode(data).rgb, RGB), "values stay; what they mean is written"
    error = np.abs(shown(answer) - seen(RGB, to_xyz, exponent))
    assert error.mean() < (1 if output_format in ("png", "tiff") else 3)
    if output_format in ("png", "tiff"):
        assert error.max() < 3


@pytest.mark.parametrize("output_format", ["png", "tiff", "jpeg", "webp"])
@pytest.mark.parametrize("told_by", ["gAMA", "profile"])
def test_a_profile_fits_the_channels_that_are_written(told_by: str, output_format: str) -> None:
    grey = np.full((8, 8), 128, np.uint8)
    linear = png(grey, (b"gAMA", struct.pack(">I", 100_000)))
    if told_by == "profile":  # the same again, of a file that has the profile
        linear = encode(decode(linear), "png")
        assert Image.open(BytesIO(linear)).info["icc_profile"][16:20] == b"GRAY"
    answer = Image.open(BytesIO(encode(decode(linear), output_format, 100)))
    assert answer.info["icc_profile"][16:20] == (b"RGB " if answer.mode == "RGB" else b"GRAY")
    assert np.abs(shown(encode(decode(linear), output_format, 100)).astype(float) - 188).max() <= 2


@pytest.mark.parametrize("space", [b"GRAY", b"CMYK", b"Lab "])
def test_a_profile_of_other_channels_is_never_written(space: bytes) -> None:
    stream = BytesIO()
    Image.fromarray(RGB).save(stream, "JPEG", icc_profile=srgb_profile(space))
    for output_format in ("png", "tiff", "jpeg", "webp"):
        assert "icc_profile" not in Image.open(BytesIO(encode(decode(stream.getvalue()), output_format))).info


def test_a_profile_that_fits_is_byte_equal_in_every_format() -> None:
    stream = BytesIO()
    Image.fromarray(RGB).save(stream, "JPEG", icc_profile=srgb_profile())
    for output_format in ("png", "tiff", "jpeg", "webp"):
        answer = Image.open(BytesIO(encode(decode(stream.getvalue()), output_format)))
        assert answer.info["icc_profile"] == srgb_profile()


def test_a_profile_larger_than_a_photo_is_left_out() -> None:
    stream = BytesIO()
    Image.fromarray(RGB).save(stream, "TIFF", icc_profile=srgb_profile() + bytes(5 << 20))
    assert len(encode(decode(stream.getvalue()))) < 10_000


@pytest.mark.parametrize(
    "chunk",
    [
        (b"gAMA", bytes(4)),
        (b"gAMA", b"\xff\xff\xff\xff"),
        (b"cHRM", bytes(32)),
        (b"cHRM", b"\xff" * 32),
        (b"cHRM", struct.pack(">8I", *[31270, 32900] * 4)),
        (b"cHRM", struct.pack(">8I", 31270, 1, *P3_XY[2:])),
        (b"cICP", b"\1"),
    ],
)
def test_colours_that_cannot_be_are_ignored(chunk: tuple[bytes, bytes]) -> None:
    photo = decode(png(RGB, chunk))
    assert np.array_equal(photo.rgb, RGB)
    assert "icc_profile" not in Image.open(BytesIO(encode(photo))).info


@pytest.mark.parametrize(("curve", "name"), [(16, "PQ"), (18, "HLG")])
def test_hdr_is_refused_by_name(curve: int, name: str) -> None:
    with pytest.raises(UnsupportedPhoto, match=name):
        decode(png(RGB, (b"cICP", bytes([9, curve, 0, 1]))))


def test_cmyk_is_srgb_afterwards_and_says_nothing_else() -> None:
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0xA001] = 65535
    exif.get_ifd(0x8769)[0xA005] = {1: "R03"}
    stream = BytesIO()
    Image.new("CMYK", (8, 8), (0, 200, 200, 0)).save(stream, "JPEG", exif=exif, icc_profile=srgb_profile(b"CMYK"))
    answer = Image.open(BytesIO(encode(decode(stream.getvalue()))))
    assert "icc_profile" not in answer.info
    assert not answer.getexif()


def cmyk_profile() -> bytes:
    """Of inks that are all grey: from L* = 100 they take 10 (C), 20 (M), 30 (Y) and 40 (K); a table of 2^4 corners."""
    corners = itertools.product((0, 1), repeat=4)
    lightness = [100 - 10 * c - 20 * m - 30 * y - 40 * k for c, m, y, k in corners]
    ramp = bytes(range(256))
    table = struct.pack(">4s4xBBBx9i", b"mft1", 4, 3, 2, *(0x10000 * np.eye(3, dtype=int)).ravel())
    table += 4 * ramp + b"".join(bytes([round(2.55 * each), 128, 128]) for each in lightness) + 3 * ramp
    head = struct.pack(
        ">I4xI4s4s4s12x4s28x3i48x", 144 + len(table), 0x02400000, b"prtr", b"CMYK", b"Lab ", b"acsp", *D50
    )
    return head + struct.pack(">I4sII", 1, b"A2B0", 144, len(table)) + table


@pytest.mark.parametrize("image_format", ["TIFF", "JPEG"])
def test_cmyk_is_converted_through_its_profile(image_format: str) -> None:
    inks = np.random.default_rng(0).integers(0, 256, (9, 1, 4), dtype=np.uint8).repeat(16, axis=0).repeat(16, axis=1)
    stream = BytesIO()
    options = {"quality": 100} if image_format == "JPEG" else {}
    Image.fromarray(inks, "CMYK").save(stream, image_format, icc_profile=cmyk_profile(), **options)
    photo = decode(stream.getvalue())
    light = ((100 - inks / 255 @ [10, 20, 30, 40] + 16) / 116) ** 3
    grey = 255 * (1.055 * light ** (1 / 2.4) - 0.055)
    assert np.abs(photo.rgb - grey[..., None]).max() < 3
    assert photo.icc_profile is None
