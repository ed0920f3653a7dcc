"""What a photo says of itself comes back in every format; what tells who took it, and where, in none."""

import random
from collections.abc import Mapping
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PIL.TiffImagePlugin import IFDRational

from deblur.image_limits import DecodeLimits
from deblur.images import Photo, decode, encode, image_of, photo_of
from deblur.inference.files import restore_file
from deblur.inference.locating import bundled_model
from deblur.inference.model_folder import Model, read_info
from deblur.inference.restorer import Restorer
from deblur.inference.tiling import Tiling
from deblur.metadata import Metadata

RGB = np.random.default_rng(4).integers(0, 256, (20, 30, 3), dtype=np.uint8)
FORMATS = ("jpeg", "png", "webp", "tiff")

MAIN = {0x010F: "Make", 0x0110: "Model 7", 0x0132: "2020:01:02 03:04:05", 0x013B: "An Artist", 0x8298: "(c) Somebody"}
EXPOSURE = {
    0x829A: IFDRational(1, 250),
    0x829D: IFDRational(28, 10),
    0x8827: 400,
    0x9000: b"0232",
    0x9003: "2020:01:02 03:04:05",
    0x9011: "+01:00",
    0x9204: IFDRational(-1, 3),
    0x9209: 16,
    0x920A: IFDRational(50, 1),
    0xA001: 1,
    0xA403: 1,
    0xA432: (IFDRational(24, 1), IFDRational(70, 1), IFDRational(28, 10), IFDRational(28, 10)),
    0xA434: "A Lens",
}
PANORAMA = {"ProjectionType": "equirectangular", "FullPanoWidthPixels": "60", "PosePitchDegrees": "-1.5"}


def exif_of(
    main: Mapping[int, object], exposure: Mapping[int, object], position: Mapping[int, object] | None = None
) -> Image.Exif:
    exif = Image.Exif()
    exif.update(main)
    exif.get_ifd(0x8769).update(exposure)
    if position:
        exif.get_ifd(0x8825).update(position)
    return exif


def jpeg(**options: object) -> bytes:
    stream = BytesIO()
    Image.fromarray(RGB).save(stream, "JPEG", **options)
    return stream.getvalue()


def answers(data: bytes) -> dict[str, bytes]:
    """The photo as it is written, by format; TIFF without and with libtiff, which writes directories of its own."""
    photo = decode(data)
    packed = {f"tiff {name}": replace(photo, format="TIFF", packing=name) for name in ("tiff_lzw", "jpeg")}
    return {name: encode(photo, name) for name in FORMATS} | {name: encode(said) for name, said in packed.items()}


def test_date_author_camera_and_exposure_come_back_in_every_format() -> None:
    for name, answer in answers(jpeg(exif=exif_of(MAIN, EXPOSURE | {0xA005: {1: "R98"}}))).items():
        exif = Image.open(BytesIO(answer)).getexif()
        assert {tag: exif.get(tag) for tag in MAIN} == MAIN, name
        found = exif.get_ifd(0x8769)
        assert {tag: found.get(tag) for tag in EXPOSURE} == EXPOSURE, name
        assert exif.get_ifd(0xA005)[1] == "R98", name
        assert decode(answer).said.exif == decode(jpeg(exif=exif_of(MAIN, EXPOSURE))).said.exif


def test_what_is_private_comes_back_in_no_format() -> None:
    main = {0x010E: "secret caption", 0x9C9C: b"secret XP comment", 0xC62F: "secret serial"} | MAIN
    exposure = {
        0x927C: b"secret maker's note",
        0x9286: b"ASCII\0\0\0secret comment",
        0xA420: "secret unique id",
        0xA430: "secret owner",
        0xA431: "secret serial",
        0xA435: "secret lens serial",
    }
    gps = {1: "N", 2: (IFDRational(48, 1), IFDRational(8, 1), IFDRational(15, 1)), 0x1D: "secret day"}
    exif = exif_of(main, exposure, gps)
    data = jpeg(exif=exif, comment=b"secret", xmp=b'<x GPano:Secret="secret" exif:GPSLatitude="secret"/>')
    assert data.count(b"secret") == 13
    for name, answer in answers(data).items():
        assert b"secret" not in answer, name
        assert not Image.open(BytesIO(answer)).getexif().get_ifd(0x8825), name


