"""Bytes to pixels and back: what survives, what is refused, and that no broken file gets through as anything else."""

import json
import os
import re
import struct
import sys
import types
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms
from PIL.PngImagePlugin import PngImageFile, PngInfo

from deblur import image_limits, images, png_chunks
from deblur.data.photos import SharpPhoto
from deblur.errors import PhotoError, PhotoTooLarge, RequestError, UnreadablePhoto, UnsupportedPhoto
from deblur.image_limits import ANY_SIZE, OWN_FILES, DecodeLimits
from deblur.images import (
    Photo,
    decode,
    encode,
    from_rgb8,
    image_files,
    photo_of,
    planes_of,
    put_planes,
    to_rgb8,
)
from deblur.png_chunks import SIGNATURE, chunk
from tests.conftest import SHARED
from tests.hostile import saved
from tests.kinds import png16

RNG = np.random.default_rng(5)
RGB = RNG.integers(0, 256, (20, 30, 3), dtype=np.uint8)


def png_of(width: int, height: int, depth: int, pixels: bytes, colours: int = 2, extra: bytes = b"") -> bytes:
    header = struct.pack(">IIBBBBB", width, height, depth, colours, 0, 0, 0)
    return SIGNATURE + chunk(b"IHDR", header) + extra + chunk(b"IDAT", zlib.compress(pixels)) + chunk(b"IEND", b"")


def png_claiming(width: int, height: int) -> bytes:
    return png_of(width, height, 8, b"")


def test_every_name_of_a_jpeg_counts_as_an_image(tmp_path: Path) -> None:
    for name in ("a.jpg", "b.JPEG", "c.jpe", "d.JFIF"):
        Image.fromarray(RGB).save(tmp_path / name, "JPEG")
    (tmp_path / "._a.jpg").write_bytes(b"")
    assert [path.name for path in image_files(tmp_path)] == ["a.jpg", "b.JPEG", "c.jpe", "d.JFIF"]


def test_8_bit_survives_the_way_to_float_and_back() -> None:
    every_value = np.arange(256, dtype=np.uint8).reshape(16, 16, 1).repeat(3, axis=2)
    assert np.array_equal(to_rgb8(from_rgb8(every_value)), every_value)


def test_alpha_is_byte_equal_and_jpeg_shows_it_on_white() -> None:
    alpha = RNG.integers(0, 256, (20, 30), dtype=np.uint8)
    image = Image.fromarray(np.dstack([RGB, alpha]))
    photo = decode(saved(image, "PNG"))
    again = decode(encode(photo))
    assert again.alpha is not None
    assert np.array_equal(again.alpha, alpha)
    transparent = replace(photo, alpha=np.zeros((20, 30), np.uint8))
    assert decode(encode(transparent, "jpeg")).rgb.min() > 0.98 * 255


@pytest.mark.parametrize("depth", [1, 2, 4, 8])
def test_a_transparent_grey_of_a_png_is_found_at_every_depth(depth: int) -> None:
    levels = np.arange(8) % 2**depth
    bits = levels[:, None] >> np.arange(depth)[::-1] & 1
    row = b"\0" + np.packbits(bits).tobytes()
    png = png_of(8, 1, depth, row, colours=0, extra=chunk(b"tRNS", b"\0\1"))
    for photo in (decode(png), photo_of(Image.open(BytesIO(png)))):
        assert photo.grey
        assert photo.alpha is not None
        assert np.array_equal(photo.alpha[0], np.where(levels == 1, 0, 255))


def test_grey_stays_grey_and_icc_is_byte_equal() -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    photo = decode(saved(Image.fromarray(RGB[..., 0]), "PNG", icc_profile=profile))
    assert photo.grey
    again = Image.open(BytesIO(encode(photo)))
    assert again.mode == "L"
    assert again.info["icc_profile"] == profile
    assert np.array_equal(np.asarray(again), RGB[..., 0])


