"""How fast this machine restores, measured on the photos that it restored."""

from threading import Lock

FORGET = 0.9
"""What a photo counts once the next one is measured: the last ten decide."""


class Pace:
    """Seconds a megapixel from decoding to encoding, without the wait for a slot."""

    def __init__(self) -> None:
        self._lock, self._megapixels, self._seconds = Lock(), 0.0, 0.0

    def note(self, megapixels: float, seconds: float) -> None:
        """A photo took so long."""
        with self._lock:
            self._megapixels = FORGET * self._megapixels + megapixels
            self._seconds = FORGET * self._seconds + seconds

    @property
    def seconds_per_megapixel(self) -> float | None:
        """None until a photo was measured."""
        with self._lock:
            return self._seconds / self._megapixels if self._megapixels else None
