"""Whether two films show the same: one file under two names, or a copy that was encoded again, shrunk or shortened."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from deblur.data.doctor.findings import Finding
from deblur.data.doctor.splits import SAME_BITS
from deblur.data.film import Film


def film_leaks(train: Sequence[Film], validation: Sequence[Film]) -> list[Finding]:
    """An error for each film that validates, or is kept for a promotion, and that training has, too."""
    found = []
    for film in validation:
        for other in train:
            files = (str(film.path), str(other.path))
            if film.content == other.content:
                found.append(Finding("leak_same_file", "error", files, "the same film on both sides"))
            elif (bits := _fewest_bits(film, other)) <= SAME_BITS:
                text = f"both films have a picture that differs in {bits} of 512 bits of a perceptual hash"
                found.append(Finding("leak_scene", "error", files, text, bits, SAME_BITS))
    return found


def _fewest_bits(film: Film, other: Film) -> int:
    own, others = (_signs(each.report["hashes"]) for each in (film, other))
    return int((512 - (own @ others.T).max(initial=-512)) / 2)


def _signs(hashes: Sequence[str]) -> NDArray[np.float32]:
    """``(n, 512)``, +1 or -1."""
    told = np.frombuffer(bytes.fromhex("".join(hashes)), np.uint8).reshape(-1, 64)
    return np.unpackbits(told, axis=1).astype(np.float32) * 2 - 1
