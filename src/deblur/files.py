"""Files as the house handles them: written whole or not at all, known by their sha256, a folder used by one process,
names that can be shown.

A file is written beside its place, flushed to the disk and renamed, so that a kill leaves the old one or the new one.
A file system that lacks one of these calls (a share, a FUSE mount) is used without it: what is written counts.
"""

import atexit
import errno
import hashlib
import json
import logging
import os
import shlex
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from deblur.errors import DataError, DiskFull, FolderInUse

logger = logging.getLogger("deblur.files")

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
NO_SUCH_CALL = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP)
NO_LOCKS = (*NO_SUCH_CALL, errno.ENOLCK)
HELD_OPEN = (errno.EACCES, errno.EPERM, errno.EBUSY)
RENAME_AGAIN_S = (0.05, 0.2, 0.5, 1.0)
LONG_NAME = 20
LOCK_FILE = ".lock"


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """Gives a stream for ``path``'s new content; a kill leaves the old file or the new one, never half of one.

    Raises:
        DiskFull: there is no room; the old file is untouched and the half-written one is gone.
    """
    part = _part_of(path)
    try:
        with told_when_full(path), _blamed_on(path, part):
            with part.open("wb") as stream:
                yield stream
                sync(stream)
            replace(part, path)
            sync_folder(path.parent)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


@contextmanager
def _blamed_on(path: Path, part: Path) -> Iterator[None]:
    """The system's errors name ``path``, which could not be written, and neither ``part`` nor nothing at all."""
    try:
        yield
    except OSError as error:
        if error.errno is not None and error.filename in (None, str(part)):
            error.filename, error.filename2 = str(path), None
        raise


def _part_of(path: Path) -> Path:
    """Where ``path`` is written first: ``NAME.part``, with a hash for a long name, which must not become longer."""
    name = os.fsencode(path.name)
    return path.with_name((hashlib.sha256(name).hexdigest()[:16] if len(name) > LONG_NAME else path.name) + ".part")


def write_whole(path: Path, data: bytes | memoryview) -> None:
    """The same for bytes that are there already."""
    with whole_file(path) as stream:
        stream.write(data)


def write_json(path: Path, values: dict[str, Any]) -> None:
    """The same for values as JSON, a field a line; what JSON does not know is written as words.

    Raises:
        DiskFull: there is no room; the old file is untouched.
    """
    write_whole(path, (json.dumps(values, indent=2, default=str) + "\n").encode("utf-8"))


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


def sync(stream: BinaryIO) -> None:
    """Make what was written last through a power cut, where the file system can."""
    stream.flush()
    try:
        os.fsync(stream.fileno())
    except OSError as error:
        if error.errno not in NO_SUCH_CALL:
            raise


def sync_folder(folder: Path) -> None:
    """Make renames in ``folder`` last through a power cut, where the system can; the files lie there in any case."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def replace(source: Path, target: Path) -> None:
    """Rename over ``target``, which some systems refuse for as long as another program has it open: it is tried again.

    Raises:
        OSError: it cannot be renamed.
    """
    for wait_s in (*RENAME_AGAIN_S, None):
        try:
            os.replace(source, target)
            return
        except OSError as error:
            if wait_s is None or error.errno not in HELD_OPEN or target.is_dir():
                raise
            time.sleep(wait_s)


def sha256_of(path: Path) -> str:
    """Hex digest of the file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def passing_folder(prefix: str) -> Path:
    """A temporary folder that goes when this process ends."""
    folder = Path(tempfile.mkdtemp(prefix=prefix))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


@contextmanager
def sole_user(folder: Path, taken: str, lock_file: str = LOCK_FILE, timeout_s: float = 0) -> Iterator[None]:
    """Hold the lock of a folder that is there; the system gives it back however this process ends.

    A file system without locks is used without one, and the log says so.

    Raises:
        FolderInUse: another process still holds it after ``timeout_s``; the message is ``taken``.
        OSError: the lock cannot be written.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(folder / lock_file, fallback_to_soft=False)
    try:
        lock.acquire(timeout=timeout_s)
    except Timeout as error:
        raise FolderInUse(taken) from error
    except (OSError, NotImplementedError) as error:
        if isinstance(error, OSError) and error.errno not in NO_LOCKS:
            raise
        logger.warning("%s: this file system has no locks. Going on without; let nothing else write there.", folder)
    try:
        yield
    finally:
        lock.release()


@contextmanager
def sole_writer(folder: Path, taken: str, timeout_s: float = 0) -> Iterator[None]:
    """Make a folder if there is none, and hold its lock as :func:`sole_user` does.

    Raises:
        FolderInUse: another process still holds it after ``timeout_s``.
        DataError: it cannot be made, or nothing can be written there.
    """
    with ExitStack() as held:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            held.enter_context(sole_user(folder, taken, timeout_s=timeout_s))
        except OSError as error:
            raise DataError(
                f"{folder} cannot be made a folder to write to ({error.strerror}). Give another."
            ) from error
        yield


def escaped(text: str, keep: str = "") -> str:
    """``text`` with what is no visible character, and not in ``keep``, as its bytes in UTF-8: ``\\x0a``.

    A name's byte that is no UTF-8 comes out as it is on the disk.
    """
    return "".join(c if c.isprintable() or c in keep else _bytes_of(c) for c in text)


def pasteable(path: Path | str) -> str:
    """A path as a shell takes it: quoted where it must be, in ``$'...'`` where it holds what cannot be seen."""
    text = str(path)
    if not text.isprintable():
        inside = text.replace("\\", "\\\\").replace("'", "\\'")
        return f"$'{escaped(inside)}'"
    return subprocess.list2cmdline([text]) if os.name == "nt" else shlex.quote(text)


def _bytes_of(character: str) -> str:
    errors = "surrogateescape" if "\udc80" <= character <= "\udcff" else "surrogatepass"
    return "".join(f"\\x{byte:02x}" for byte in character.encode("utf-8", errors))
