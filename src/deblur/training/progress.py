"""What a run tells whoever watches it."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """Does nothing by default.

    Args:
        on_start: told how many crops the run will see.
        on_images: told how many were just seen.
        on_line: told lines for people.
        on_epoch: told that an epoch is recorded.
        on_work: told what else takes time, in words, how many parts of it are done, none at first, and of how many.
    """

    on_start: Callable[[int], None] = lambda images: None
    on_images: Callable[[int], None] = lambda images: None
    on_line: Callable[[str], None] = lambda line: None
    on_epoch: Callable[[], None] = lambda: None
    on_work: Callable[[str, int, int], None] = lambda words, done, total: None
