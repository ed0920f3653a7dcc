"""Every row of documentation/photos.md, through the API: what goes in comes out as it was, only sharper."""

import random
import struct
from collections.abc import Iterator
from contextlib import suppress
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image
from starlette.testclient import TestClient

from deblur.data.photos import SharpPhoto
from deblur.errors import PhotoError, UnreadablePhoto
from deblur.image_limits import DecodeLimits
from deblur.images import MEDIA_TYPES, decode, encode, format_in, planes_of, put_planes
from deblur.inference.model_folder import Model, open_model
from deblur.serving.api import create_app
from deblur.serving.model_store import ModelStore
from tests.kinds import KINDS, Samples, eight, png16, several, tiff16

PAGE = Path(__file__).resolve().parents[1] / "documentation" / "photos.md"


@pytest.fixture(scope="module")
def model(model_folder: Path) -> Model:
    return open_model(model_folder)


@pytest.fixture(scope="module")
def client(model_folder: Path, model: Model) -> Iterator[TestClient]:
    with TestClient(create_app(ModelStore(lambda: model_folder, lambda folder: model))) as client:
        yield client


@pytest.fixture(scope="module")
def samples(photos: dict[str, SharpPhoto]) -> Samples:
    """A photograph, with noise below its 8 bits and a gradient of alpha; its corner has a colour of its own."""
    rgb = photos["coffee"].pixels[100:161, 200:290].astype(np.uint16)
    deep = rgb * 256 + np.random.default_rng(0).integers(0, 256, rgb.shape, dtype=np.uint16)
    deep[0, 0] = (1, 2, 3)
    alpha = np.linspace(0, 65_535, rgb.shape[1]).astype(np.uint16)
    return np.dstack([deep, np.broadcast_to(alpha, rgb.shape[:2])])


def depth_and_bands(data: bytes) -> tuple[int, int]:
    """From the file itself, not through Pillow, which cuts."""
    if data.startswith(b"\x89PNG"):
        return data[24], {0: 1, 2: 3, 4: 2, 6: 4}[data[25]]
    if data.startswith(b"II*\0"):
        page = tifffile.TiffFile(BytesIO(data)).pages[0]
        return page.bitspersample, page.samplesperpixel
    return 8, len(Image.open(BytesIO(data)).getbands())


@pytest.mark.parametrize("name", KINDS)
def test_what_goes_in_comes_out(client: TestClient, samples: Samples, name: str) -> None:
    kind = KINDS[name]
    sent = kind.make(samples)
    answer = client.post("/api/deblur?strength=0", content=sent)
    if kind.answer not in MEDIA_TYPES:
        assert 400 <= answer.status_code < 500
        assert answer.json()["code"] == kind.answer
        return
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == MEDIA_TYPES[kind.answer]
    assert depth_and_bands(answer.content) == (kind.depth, kind.bands)
    assert answer.headers.get("x-deblur-frames") == (f"1 of {kind.frames}" if kind.frames > 1 else None)
    assert ("x-deblur-left-out" in answer.headers) == kind.more_pictures
    before, after = decode(sent), decode(answer.content)
    assert after.grey == before.grey == (kind.bands < 3)
    difference = np.abs(after.rgb.astype(float) - before.rgb.astype(float))
    assert difference.max() == 0 if kind.exact else difference.mean() < 4
    assert (after.alpha is None) == (before.alpha is None) == (kind.bands % 2 == 1)
    if after.alpha is not None and before.alpha is not None:
        assert np.array_equal(after.alpha, before.alpha)
    mode = "1" if "bilevel" in name else "L" if before.grey else "P" if "palette" in name or "GIF" in name else "RGB"
    truth = np.asarray(eight(samples, mode).convert("RGB"))
    if kind.depth == 16:
        truth = np.repeat(samples[..., :1], 3, axis=2) if before.grey else samples[..., :3]
    assert np.abs(after.rgb.astype(float) - truth).mean() <= (0 if kind.exact else 8)


@pytest.mark.parametrize("name", KINDS)
def test_its_header_tells_the_format_of_the_answer(samples: Samples, name: str) -> None:
    sent, own = KINDS[name].make(samples), DecodeLimits(heif=True)
    with suppress(PhotoError):
        assert format_in(sent, own) == decode(sent, own).format


