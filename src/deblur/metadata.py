"""What a photo says of itself: read from what came, kept by a list of names, written into every format.

Kept are capture date, author, copyright, camera and lens model, exposure, colour space, density and the shape of a
panorama. All else is left: position, serial numbers, owner, maker's notes, thumbnails, comments, captions, unique ids.
Of these, what still fits the photo is kept where that is asked for (``private``): not maker's notes, nor thumbnails.
Metadata that is broken is left out; it is never an error.
"""

import re
import struct
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from io import SEEK_END, BytesIO
from typing import Any, BinaryIO

from PIL import Image
from PIL.PngImagePlugin import PngInfo
from PIL.TiffImagePlugin import ImageFileDirectory_v2

EXIF_IFD, GPS_IFD, INTEROP_IFD = 0x8769, 0x8825, 0xA005
ORIENTATION, X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT, XMP = 0x0112, 0x011A, 0x011B, 0x0128, 0x02BC
COLOUR_SPACE, INTEROP_INDEX, NUMBER_OF_IMAGES = 0xA001, 1, 0xB001
EXIF_START = b"Exif\0\0II*\0\x08\0\0\0"

KEPT = (0x010F, 0x0110, 0x0132, 0x013B, 0x8298)
"""Make, Model, DateTime, Artist, Copyright."""

KEPT_OF_EXPOSURE = (
    *(0x829A, 0x829D, 0x8822, 0x8827, 0x8830, 0x8831, 0x8832),  # ExposureTime, FNumber, ExposureProgram, sensitivity
    *(0x9000, 0x9003, 0x9004),  # ExifVersion, dates
    *(0x9010, 0x9011, 0x9012, 0x9290, 0x9291, 0x9292),  # zones and parts of a second
    *range(0x9201, 0x920B),  # ShutterSpeed, Aperture, Brightness ... LightSource, Flash, FocalLength
    *(COLOUR_SPACE, 0xA215, 0xA500),  # ColorSpace, ExposureIndex, Gamma
    *range(0xA402, 0xA407),  # ExposureMode, WhiteBalance, DigitalZoomRatio, FocalLengthIn35mmFilm, SceneCaptureType
    *range(0xA407, 0xA40B),  # GainControl, Contrast, Saturation, Sharpness
    *(0xA432, 0xA433, 0xA434),  # LensSpecification, LensMake, LensModel
)
PRIVATE = (0x010E, 0x0131, 0x013C, *range(0x9C9B, 0x9CA0))
"""Caption, software, computer; Windows' title, comment, author, keywords and subject."""

PRIVATE_OF_EXPOSURE = (0x9286, 0xA420, 0xA430, 0xA431, 0xA435)
"""Comment, unique id, owner, serial numbers of body and lens."""

NOT_YET = 8  # an offset that is filled in later
LARGEST_VALUE_BYTES = 1000
LARGEST_EXIF_BYTES = 60_000
DENSEST_DPI = 65_535.0

PANORAMA = re.compile(rb"GPano:(\w{1,40})(?:\s*=\s*[\"']|>)\s*([\w.+-]{1,40})\s*[\"'<]")
PANORAMA_NAMES = {
    *("ProjectionType", "UsePanoramaViewer", "CroppedAreaImageWidthPixels", "CroppedAreaImageHeightPixels"),
    *("FullPanoWidthPixels", "FullPanoHeightPixels", "CroppedAreaLeftPixels", "CroppedAreaTopPixels"),
    *("PoseHeadingDegrees", "PosePitchDegrees", "PoseRollDegrees"),
    *("InitialViewHeadingDegrees", "InitialViewPitchDegrees", "InitialViewRollDegrees"),
    *("InitialHorizontalFOVDegrees", "InitialCameraDolly"),
}
PACKET = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    '<rdf:Description rdf:about="" xmlns:GPano="http://ns.google.com/photos/1.0/panorama/"{}/></rdf:RDF></x:xmpmeta>'
)