def test_what_is_private_is_kept_where_that_is_asked_for(tmp_path: Path) -> None:
    main = {0x010E: "secret caption", 0x9C9C: b"secret XP comment"} | MAIN
    own = {0x9286: b"ASCII\0\0\0secret comment", 0xA430: "secret owner", 0xA431: "secret body", 0xA435: "secret lens"}
    gps = {1: "N", 2: (IFDRational(48, 1), IFDRational(8, 1), IFDRational(15, 1)), 0x1D: "secret day"}
    data = jpeg(exif=exif_of(main, EXPOSURE | own | {0x927C: b"maker's note"}, gps), comment=b"secret words")
    photo = decode(data, DecodeLimits(private=True))
    deep = replace(photo, rgb=photo.rgb.astype(np.uint16) * 257)
    written = {name: encode(photo, name) for name in FORMATS}
    written |= {f"{name} of 16 bits": encode(deep, name) for name in ("png", "tiff")}
    written["tiff by libtiff"] = encode(replace(photo, format="TIFF", packing="tiff_lzw"))
    for name, answer in written.items():
        exif = Image.open(BytesIO(answer)).getexif()
        assert dict(exif.get_ifd(0x8825)) == gps, name
        assert {tag: exif.get_ifd(0x8769).get(tag) for tag in EXPOSURE | own} == EXPOSURE | own, name
        assert exif[0x010E] == "secret caption", name
        assert b"secret XP comment" in answer, name
        assert b"maker's note" not in answer, name
        assert (b"secret words" in answer) == name.startswith(("jpeg", "png")), name
        assert decode(answer, DecodeLimits(private=True)).said.position == photo.said.position, name
        assert b"secret" not in encode(decode(answer)), name
    (tmp_path / "a.jpg").write_bytes(data)
    model = Model(read_info(bundled_model() or Path()), Restorer(lambda tiles: tiles, Tiling(64, 16)))
    assert b"secret" in restore_file(model, tmp_path / "a.jpg", keep_metadata=True).read_bytes()
    assert b"secret" not in restore_file(model, tmp_path / "a.jpg", overwrite=True).read_bytes()


def test_what_is_private_and_too_long_together_is_left_out() -> None:
    own = dict.fromkeys((0x9286, 0xA420, 0xA430, 0xA431, 0xA435), "x" * 950)
    main = dict.fromkeys((*MAIN, 0x010E, 0x0131, 0x013C), "x" * 950)
    gps = dict.fromkeys(range(0x30, 0x70), "x" * 950)  # tags without a type of their own
    exif = exif_of(main, own, gps)
    stream = BytesIO()
    Image.fromarray(RGB).save(stream, "PNG", exif=exif)
    said = decode(stream.getvalue(), DecodeLimits(private=True)).said
    assert not said.position
    assert 0 < len(said.exif_bytes()) < 60_000


def test_what_a_png_says_behind_its_pixels_is_read() -> None:
    stream = BytesIO()
    Image.fromarray(RGB).save(stream, "PNG", exif=exif_of(MAIN, EXPOSURE))
    data = stream.getvalue()
    start = data.index(b"eXIf") - 4
    end = start + 12 + int.from_bytes(data[start : start + 4])
    moved = data[:start] + data[end:-12] + data[start:end] + data[-12:]
    assert decode(moved).said.exif == decode(data).said.exif != {}


def test_names_come_back_byte_for_byte_whatever_their_letters() -> None:
    name = "© Jürgen 写真".encode()
    data = jpeg(exif=exif_of({0x013B: name}, {}))
    assert name in data
    for answer in answers(data).values():
        assert name in answer


def test_names_that_a_program_has_set_may_have_any_letters() -> None:
    for name, kept in (("Jörg", "Jörg".encode("latin-1")), ("Łukasz", "Łukasz".encode()), ("\ud800", b"?")):
        image = Image.fromarray(RGB)
        image.getexif()[0x013B] = name
        assert photo_of(image).said.exif == {0x013B: kept}


@pytest.mark.parametrize("source", ["JPEG", "PNG", "TIFF", "BMP", "EXIF", "TIFF in cm"])
def test_density_comes_back_in_every_format(source: str) -> None:
    stream = BytesIO()
    if source == "EXIF":
        density = {0x011A: IFDRational(300, 1), 0x011B: IFDRational(200, 1), 0x0128: 2}
        Image.fromarray(RGB).save(stream, "WEBP", exif=exif_of(density, {}))
    elif source == "TIFF in cm":
        Image.fromarray(RGB).save(
            stream, "TIFF", x_resolution=300 / 2.54, y_resolution=200 / 2.54, resolution_unit="cm"
        )
    else:
        Image.fromarray(RGB).save(stream, source, dpi=(300, 200))
    for name, answer in answers(stream.getvalue()).items():
        assert decode(answer).said.dpi == pytest.approx((300, 200), abs=0.1), name
        image = Image.open(BytesIO(answer))
        if name != "webp":
            assert image.info["dpi"] == pytest.approx((300, 200), abs=0.1), name
        if name.startswith("tiff"):
            assert image.tag_v2[296] == 2  # type: ignore[attr-defined]