@pytest.mark.parametrize("with_alpha", [False, True])
def test_lossless_webp_stays_lossless_unless_a_quality_is_asked_for(with_alpha: bool) -> None:
    """With a profile and EXIF, too: the chunk of the pixels does not come first then. Colours below alpha 0 stay."""
    pixels = np.dstack([RGB, np.zeros((20, 30), np.uint8)]) if with_alpha else RGB
    exif = Image.Exif()
    exif[0x010F] = "Make"
    for options in ({}, {"exif": exif}):
        photo = decode(saved(Image.fromarray(pixels), "WEBP", lossless=True, exact=True, **options))
        assert np.array_equal(decode(encode(photo)).rgb, RGB)
        assert b"VP8L" in encode(photo, "webp")
        assert b"VP8L" not in encode(photo, "webp", 95)
    lossy = decode(saved(Image.fromarray(pixels), "WEBP", exif=exif))
    assert b"VP8L" not in encode(lossy)
    assert b"VP8L" not in encode(decode(saved(Image.fromarray(RGB), "PNG")), "webp")


@pytest.mark.parametrize(
    ("came", "left"),
    [
        ("tiff_lzw", "tiff_lzw"),
        ("tiff_adobe_deflate", "tiff_adobe_deflate"),
        ("tiff_deflate", "tiff_adobe_deflate"),  # the same under its newer number
        ("packbits", "packbits"),
        ("raw", "raw"),
        ("jpeg", "tiff_adobe_deflate"),
    ],
)
def test_a_tiff_keeps_its_compression_where_that_is_lossless(came: str, left: str) -> None:
    photo = decode(saved(Image.fromarray(RGB), "TIFF", compression=came))
    answer = encode(photo)
    assert Image.open(BytesIO(answer)).info["compression"] == left
    assert np.array_equal(decode(answer).rgb, photo.rgb)


def test_jpg_is_jpeg() -> None:
    assert encode(Photo(RGB), "jpg") == encode(Photo(RGB), "jpeg")


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied_once_and_left_out(orientation: int) -> None:
    upright = np.zeros((24, 16, 3), np.uint8)
    upright[:8, :8] = 255  # white in the top left corner
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # PIL transpositions that store it turned
    image = Image.fromarray(upright)
    if orientation in undo:
        image = image.transpose(Image.Transpose(undo[orientation]))
    exif = Image.Exif()
    exif[0x0112] = orientation
    photo = decode(saved(image, "JPEG", exif=exif, quality=100, subsampling=0))
    assert photo.rgb.shape == (24, 16, 3)
    assert photo.rgb[2:6, 2:6].min() > 0.9 * 255
    assert photo.rgb[12:, 10:].max() < 0.1 * 255
    assert not Image.open(BytesIO(encode(photo))).getexif()


def test_position_and_comment_do_not_survive() -> None:
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0xA431] = "SerialNumber12345"
    data = saved(Image.fromarray(RGB), "JPEG", exif=exif, comment=b"secret comment")
    answer = encode(decode(data))
    assert b"SerialNumber12345" in data
    assert b"SerialNumber12345" not in answer
    assert b"secret comment" not in answer


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"", UnreadablePhoto),
        (b"hello", UnreadablePhoto),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", UnreadablePhoto),
        (saved(Image.fromarray(RGB), "PNG")[:-60], UnreadablePhoto),
        (saved(Image.fromarray(RGB), "JPEG")[:200], UnreadablePhoto),
        (saved(Image.fromarray(RGB[..., 0].astype(np.float32)), "TIFF"), UnsupportedPhoto),
    ],
)
def test_what_is_not_a_photo_is_refused_with_a_sentence(data: bytes, error: type[PhotoError]) -> None:
    with pytest.raises(error) as caught:
        decode(data)
    assert str(caught.value).endswith(".")


def test_depth_and_colours_that_are_not_read_are_told_apart() -> None:
    with pytest.raises(UnsupportedPhoto, match="32 bits a channel"):
        decode(saved(Image.fromarray(RGB[..., 0].astype(np.float32)), "TIFF"))
    with pytest.raises(UnsupportedPhoto, match=r"mode LAB .*RGB"):
        decode(saved(Image.new("LAB", (8, 8)), "TIFF"))


