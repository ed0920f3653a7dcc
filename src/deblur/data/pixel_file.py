"""Files of plain pixels, (H, W, 3) uint8 with an ``.npy`` header, written whole and read as maps."""

import mmap
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import numpy as np

from deblur.images import Rgb8

OPEN_MAPS = 128
"""Maps that a process keeps open, the last used; each holds a file handle, of which macOS gives 256."""
HEADER_BYTES = 128
"""Of an ``.npy`` file with a picture's shape."""


def write_pixels(stream: BinaryIO, pixels: Rgb8) -> None:
    """Write contiguous pixels as ``np.save`` does, which would report a full disk without its error number."""
    np.lib.format.write_array_header_1_0(stream, np.lib.format.header_data_from_array_1_0(pixels))
    stream.write(pixels.data)


def open_pixels(path: Path) -> Rgb8:
    """A map of a file that :func:`write_pixels` wrote, whole; anything else is a ValueError.

    ``np.load`` would map it, too, in five times the time, and take a file that is too long.
    """
    with path.open("rb", buffering=0) as stream:
        bytes_ = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
    shape = _shape_in(bytes_[:HEADER_BYTES])
    return np.frombuffer(bytes_, np.uint8, offset=HEADER_BYTES).reshape(shape)  # refuses any other number of bytes


@lru_cache(maxsize=64)
def _shape_in(header: bytes) -> tuple[int, int, int]:
    stream = BytesIO(header)
    np.lib.format.read_magic(stream)
    shape, fortran, dtype = np.lib.format.read_array_header_1_0(stream)
    if len(shape) != 3 or shape[2] != 3 or fortran or dtype != np.uint8 or stream.tell() != HEADER_BYTES:
        raise ValueError("not the header of (H, W, 3) uint8 pixels")
    return shape


mapped = lru_cache(maxsize=OPEN_MAPS)(open_pixels)
"""The same, kept open."""


def is_whole(path: Path) -> bool:
    """Whether :func:`open_pixels` opens the file."""
    try:
        open_pixels(path)
    except (OSError, ValueError):
        return False
    return True