def test_density_is_turned_with_the_photo_and_none_is_made_up() -> None:
    stream = BytesIO()
    Image.fromarray(RGB).save(stream, "TIFF", dpi=(300, 200), tiffinfo={0x0112: 6})
    for data in (jpeg(dpi=(300, 200), exif=exif_of({0x0112: 6}, {})), stream.getvalue()):
        assert decode(data).rgb.shape == (30, 20, 3)
        assert decode(data).said.dpi == (200, 300)
        assert photo_of(Image.open(BytesIO(data))).said.dpi == (200, 300)
    for data in (jpeg(), jpeg(exif=exif_of(MAIN, {})), encode(Photo(RGB), "tiff")):
        assert decode(data).said.dpi is None
    assert decode(jpeg(exif=exif_of({0x011A: IFDRational(1, 0), 0x011B: 300.0}, {}))).said.dpi is None


def test_a_panorama_stays_one_unless_it_was_turned() -> None:
    inside = "".join(f' GPano:{name}="{value}"' for name, value in PANORAMA.items())
    elements = "".join(f"<GPano:{name}>{value}</GPano:{name}>" for name, value in PANORAMA.items())
    for packet in (f"<rdf:Description{inside}/>", f"<rdf:Description>{elements}</rdf:Description>"):
        for name, answer in answers(jpeg(xmp=packet.encode())).items():
            assert decode(answer).said.panorama == PANORAMA, name
        turned = decode(jpeg(xmp=packet.encode(), exif=exif_of({0x0112: 6}, {})))
        assert not turned.said.panorama


def test_the_orientation_that_xmp_told_is_gone() -> None:
    assert b"Orientation" not in encode(decode(jpeg(xmp=b'<x tiff:Orientation="6"/>')))


@pytest.mark.filterwarnings("ignore")  # Pillow warns of what it reads around
def test_broken_metadata_is_left_out_and_never_an_error() -> None:
    whole = exif_of(MAIN, EXPOSURE).tobytes()
    rng = random.Random(0)
    for _ in range(200):
        broken = bytearray(whole)
        for _ in range(rng.randint(1, 12)):
            broken[rng.randrange(6, len(broken))] = rng.choice([0, 1, 2, 3, 4, 5, 7, 10, 255])
        for answer in answers(jpeg(exif=bytes(broken))).values():
            assert decode(answer).rgb.shape == RGB.shape


def test_what_is_long_is_left_out() -> None:
    said = decode(jpeg(exif=exif_of({0x013B: "x" * 50_000, 0x8298: "short"}, {0x829A: 0.5}))).said
    assert said.exif == {0x8298: b"short"}
    fullest = Metadata(dict.fromkeys(MAIN, b"x" * 950), dict.fromkeys(EXPOSURE, "x" * 950), "R98", (300, 300))
    assert len(fullest.exif_bytes()) < 65_000


def test_further_pictures_are_told_of() -> None:
    stream = BytesIO()
    Image.fromarray(RGB).save(stream, "MPO", save_all=True, append_images=[Image.fromarray(RGB[::2, ::2])])
    photo = decode(stream.getvalue())
    assert photo.said.more_pictures
    assert photo.format == "JPEG"
    assert not decode(encode(photo)).said.more_pictures
    assert decode(jpeg(xmp=b'<x hdrgm:Version="1.0"/>')).said.more_pictures, "though there is no index"
    assert not decode(jpeg()).said.more_pictures


def test_a_pil_image_carries_it_along() -> None:
    image = image_of(photo_of(Image.open(BytesIO(jpeg(exif=exif_of(MAIN, EXPOSURE), dpi=(300, 200))))))
    stream = BytesIO()
    image.save(stream, "JPEG", exif=image.info["exif"], dpi=image.info["dpi"])
    assert decode(stream.getvalue()).said == decode(jpeg(exif=exif_of(MAIN, EXPOSURE), dpi=(300, 200))).said