def test_training_takes_no_16_bits_and_no_frames(tmp_path: Path) -> None:
    (tmp_path / "deep.png").write_bytes(png16(RGB.astype(np.uint16) * 257, 2))
    (tmp_path / "pages.tif").write_bytes(
        saved(Image.fromarray(RGB), "TIFF", save_all=True, append_images=[Image.fromarray(RGB)])
    )
    assert np.array_equal(images.read(tmp_path / "deep.png").rgb8, RGB)
    for name, word in (("deep.png", "16 bits a channel"), ("pages.tif", "2 frames")):
        with pytest.raises(UnsupportedPhoto, match=f"{name}.*{word}"):
            images.read_rgb8(tmp_path / name)


def test_16_bit_survives_the_way_to_float_and_back() -> None:
    every_value = np.arange(65_536, dtype=np.uint16).reshape(256, 256, 1).repeat(3, axis=2)
    back = np.zeros_like(every_value)
    put_planes(back, planes_of(every_value))
    assert np.array_equal(back, every_value)
    assert np.array_equal(planes_of(every_value).transpose(1, 2, 0), every_value / np.float32(65_535))


def test_the_limits_know_16_bits() -> None:
    """From the header: what such a photo takes is another."""
    data = saved(Image.new("RGB", (1000, 1000)), "PNG")
    deep = png_of(1000, 1000, 16, b"")
    limits = DecodeLimits(decode_mb=8)
    assert decode(data, limits).rgb.shape == (1000, 1000, 3)
    with pytest.raises(PhotoTooLarge):
        decode(deep, limits)


@pytest.mark.parametrize("size", [(20_000, 20_000), (16_385, 1), (7_000, 7_000), (100_000, 100_000)])
def test_huge_dimensions_are_refused_from_the_header(size: tuple[int, int]) -> None:
    with pytest.raises(PhotoTooLarge):
        decode(png_claiming(*size))


def test_a_jpeg_of_many_scans_is_refused_before_it_is_decoded() -> None:
    data = saved(Image.fromarray(RGB), "JPEG", progressive=True)
    head, tail = data[:-2], data[-2:]
    scan = head[head.rindex(b"\xff\xda") :]
    with pytest.raises(PhotoTooLarge, match="scans"):
        decode(head + scan * 200 + tail)


def test_a_marker_without_length_hides_no_scans() -> None:
    data = saved(Image.fromarray(RGB), "JPEG", progressive=True)
    head, tail = data[:-2], data[-2:]
    scan = head[head.rindex(b"\xff\xda") :]
    with pytest.raises(PhotoTooLarge, match="scans"):
        decode(head + b"\xff\x01" + scan * 200 + tail)


def test_a_tile_counts_as_what_it_is_decoded_to() -> None:
    """A megabyte of TIFF: one pixel, of a tile that takes a gigabyte."""
    tags = {256: 1, 257: 1, 258: 8, 259: 8, 262: 1, 277: 1, 322: 32_768, 323: 32_768, 324: 0, 325: 0}
    data = zlib.compress(bytes(32_768) * 1024)
    tags[324], tags[325] = 8 + 2 + 12 * len(tags) + 4, len(data)
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    header = b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4)
    with pytest.raises(PhotoTooLarge, match="to decode"):
        decode(header + data)


def test_what_follows_the_end_of_a_jpeg_and_its_thumbnail_are_not_counted() -> None:
    """Motion photos carry a film behind the image, EXIF a thumbnail with frames and scans of its own."""
    plain = saved(Image.fromarray(RGB), "JPEG")
    assert decode(plain + b"\xff\xda" * 5000).format == "JPEG"
    exif = Image.Exif()
    exif[0x010E] = "x\xff\xda" * 900
    assert decode(saved(Image.fromarray(RGB), "JPEG", exif=exif.tobytes() + b"\xff\xda" * 500)).format == "JPEG"


def test_webp_and_jpeg_have_a_longest_side() -> None:
    for output_format, side_px in (("webp", 16_383), ("jpeg", 65_500)):
        assert (
            decode(encode(Photo(np.zeros((1, side_px, 3), np.uint8)), output_format), OWN_FILES).rgb.shape[1] == side_px
        )
        with pytest.raises(RequestError, match=str(side_px)):
            encode(Photo(np.zeros((1, side_px + 1, 3), np.uint8)), output_format)


def test_limits_are_the_callers() -> None:
    with pytest.raises(PhotoTooLarge):
        decode(saved(Image.fromarray(RGB), "PNG"), DecodeLimits(megapixels=0.0005))