@dataclass(frozen=True)
class Metadata:
    """What a photo says of itself, for its upright pixels.

    Args:
        exif: tag -> value of the main directory; texts as bytes.
        exposure: tag -> value of the Exif directory.
        interop: EXIF's name of its colour rules: R98 is sRGB, R03 Adobe RGB.
        dpi: dots per inch, across and down.
        panorama: names and values of XMP's GPano.
        position: tag -> value of the GPS directory; empty unless it was asked for, and so is
        comment: of JPEG, GIF and PNG.
        more_pictures: the file held others (a gain map, a depth map); they no longer fit the photo, and are left.
    """

    exif: Mapping[int, bytes] = field(default_factory=dict)
    exposure: Mapping[int, Any] = field(default_factory=dict)
    interop: str | None = None
    dpi: tuple[float, float] | None = None
    panorama: Mapping[str, str] = field(default_factory=dict)
    more_pictures: bool = False
    position: Mapping[int, Any] = field(default_factory=dict)
    comment: bytes = b""

    @property
    def adobe_rgb(self) -> bool:
        """Whether EXIF says that the pixels are Adobe RGB, in the way of DCF or in that of some cameras."""
        return self.interop == "R03" or self.exposure.get(COLOUR_SPACE) == 2

    def without_colour(self) -> "Metadata":
        """The same, of pixels that were converted to sRGB."""
        exposure = {tag: value for tag, value in self.exposure.items() if tag != COLOUR_SPACE}
        return replace(self, exposure=exposure, interop=None)

    def exif_bytes(self) -> bytes:
        """A block of EXIF, at most 60 kB; empty where nothing is kept."""
        directory = self._directory(self._below())
        return EXIF_START + directory.tobytes(8) if directory else b""

    def save(self, image: Image.Image, stream: BinaryIO, image_format: str, **options: object) -> None:
        """``image.save``, in such a way that the file says the same."""
        below = self._below()
        if image_format == "TIFF" and options.get("compression", "raw") != "raw" and below:
            file = BytesIO()  # libtiff writes no directory below the main one: they are added behind
            image.save(file, "TIFF", **self._options("TIFF", dict.fromkeys(below, NOT_YET)), **options)
            for group, values in below.items():
                _add_directory(file, group, values)
            stream.write(file.getbuffer())
        else:
            image.save(stream, image_format, **self._options(image_format, below), **options)

    def _options(self, image_format: str, below: Mapping[int, Any]) -> dict[str, object]:
        """What Pillow's ``save`` takes."""
        options: dict[str, object] = {}
        if self.dpi and image_format != "WEBP":
            options["dpi"] = self.dpi
        if image_format == "TIFF":
            options["tiffinfo"] = self.tiff_directory(below)
        elif image_format != "BMP":
            options["exif"] = self.exif_bytes()
        if self.comment and image_format == "JPEG":
            options["comment"] = self.comment
        if image_format == "PNG":
            options["pnginfo"] = text = PngInfo()
            if self.panorama:
                text.add_itxt("XML:com.adobe.xmp", self._xmp().decode())
            if self.comment:
                text.add_itxt("Comment", self.comment.decode("utf-8", "replace"))
        elif self.panorama and image_format in ("JPEG", "WEBP"):
            options["xmp"] = self._xmp()
        return options

    def tiff_directory(self, below: Mapping[int, Any] | None = None) -> ImageFileDirectory_v2:
        """A TIFF's main directory; ``below`` is where those below it lie, where they are written apart."""
        directory = self._directory(self._below() if below is None else below)
        if self.panorama:
            directory[XMP] = self._xmp()
        return directory

    def _below(self) -> dict[int, dict[int, Any]]:
        """The directories below the main one, without empty ones."""
        exposure = dict(self.exposure) | ({INTEROP_IFD: {INTEROP_INDEX: self.interop}} if self.interop else {})
        return {group: values for group, values in ((EXIF_IFD, exposure), (GPS_IFD, dict(self.position))) if values}

    def _directory(self, below: Mapping[int, Any]) -> ImageFileDirectory_v2:
        directory = _directory_of({**self.exif, **below})
        if self.dpi:
            directory[X_RESOLUTION], directory[Y_RESOLUTION] = self.dpi
            directory[RESOLUTION_UNIT] = 2
        return directory

    def _xmp(self) -> bytes:
        return PACKET.format("".join(f' GPano:{name}="{value}"' for name, value in self.panorama.items())).encode()


def read(image: Image.Image, *, private: bool = False) -> Metadata:
    """What an opened image, not yet turned upright, says of itself; with what is ``private`` as far as that fits."""
    public = _read(image, KEPT, KEPT_OF_EXPOSURE)
    if not private:
        return public
    position: Mapping[int, Any] = {}
    with suppress(Exception):
        position = dict(_kept(found := image.getexif().get_ifd(GPS_IFD), list(found), GPS_IFD))
    comment = image.info.get("comment", image.info.get("Comment", b""))
    comment = comment.encode() if isinstance(comment, str) else comment
    everything = replace(
        _read(image, (*KEPT, *PRIVATE), (*KEPT_OF_EXPOSURE, *PRIVATE_OF_EXPOSURE)),
        position=position,
        comment=comment if isinstance(comment, bytes) and len(comment) <= LARGEST_VALUE_BYTES else b"",
    )
    return everything if len(everything.exif_bytes()) <= LARGEST_EXIF_BYTES else public


