"""How fast this machine restores, measured on the photos that it restored, and what may be promised by that."""

from collections.abc import Iterator
from contextlib import contextmanager
from math import ceil
from threading import Lock

from deblur.errors import PhotoTooLarge, ServiceBusy

FORGET = 0.9
"""What a photo counts once the next one is measured: the last ten decide."""
SMALL_MEGAPIXELS = 0.2
"""Below, a photo's seconds are hardly its pixels': they say nothing about a large one."""


class Pace:
    """Seconds a megapixel from decoding to encoding of a photo alone, without the wait for a slot."""

    def __init__(self) -> None:
        self._lock, self._megapixels, self._seconds, self._small = Lock(), 0.0, 0.0, True

    def note(self, megapixels: float, seconds: float) -> None:
        """A photo took so long. Small ones count until the first one that is not."""
        small = megapixels < SMALL_MEGAPIXELS
        with self._lock:
            if small and not self._small:
                return
            forget = FORGET if small == self._small else 0.0
            self._small = small
            self._megapixels = forget * self._megapixels + megapixels
            self._seconds = forget * self._seconds + seconds

    @property
    def seconds_per_megapixel(self) -> float | None:
        """None until a photo was measured."""
        with self._lock:
            return self._seconds / self._megapixels if self._megapixels else None

    def seconds(self, megapixels: float) -> float:
        """What a photo will take; 0 while only small ones were measured."""
        return 0.0 if self._small else megapixels * (self.seconds_per_megapixel or 0.0)


class Promised:
    """The work that was taken and is not done. A photo is taken where it will be answered in time.

    Args:
        answer_s: what a client, or the host between, waits for an answer.
        slots: photos that are restored at once.
    """

    def __init__(self, answer_s: float, slots: int = 1) -> None:
        self._answer_s, self._slots, self._ahead_s, self._photos = answer_s, slots, 0.0, 0

    @property
    def sharing(self) -> int:
        """Photos that share the machine now, so that each takes so many times as long as alone; at least 1."""
        return max(1, min(self._photos, self._slots))

    @contextmanager
    def photo(self, megapixels: float, pace: Pace) -> Iterator[None]:
        """Take a photo; inside, it is ahead of others. For one event loop.

        Raises:
            PhotoTooLarge: it takes too long.
            ServiceBusy: it does after those that are ahead of it.
        """
        takes_s = pace.seconds(megapixels)
        if takes_s > self._answer_s:
            raise PhotoTooLarge(
                f"The photo has {megapixels:.1f} megapixels. Here that takes about {takes_s:.0f} s, and an answer must "
                f"come within {self._answer_s:g} s. Send at most {megapixels * self._answer_s / takes_s:.1f} "
                "megapixels, or restore it on the command line, which has no such limit."
            )
        if (over_s := self._ahead_s + takes_s - self._answer_s) > 0:
            raise ServiceBusy(
                f"The photos that are here already take about {self._ahead_s:.0f} s, and with this one longer than the "
                f"{self._answer_s:g} s within which an answer must come. Try again in {ceil(over_s)} s.",
                ceil(over_s),
            )
        self._ahead_s += takes_s
        self._photos += 1
        try:
            yield
        finally:
            self._ahead_s -= takes_s
            self._photos -= 1