def test_unknown_output_is_a_request_error() -> None:
    photo = Photo(RGB)
    with pytest.raises(RequestError, match="jpeg, png"):
        encode(photo, "bmp2")
    with pytest.raises(RequestError, match="1 to 100"):
        encode(photo, "jpeg", 101)


def box(*brands: bytes) -> bytes:
    """The first bytes of HEIC, AVIF, CR3 and of films."""
    return (8 + 4 * len(brands)).to_bytes(4) + b"ftyp" + b"".join(brands)


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (box(b"heic", bytes(4), b"mif1", b"heic"), "HEIC"),
        (box(b"mif1", bytes(4), b"miaf", b"avif"), "AVIF"),
        (b"\xff\x0a\xfa\x1f", "JPEG XL"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
        (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000"),
        (box(b"crx ", bytes(4)), "RAW"),
        (b"FUJIFILMCCD-RAW 0201", "RAW"),
        (saved(Image.fromarray(RGB), "TIFF", tiffinfo={254: 1}), "RAW"),
        (saved(Image.fromarray(RGB), "TIFF", tiffinfo={50706: b"\1\4\0\0"}), "RAW"),
    ],
)
def test_images_of_other_kinds_are_told_by_what_they_are(data: bytes, kind: str) -> None:
    """A RAW file's first TIFF image is a preview, which must not be restored in its place."""
    with pytest.raises(UnsupportedPhoto, match=kind):
        decode(data)
    with pytest.raises(UnreadablePhoto, match="not an image"):
        decode(box(b"isom", bytes(4), b"mp42"), OWN_FILES)


def test_avif_of_ones_own_is_read_and_becomes_jpeg_or_png() -> None:
    flat = np.full((20, 30, 4), (200, 100, 50, 255), np.uint8)
    data = saved(Image.fromarray(flat[..., :3]), "AVIF", quality=100)
    photo = decode(data, OWN_FILES)
    assert photo.format == "JPEG"
    assert np.abs(photo.rgb.astype(int) - flat[..., :3]).max() < 8
    flat[:, 15:, 3] = 0
    assert decode(saved(Image.fromarray(flat), "AVIF"), OWN_FILES).format == "PNG"
    with pytest.raises(UnsupportedPhoto, match="AVIF"):
        decode(data)
    with pytest.raises(UnreadablePhoto, match="AVIF image is broken"):
        decode(data[:40], OWN_FILES)


def test_heic_of_ones_own_is_read_where_pillow_heif_is(monkeypatch: pytest.MonkeyPatch) -> None:
    start = box(b"heic", bytes(4), b"mif1", b"heic")

    class Heif(PngImageFile):
        format = "HEIF"

        def _open(self) -> None:
            self.fp = BytesIO(self.fp.read()[len(start) :])
            super()._open()

    plugin = types.ModuleType("pillow_heif")
    plugin.register_heif_opener = (
        lambda: monkeypatch.setitem(  # type: ignore[attr-defined]
            Image.OPEN, "HEIF", (Heif, lambda prefix: prefix.startswith(start[:8]))
        )
    )
    data = start + saved(Image.fromarray(RGB), "PNG")
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(UnsupportedPhoto, match="pip install pillow-heif"):
        decode(data, OWN_FILES)
    with pytest.raises(UnreadablePhoto, match="not an image"):
        decode(b"hello", OWN_FILES)
    monkeypatch.setitem(sys.modules, "pillow_heif", plugin)
    photo = decode(data, OWN_FILES)
    assert photo.format == "JPEG"
    assert np.array_equal(photo.rgb, RGB)
    with pytest.raises(UnsupportedPhoto, match=r"HEIC.*JPEG"):
        decode(data)


