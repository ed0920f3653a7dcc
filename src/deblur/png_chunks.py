"""The chunks that a PNG is made of."""

import struct
import zlib
from collections.abc import Iterator

from deblur.errors import UnreadablePhoto

SIGNATURE = b"\x89PNG\r\n\x1a\n"


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


def check(data: bytes) -> None:
    """Compare all checksums, those of the pixels too, which Pillow passes over.

    Raises:
        UnreadablePhoto: one is wrong, or missing.
    """
    view = memoryview(data)
    for kind, start, end in chunks(data):
        if zlib.crc32(view[start - 4 : end]).to_bytes(4) != data[end : end + 4]:
            name = kind.decode("ascii", "replace")
            raise UnreadablePhoto(f"The PNG is broken: the checksum of its {name!r} is wrong. Send it again.")
