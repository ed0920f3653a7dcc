"""One file at a time: can it be read, is it whole, what does its header say, and what does it look like from afar."""

import hashlib
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from deblur.data.doctor.findings import Finding
from deblur.errors import DeblurError, UnreadablePhoto, UnsupportedPhoto
from deblur.image_limits import MODES, OWN_FILES, bits_a_channel
from deblur.images import OPENED, Rgb8, decode, quiet

ORIENTATION = 0x0112
TAIL_BYTES = 4096
FAR_PX = 17
FLAT_LEVELS = 3.0

Bits = NDArray[np.int8]


@dataclass(frozen=True)
class FileLook:
    """What is known of a file.

    ``size_px`` is (width, height), upright. ``pixels`` is a hash of the decoded pixels and ``bits`` the perceptual
    hash, both only where the file was decoded; ``bits`` is None for a picture without structure, too.
    """

    path: Path
    size_px: tuple[int, int] | None = None
    mode: str = ""
    transparent: bool = False
    trouble: Finding | None = None
    pixels: str | None = None
    bits: Bits | None = None

    @property
    def grey(self) -> bool:
        return self.mode in ("1", "L", "LA")


def look_at_header(path: Path) -> FileLook:
    """Header and last bytes; the whole file only where these do not look right."""
    try:
        with path.open("rb") as stream:
            look = _header(path, stream)
            whole = look.trouble is not None or _ends_well(stream)
    except OSError as error:
        return _troubled(path, "unreadable", error.strerror or "cannot be read")
    return look if whole else look_at_all(path)[0]


def look_at_all(path: Path) -> tuple[FileLook, Rgb8 | None]:
    """Decode the file with the decoder of training; returns its pixels, too, where it can be read."""
    try:
        data = path.read_bytes()
    except OSError as error:
        return _troubled(path, "unreadable", error.strerror or "cannot be read"), None
    look = _header(path, BytesIO(data))
    if look.trouble and look.trouble.kind == "bit_depth":
        return look, None
    try:
        photo = decode(data, replace(OWN_FILES, first_of_many=False))
    except DeblurError as error:
        lacks_data = data.startswith(b"\xff\xd8") or not _ends_well(BytesIO(data))
        cut = isinstance(error, UnreadablePhoto) and not look.trouble and lacks_data
        kind = "truncated" if cut else "unsupported" if isinstance(error, UnsupportedPhoto) else "unreadable"
        return _troubled(path, kind, str(error)), None
    rgb = photo.rgb8
    return (
        replace(
            look,
            size_px=(rgb.shape[1], rgb.shape[0]),
            transparent=photo.alpha is not None and int(photo.alpha.min()) < 255,
            pixels=hashlib.blake2b(rgb.tobytes() + str(rgb.shape).encode(), digest_size=16).hexdigest(),
            bits=perceptual_bits(rgb),
        ),
        rgb,
    )


def perceptual_bits(rgb: Rgb8) -> Bits | None:
    """512 signs, +1 or -1: is a cell of a 17 x 17 grey thumbnail brighter than its left, and than its upper neighbour?

    (A difference hash in both directions.) None for a picture without structure, whose signs would be noise.
    """
    far = Image.fromarray(rgb).convert("L").convert("F").resize((FAR_PX, FAR_PX), Image.Resampling.BOX)
    grey = np.asarray(far)
    if grey.std() < FLAT_LEVELS:
        return None
    steps = (np.diff(grey, axis=1)[1:], np.diff(grey, axis=0)[:, 1:])
    return np.concatenate([np.where(step > 0, 1, -1).ravel() for step in steps]).astype(np.int8)


def is_empty(rgb: Rgb8 | None) -> bool:
    """Whether a picture shows nothing: one colour, such as black, but for less than three levels of 255."""
    return rgb is not None and bool((np.ptp(rgb, axis=(0, 1)) < FLAT_LEVELS).all())


def _header(path: Path, stream: BinaryIO) -> FileLook:
    start = stream.read(32)
    stream.seek(0)
    try:
        with quiet(), Image.open(stream, formats=OPENED) as image:
            return _described(path, image, start)
    except Exception:  # decoders raise anything on broken headers
        return _troubled(path, "unreadable", "not an image that can be read" if start else "the file is empty")


def _described(path: Path, image: Image.Image, start: bytes) -> FileLook:
    if (bits := bits_a_channel(image, start)) > 8:
        return _troubled(path, "bit_depth", f"{bits} bits a channel (mode {image.mode})")
    if image.mode not in MODES:
        return _troubled(path, "unsupported", f"colours of mode {image.mode} are not read")
    # Pillow decodes a whole PNG to look for metadata behind its pixels.
    may_be_turned = image.format != "PNG" or "exif" in image.info
    turned = may_be_turned and image.getexif().get(ORIENTATION, 1) >= 5
    size = image.size[::-1] if turned else image.size
    return FileLook(path, (size[0], size[1]), image.mode, image.has_transparency_data)


def _ends_well(stream: BinaryIO) -> bool:
    """Whether the last bytes are those of a whole file, as far as the format has an end."""
    stream.seek(0)
    start = stream.read(12)
    length = stream.seek(0, 2)
    stream.seek(max(0, length - TAIL_BYTES))
    tail = stream.read()
    if start.startswith(b"\xff\xd8"):
        return b"\xff\xd9" in tail
    if start.startswith(b"\x89PNG"):
        return b"IEND" in tail
    if start.startswith(b"RIFF"):
        return length >= int.from_bytes(start[4:8], "little") + 8
    return True


def _troubled(path: Path, kind: str, text: str) -> FileLook:
    text = text.removeprefix(f"{path}: ").removesuffix(" Send it again.")
    return FileLook(path, trouble=Finding(kind, "error", (str(path),), text))