def test_ones_own_photo_may_be_as_large_as_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = saved(Image.new("RGB", (20_000, 40)), "PNG")
    assert decode(data, OWN_FILES).rgb.shape == (40, 20_000, 3)
    monkeypatch.setattr(image_limits, "available_memory", lambda: 9e6)
    with pytest.raises(PhotoTooLarge, match=r"20000 x 40.*about 0\.01 GB.*0\.01 GB are available"):
        decode(data, OWN_FILES)
    assert decode(data, ANY_SIZE).rgb.shape == (40, 20_000, 3)
    monkeypatch.setattr(image_limits, "available_memory", lambda: 10e6)
    assert decode(data, OWN_FILES).rgb.shape == (40, 20_000, 3)
    (tmp_path / "wide.png").write_bytes(data)
    monkeypatch.setattr(image_limits, "available_memory", lambda: 0.0)
    with pytest.raises(PhotoTooLarge, match=r"wide\.png: The image is"):
        images.read(tmp_path / "wide.png")
    assert images.read_rgb8(tmp_path / "wide.png").shape == (40, 20_000, 3), "training does not depend on the moment"
    with pytest.raises(PhotoTooLarge, match=r"100000 x 100000.*about 120\.00 GB"):
        decode(png_claiming(100_000, 100_000), OWN_FILES)
    with pytest.raises(UnreadablePhoto):  # Pillow's own limit is not asked
        decode(png_claiming(20_000, 10_000), ANY_SIZE)


def test_the_memory_that_is_available_is_known_on_linux_and_macos() -> None:
    if os.name != "nt":
        assert 1e7 < image_limits.available_memory() <= os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def test_pillow_warns_nobody_and_gets_its_settings_back() -> None:
    """A phone's JPEG whose second picture is miscounted: Pillow warns, with paths of its own files."""
    count = struct.pack("<HHII", 0xB001, 4, 1, 2)
    data = saved(Image.fromarray(RGB), "MPO", save_all=True, append_images=[Image.fromarray(RGB)])
    wrong = data.replace(count, count[:-4] + struct.pack("<I", 3))
    assert wrong != data
    with pytest.raises(UserWarning, match="MPO"), Image.open(BytesIO(wrong)):
        pass
    before = list(warnings.filters), Image.MAX_IMAGE_PIXELS
    with ThreadPoolExecutor(4) as pool:
        assert {photo.format for photo in pool.map(decode, [wrong, data] * 20)} == {"JPEG"}
    assert (list(warnings.filters), Image.MAX_IMAGE_PIXELS) == before
    assert decode(wrong).said.more_pictures


@pytest.mark.parametrize(
    "options", [{}, {"subsampling": 0}, {"progressive": True}, {"restart_marker_rows": 2}], ids=str
)
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_a_jpeg_cut_before_its_end_marker_is_refused_and_a_whole_one_is_not(
    photos: dict[str, SharpPhoto], mode: str, options: dict[str, object]
) -> None:
    """Whole, its pixels are Pillow's, to the bit."""
    image = Image.fromarray(photos["coffee"].pixels).convert(mode)
    whole = saved(image, "JPEG", quality=90, **options)
    if mode != "CMYK":
        assert np.array_equal(decode(whole).rgb, np.asarray(Image.open(BytesIO(whole)).convert("RGB")))
    assert decode(whole + b"film of a motion photo").rgb.shape == photos["coffee"].pixels.shape
    for share in (0.3, 0.6, 0.95, 0.999):
        with pytest.raises(UnreadablePhoto, match="cut short"):
            decode(whole[: int(len(whole) * share)] + b"\xff\xd9")


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_a_progressive_jpeg_that_lacks_scans_is_refused(photos: dict[str, SharpPhoto], mode: str) -> None:
    """libjpeg is content with those that came: the first alone is an eighth of the size, and blurred."""
    whole = saved(Image.fromarray(photos["coffee"].pixels).convert(mode), "JPEG", progressive=True)
    scans = [found.start() for found in re.finditer(b"\xff\xda", whole)]
    assert len(scans) > 5
    for scan in scans:
        with pytest.raises(UnreadablePhoto, match="cut short"):
            decode(whole[:scan] + b"\xff\xd9")
    assert decode(whole).rgb.shape == photos["coffee"].pixels.shape


