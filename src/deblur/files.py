"""Files as the house handles them: written whole or not at all, known by their sha256, a folder used by one process.

A file is written beside its place, flushed to the disk and renamed, so that a kill leaves the old one or the new one.
"""

import errno
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from deblur.errors import DiskFull, FolderInUse

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
LOCK_FILE = ".lock"


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """Gives a stream for ``path``'s new content; a kill leaves the old file or the new one, never half of one.

    Raises:
        DiskFull: there is no room; the old file is untouched and the half-written one is gone.
    """
    part = path.with_name(path.name + ".part")
    try:
        with told_when_full(path):
            with part.open("wb") as stream:
                yield stream
                stream.flush()
                os.fsync(stream.fileno())
            os.replace(part, path)
            sync_folder(path.parent)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def write_json(path: Path, values: dict[str, Any]) -> None:
    """The same for values as JSON, a field a line; what JSON does not know is written as words.

    Raises:
        DiskFull: there is no room; the old file is untouched.
    """
    with whole_file(path) as stream:
        stream.write((json.dumps(values, indent=2, default=str) + "\n").encode("utf-8"))


@contextmanager
def told_when_full(path: Path) -> Iterator[None]:
    """Turns the system's "no space left" into a sentence that names ``path``."""
    try:
        yield
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        raise DiskFull(
            f"{path} cannot be written: {os.strerror(error.errno or 0)}. Nothing that was there is lost; make room and "
            "give the same command again."
        ) from error


def sync_folder(folder: Path) -> None:
    """Make renames in ``folder`` last through a power cut (Windows has no such call and needs none)."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sha256_of(path: Path) -> str:
    """Hex digest of the file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@contextmanager
def sole_user(folder: Path, taken: str) -> Iterator[None]:
    """Hold the lock of a folder that is there; the system gives it back however this process ends.

    Raises:
        FolderInUse: another process holds it; the message is ``taken``.
        OSError: the lock cannot be written.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(folder / LOCK_FILE)
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise FolderInUse(taken) from error
    try:
        yield
    finally:
        lock.release()