def test_the_page_has_a_row_for_each() -> None:
    table = PAGE.read_text(encoding="utf-8").partition("\n\n**")[0]
    rows = [line.split("|")[1].strip() for line in table.splitlines() if line[:2] == "| "]
    assert rows[1:] == list(KINDS)


@pytest.mark.parametrize("name", [name for name, kind in KINDS.items() if kind.depth == 16])
def test_16_bits_are_restored_as_floats_are(client: TestClient, samples: Samples, name: str, model: Model) -> None:
    sent = KINDS[name].make(samples)
    before, after = decode(sent), decode(client.post("/api/deblur?guard=off", content=sent).content)
    expected = np.zeros_like(before.rgb)
    put_planes(expected, model.restorer(planes_of(before.rgb).transpose(1, 2, 0)).transpose(2, 0, 1))
    if before.grey:
        luma = np.rint(expected @ np.array([0.299, 0.587, 0.114], np.float32)).astype(np.uint16)
        expected = np.repeat(luma[..., None], 3, axis=2)
    assert np.array_equal(after.rgb, expected)
    assert len(np.unique(after.rgb)) > 300, "more than 8 bits hold"


@pytest.mark.parametrize("output_format", ["jpeg", "webp"])
def test_formats_that_hold_no_more_get_8_bits(client: TestClient, samples: Samples, output_format: str) -> None:
    answer = client.post(f"/api/deblur?strength=0&format={output_format}&quality=100", content=png16(samples, 6))
    image = Image.open(BytesIO(answer.content))
    assert image.mode == ("RGBA" if output_format == "webp" else "RGB")
    right = (slice(None), slice(80, None))  # nearly opaque
    error = np.asarray(image.convert("RGB"))[right].astype(float) - np.asarray(eight(samples))[right]
    assert np.abs(error).mean() < 12


def test_grey_of_16_bits_with_alpha_becomes_a_tiff_that_can_be_read(samples: Samples) -> None:
    photo = decode(png16(samples[..., ::3], 4))
    data = encode(photo, "tiff")
    assert (depth_and_bands(data), Image.open(BytesIO(data)).mode) == ((16, 4), "RGBA")
    again = decode(data)
    assert np.array_equal(again.rgb, photo.rgb)
    assert again.alpha is not None
    assert np.array_equal(again.alpha, samples[..., 3])


def test_what_a_16_bit_photo_says_of_itself_survives(samples: Samples) -> None:
    """Orientation, profile, density, EXIF and a panorama, in both formats; turned as Pillow turns 8 bits."""
    exif = Image.Exif()
    exif.update({0x010F: "Make", 0x013B: "An Artist", 0x0112: 6})
    exif.get_ifd(0x8769)[0x9003] = "2020:01:02 03:04:05"
    profile = b"\0" * 16 + b"RGB " + b"\0" * 108
    like = BytesIO()
    eight(samples).save(like, "PNG", exif=exif, icc_profile=profile, dpi=(300, 200))
    plain = decode(like.getvalue())
    chunks = like.getvalue()
    extra = chunks[33 : chunks.index(b"IDAT") - 4]
    photo = decode(png16(samples[..., :3], 2, extra=extra))
    assert photo.rgb.dtype == np.uint16
    assert np.array_equal(photo.rgb >> 8, plain.rgb)
    assert (photo.said, photo.icc_profile) == (plain.said, plain.icc_profile)
    for output_format in ("png", "tiff"):
        again = decode(encode(photo, output_format))
        assert np.array_equal(again.rgb, photo.rgb)
        assert again.said.exif == photo.said.exif
        assert again.said.exposure == photo.said.exposure
        assert again.said.dpi == pytest.approx((200, 300), abs=0.1)
        assert again.icc_profile == profile


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_tiff_of_16_bits_is_turned_once(samples: Samples, orientation: int) -> None:
    tags = [(0x0112, 3, 1, orientation, True)]
    shallow = Image.fromarray((samples[..., :3] >> 8).astype(np.uint8))
    stream = BytesIO()
    shallow.save(stream, "TIFF", tiffinfo={0x0112: orientation})
    planes = np.moveaxis(samples[..., :3], 2, 0)
    for data in (tiff16(samples[..., :3], extratags=tags), tiff16(planes, planarconfig="separate", extratags=tags)):
        assert np.array_equal(decode(data).rgb >> 8, decode(stream.getvalue()).rgb)


