"""Many files at once, in threads, and whom to tell how far it is."""

import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
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
        yield from as_done(lambda item: pool.submit(work, item), items, 4 * (os.cpu_count() or 1))
    finally:
        pool.shutdown(cancel_futures=True)


def as_done(submit: Callable[[T], Future[R]], items: Iterable[T], under_way: int) -> Iterator[tuple[T, Future[R]]]:
    """Each item with its finished future, as they come; no more than ``under_way`` are submitted and not done."""
    waiting, running = iter(items), dict[Future[R], T]()
    while True:
        for item in itertools.islice(waiting, under_way - len(running)):
            running[submit(item)] = item
        if not running:
            return
        for future in wait(running, return_when=FIRST_COMPLETED).done:
            yield running.pop(future), future
