"""The chunks that a PNG is made of."""

import re
import struct
import zlib
from collections.abc import Iterator

from deblur.errors import UnreadablePhoto

SIGNATURE = b"\x89PNG\r\n\x1a\n"
MOST_CHUNKS = 1000  # beside those of pixels; of 11,000 PNGs at hand none has more than 28
MOST_PACKED = 20  # texts and profiles, each of which is unpacked to a megabyte; none has more than 6

PACKED = re.compile(rb"[^\x00]*\x00\x01")
"""An iTXt begins so, with its keyword."""


def chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """(kind, where its body begins, where it ends), up to IEND or to where the file ends."""
    at, kind = len(SIGNATURE), b""
    while kind != b"IEND" and at + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        yield kind, at + 8, at + 8 + length
        at += 12 + length


def chunk(kind: bytes, body: bytes) -> bytes:
    """With length and checksum."""
    return struct.pack(">I4s", len(body), kind) + body + struct.pack(">I", zlib.crc32(body, zlib.crc32(kind)))


def check_start(data: bytes) -> None:
    """Refuse in milliseconds what would take long to read before the pixels of a PNG; other files pass.

    Raises:
        UnreadablePhoto: too many chunks, or too many that are packed.
    """
    if data.startswith(SIGNATURE):
        next((kind for kind, _, _ in _few(data) if kind == b"IDAT"), None)


def check(data: bytes) -> None:
    """Compare all checksums, those of the pixels too, which Pillow passes over.

    Raises:
        UnreadablePhoto: one is wrong, or missing; or as :func:`check_start`, of what comes behind the pixels, too.
    """
    view = memoryview(data)
    for kind, start, end in _few(data):
        if zlib.crc32(view[start - 4 : end]).to_bytes(4) != data[end : end + 4]:
            name = kind.decode("ascii", "replace")
            raise UnreadablePhoto(f"The PNG is broken: the checksum of its {name!r} is wrong. Send it again.")


def _few(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """:func:`chunks`, until they are too many: beside those of pixels and further frames, or packed ones."""
    count = packed = 0
    passed: tuple[bytes, ...] = (b"IDAT",)
    for kind, start, end in chunks(data):
        if kind == b"IDAT":
            passed = (b"IDAT", b"fdAT", b"fcTL")
        count += kind not in passed
        packed += kind in (b"zTXt", b"iCCP") or (kind == b"iTXt" and PACKED.match(data, start, end) is not None)
        if count > MOST_CHUNKS or packed > MOST_PACKED:
            raise UnreadablePhoto(
                f"The PNG holds more than {MOST_CHUNKS} chunks beside its pixels, or {MOST_PACKED} packed texts and "
                "profiles. Save it without them."
            )
        yield kind, start, end