def test_alpha_that_was_multiplied_into_16_bits_is_taken_out(samples: Samples) -> None:
    multiplied = samples.copy()
    multiplied[..., :3] = np.rint(samples[..., :3] * (samples[..., 3:] / 65_535))
    planes = np.moveaxis(multiplied, 2, 0)
    alpha = {"extrasamples": ["assocalpha"]}
    for data in (tiff16(multiplied, **alpha), tiff16(planes, planarconfig="separate", **alpha)):
        photo = decode(data)
        assert np.array_equal(photo.alpha, samples[..., 3])
        opaque = (slice(None), slice(45, None))  # by half or more
        assert np.abs(photo.rgb[opaque].astype(int) - samples[opaque][..., :3]).max() <= 1


def test_planes_that_are_cut_or_lie_in_one_another_are_refused(samples: Samples) -> None:
    """Else a small file of many parts, each of them all of it, takes all memory."""
    whole = tiff16(np.moveaxis(samples[..., :3], 2, 0), planarconfig="separate", rowsperstrip=8)
    with pytest.raises(UnreadablePhoto):
        decode(whole[: len(whole) * 9 // 10])
    sizes = tifffile.TiffFile(BytesIO(whole)).pages[0].tags[279]
    overlapping = bytearray(whole)
    overlapping[sizes.valueoffset : sizes.valueoffset + 4 * sizes.count] = struct.pack("<I", len(whole)) * sizes.count
    with pytest.raises(UnreadablePhoto, match="ValueError"):
        decode(bytes(overlapping))


@pytest.mark.parametrize("image_format", ["PNG", "WEBP", "TIFF", "GIF"])
def test_several_frames_are_refused_where_that_is_asked_for(
    client: TestClient, samples: Samples, image_format: str
) -> None:
    sent = several(samples, image_format, "P" if image_format == "GIF" else "RGB")
    refused = client.post("/api/deblur?frames=refuse", content=sent)
    assert (refused.status_code, refused.json()["code"]) == (415, "photo-unsupported")
    assert "3 frames" in refused.json()["detail"]
    form = client.post("/api/deblur", files={"image": sent}, data={"frames": "first"})
    assert form.headers["x-deblur-frames"] == "1 of 3"
    wrong = client.post("/api/deblur?frames=all", content=sent)
    assert "allowed are first, refuse" in wrong.json()["detail"]
    assert client.post("/api/deblur?frames=refuse", content=KINDS["PNG"].make(samples)).status_code == 200


def test_what_is_private_is_kept_on_request_only(client: TestClient, samples: Samples) -> None:
    stream = BytesIO()
    eight(samples).save(stream, "JPEG", comment=b"a secret")
    for query, kept in (("", False), ("?metadata=public", False), ("?metadata=keep", True)):
        assert (b"a secret" in client.post(f"/api/deblur{query}", content=stream.getvalue()).content) == kept
    assert client.post("/api/deblur?metadata=all", content=stream.getvalue()).status_code == 400


@pytest.mark.parametrize("name", KINDS)
def test_a_damaged_file_is_a_photo_or_a_sentence(samples: Samples, name: str) -> None:
    rng, whole = random.Random(name), KINDS[name].make(samples)
    for _ in range(15):
        damaged = bytearray(whole)
        for _ in range(rng.randint(1, 8)):
            damaged[rng.randrange(rng.choice([200, len(damaged)]))] = rng.randrange(256)
        with suppress(PhotoError):
            encode(decode(bytes(damaged), DecodeLimits(private=True)))


def test_many_frames_are_not_counted_for_ever() -> None:
    stream = BytesIO()
    Image.new("P", (8, 8)).save(stream, "GIF")
    data = stream.getvalue()
    frame = data[data.index(b"\x2c\0\0\0\0") : -1]
    assert decode(data[:-1] + frame * 100_000 + b";").frames == 1000
