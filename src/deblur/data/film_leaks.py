"""Whether two films show the same: one file under two names, or a copy that was encoded again, shrunk or shortened."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from deblur.data.doctor.findings import Finding
from deblur.data.doctor.splits import SAME_BITS
from deblur.data.pairs import evenly_chosen

RECORDED = 16
"""Hashes of a film that a run's record keeps, spread over it."""


class FilmMark(NamedTuple):
    """What tells a film, whatever it is called.

    Args:
        path: of the film; of a recorded one its name.
        content: 16 hex digits of its size and ends.
        hashes: perceptual hashes of its pictures, 128 hex digits each.
    """

    path: str
    content: str
    hashes: Sequence[str]

    def as_record(self) -> dict[str, Any]:
        """For JSON, short: what :meth:`of_record` reads."""
        hashes = evenly_chosen(self.hashes, RECORDED)
        return {"name": Path(self.path).name, "content": self.content, "hashes": hashes}

    @classmethod
    def of_record(cls, told: Any) -> "FilmMark":
        """A recorded film; the first records have its content alone."""
        return cls(told, told, ()) if isinstance(told, str) else cls(told["name"], told["content"], told["hashes"])


def film_leaks(train: Sequence[FilmMark], validation: Sequence[FilmMark]) -> list[Finding]:
    """An error for each film that validates, or is kept for a promotion, and that training has, too."""
    return [leak for film in validation for other in train if (leak := _leak(film, other))]


def first_alike(films: Sequence[FilmMark]) -> dict[str, str]:
    """Path -> path of the first film that shows the same, perhaps itself."""
    first = dict[str, str]()
    for i, film in enumerate(films):
        first[film.path] = next((first[other.path] for other in films[:i] if _leak(film, other)), film.path)
    return first


def _leak(film: FilmMark, other: FilmMark) -> Finding | None:
    files = (film.path, other.path)
    if film.content == other.content:
        return Finding("leak_same_file", "error", files, "the same film on both sides")
    bits = int((512 - (_signs(film) @ _signs(other).T).max(initial=-512)) / 2)
    text = f"both films have a picture that differs in {bits} of 512 bits of a perceptual hash"
    return Finding("leak_scene", "error", files, text, bits, SAME_BITS) if bits <= SAME_BITS else None


def _signs(film: FilmMark) -> NDArray[np.float32]:
    """``(n, 512)``, +1 or -1."""
    told = np.frombuffer(bytes.fromhex("".join(film.hashes)), np.uint8).reshape(-1, 64)
    return np.unpackbits(told, axis=1).astype(np.float32) * 2 - 1