def _read(image: Image.Image, main: Iterable[int], of_exposure: Iterable[int]) -> Metadata:
    exif: Mapping[int, Any] = {}
    exposure: Mapping[int, Any] = {}
    interop = orientation = None
    with suppress(Exception):  # SyntaxError, struct.error, ... : the pixels are good, the metadata is not
        found = image.getexif()
        exif, orientation = found, found.get(ORIENTATION)
        exposure = found.get_ifd(EXIF_IFD)
        interop = found.get_ifd(INTEROP_IFD).get(INTEROP_INDEX)
    dpi = _dpi(image, exif)
    turned = orientation in (5, 6, 7, 8)
    return Metadata(
        {tag: _bytes(value) for tag, value in _kept(exif, main) if isinstance(value, str | bytes)},
        dict(_kept(exposure, of_exposure, EXIF_IFD)),
        interop if interop in ("R98", "R03") else None,
        (dpi[1], dpi[0]) if dpi and turned else dpi,
        {} if orientation in range(2, 9) else _panorama(image),
        _more_pictures(image),
    )


def _more_pictures(image: Image.Image) -> bool:
    """Whether a JPEG's index (MPF) or XMP tells of others; one with a gain map is no MPO to Pillow."""
    if any(name == "APP1" and b"hdrgm:Version" in body for name, body in getattr(image, "applist", ())):
        return True
    with suppress(Exception):
        index = BytesIO(image.info["mp"])
        directory = ImageFileDirectory_v2(index.read(8))
        index.seek(directory.next)
        directory.load(index)
        return int(directory[NUMBER_OF_IMAGES]) > 1
    return False


def _bytes(value: str | bytes) -> bytes:
    """A file's own, which Pillow reads as latin-1; of a text that a program has set, UTF-8 where that does not fit."""
    if isinstance(value, bytes):
        return value
    try:
        return value.encode("latin-1")
    except UnicodeEncodeError:
        return value.encode("utf-8", "replace")


def _kept(directory: Mapping[int, Any], tags: Iterable[int], group: int | None = None) -> Iterable[tuple[int, Any]]:
    """The tags that are there, can be written and are small."""
    for tag in tags:
        with suppress(Exception):
            value = directory[tag]
            if len(_directory_of({tag: value}, group).tobytes(8)) <= LARGEST_VALUE_BYTES:
                yield tag, value


def _directory_of(values: Mapping[int, Any], group: int | None = None) -> ImageFileDirectory_v2:
    directory = ImageFileDirectory_v2(group=group)
    for tag, value in values.items():
        directory[tag] = value
    return directory


def _add_directory(tiff: BytesIO, group: int, values: Mapping[int, Any]) -> None:
    """To a TIFF whose main directory points NOT_YET to it."""
    end = tiff.seek(0, SEEK_END)
    end += tiff.write(bytes(end % 2))
    head = bytes(tiff.getbuffer()[:8])
    order = "<" if head[:2] == b"II" else ">"
    directory = ImageFileDirectory_v2(head, group=group)
    directory.update(values)
    tiff.write(directory.tobytes(end))
    data = tiff.getbuffer()
    (main,) = struct.unpack_from(f"{order}I", data, 4)
    (count,) = struct.unpack_from(f"{order}H", data, main)
    for entry in range(main + 2, main + 2 + 12 * count, 12):
        if struct.unpack_from(f"{order}H", data, entry)[0] == group:
            struct.pack_into(f"{order}I", data, entry + 8, end)


def _dpi(image: Image.Image, exif: Mapping[int, Any]) -> tuple[float, float] | None:
    """From the format's own field, else from EXIF; Pillow's ``dpi`` is made up where JPEG and TIFF do not say any."""
    with suppress(Exception):
        if image.info.get("jfif_unit") or image.format not in ("JPEG", "MPO", "TIFF", "WEBP"):
            across, down = (float(value) for value in image.info["dpi"])
        else:
            scale = {2: 1.0, 3: 2.54}[exif.get(RESOLUTION_UNIT, 2)]
            across, down = float(exif[X_RESOLUTION]) * scale, float(exif[Y_RESOLUTION]) * scale
        if 1 <= across <= DENSEST_DPI and 1 <= down <= DENSEST_DPI:
            return across, down
    return None


def _panorama(image: Image.Image) -> dict[str, str]:
    packet = image.info.get("xmp") or b""
    found = PANORAMA.findall(packet) if isinstance(packet, bytes) else []
    return {name.decode(): value.decode() for name, value in found if name.decode() in PANORAMA_NAMES}