def test_a_sequential_jpeg_of_three_scans_needs_all_of_them() -> None:
    """One of each colour; their headers say nothing of coefficients, as some programs write them."""
    planes = [saved(plane, "JPEG", quality=95) for plane in Image.fromarray(RGB).convert("YCbCr").split()]
    frame, scan = planes[0].index(b"\xff\xc0"), planes[0].index(b"\xff\xda")
    components = b"".join(bytes([i, 0x11, 0]) for i in (1, 2, 3))
    head = planes[0][:frame] + b"\xff\xc0\0\x11" + planes[0][frame + 4 : frame + 9] + b"\3" + components
    head += planes[0][frame + 13 : scan]
    scans = [b"\xff\xda\0\x08\1" + bytes([i + 1, 0, 0, 0, 0]) + planes[i][scan + 10 : -2] for i in range(3)]
    assert np.abs(decode(head + b"".join(scans) + b"\xff\xd9").rgb.astype(int) - RGB).mean() < 5
    with pytest.raises(UnreadablePhoto, match="cut short"):
        decode(head + b"".join(scans[:2]) + b"\xff\xd9")


def test_a_jpeg_with_stray_bytes_is_still_read() -> None:
    """libjpeg warns of them; they cost no pixel."""
    whole = saved(Image.fromarray(RGB), "JPEG")
    assert np.array_equal(decode(whole[:20] + b"junk" + whole[20:]).rgb, decode(whole).rgb)


@pytest.mark.parametrize("kind", [b"IHDR", b"pHYs", b"IDAT", b"tEXt", b"IEND"])
def test_a_png_with_a_wrong_checksum_is_refused(kind: bytes) -> None:
    text = PngInfo()
    text.add_text("Title", "a")
    data = saved(Image.fromarray(RGB), "PNG", dpi=(300, 300), pnginfo=text)
    start = next(start for name, start, _ in png_chunks.chunks(data) if name == kind)
    end = start + int.from_bytes(data[start - 8 : start - 4])
    with pytest.raises(UnreadablePhoto):
        decode(data[:end] + bytes([data[end] ^ 1]) + data[end + 1 :])
    assert np.array_equal(decode(data + b"something behind it").rgb, RGB)


@pytest.mark.parametrize(
    ("most", "chunk_of_one"),
    [
        (20, chunk(b"zTXt", b"a\0\0" + zlib.compress(b"b"))),
        (20, chunk(b"iTXt", b"a\0\1\0\0\0" + zlib.compress(b"b"))),
        (20, chunk(b"iCCP", b"a\0\0" + zlib.compress(b"b"))),
        (999, chunk(b"iTXt", b"a\0\0\0\0\0b")),
        (999, chunk(b"prVt", b"")),
        (5000, chunk(b"IDAT", b"")),
    ],
)
def test_a_png_of_many_chunks_is_refused_before_they_are_read(most: int, chunk_of_one: bytes) -> None:
    """Beside IHDR and IEND; those behind its pixels when these are read."""
    whole = saved(Image.fromarray(RGB), "PNG")
    before, behind = 33, len(whole) - 12
    assert whole[behind + 4 :].startswith(b"IEND")
    assert np.array_equal(decode(whole[:before] + chunk_of_one * (most - 1) + whole[before:]).rgb, RGB)
    if chunk_of_one[4:8] == b"IDAT":
        return
    many = chunk_of_one * (most + 1)
    with pytest.raises(UnreadablePhoto, match="more than 1000 chunks"):
        images.megapixels(whole[:before] + many + whole[before:])
    with pytest.raises(UnreadablePhoto, match="more than 1000 chunks"):
        decode(whole[:behind] + many + whole[behind:])


@pytest.mark.skipif(not SHARED.is_dir(), reason="shared/data is not beside this clone")
def test_no_photograph_is_taken_for_a_broken_one() -> None:
    photographs = sorted((SHARED / "photos").rglob("*.jpg"))
    assert len(photographs) > 200
    for path in photographs[::8]:
        assert images.read(path).format == "JPEG"


@pytest.mark.skipif(not SHARED.is_dir(), reason="shared/data is not beside this clone")
def test_no_hostile_file_gets_through_as_anything_but_a_photo_or_a_photo_error() -> None:
    """Every file of the set in seconds: a photo, or a PhotoError; none that must be refused gets through."""
    lines = (SHARED / "bad" / "manifest.jsonl").read_text(encoding="utf-8").splitlines()
    let_through = []
    for entry in map(json.loads, lines):
        try:
            decode((SHARED / "bad" / entry["file"]).read_bytes())
        except PhotoError:
            continue
        if entry["expected"] == "refuse":
            let_through.append(entry["file"])
    assert len(lines) > 2000
    assert not let_through
