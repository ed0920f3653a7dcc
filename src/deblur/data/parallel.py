"""Many files at once, in threads, and whom to tell how far it is."""

import itertools
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

OnProgress = Callable[[str, int, int], None]
"""Called with what is done ("hashed" or "decoded"), how many files or images are, and of how many."""


def in_parallel(work: Callable[[T], R], items: Sequence[T]) -> Iterable[tuple[T, Future[R]]]:
    """Each item with its finished future, as they come; decoding and hashing let other threads run."""
    pool = ThreadPoolExecutor(os.cpu_count())
    try:
        waiting = iter(items)
        running: dict[Future[R], T] = {}
        while True:
            for item in itertools.islice(waiting, 4 * (os.cpu_count() or 1) - len(running)):
                running[pool.submit(work, item)] = item
            if not running:
                return
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                yield running.pop(future), future
    finally:
        pool.shutdown(cancel_futures=True)
