"""One process at a time in a folder: a lock that the system gives back however the process ends."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deblur.errors import FolderInUse

LOCK_FILE = ".lock"


@contextmanager
def sole_user(folder: Path, taken: str) -> Iterator[None]:
    """Hold the lock of a folder that is there.

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
