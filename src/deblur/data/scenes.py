"""Scenes: which images show the same place, and which scenes train, validate, or are kept for a promotion.

Frames of one scene are alike, so a scene lies in one part alone. The parts are a function of the scenes' names and of
nothing else: the same folder is split in the same way on every machine, and more files of a scene move nothing.
"""

import hashlib
import re
import unicodedata
from collections.abc import Iterable
from typing import NamedTuple

FEWEST = 3
"""Scenes that can be split: one for each part."""


class SceneParts(NamedTuple):
    """The scenes of each part, no scene in two; in the order of their hashes."""

    training: list[str]
    validation: list[str]
    promotion: list[str]


def scene_of(name: str) -> str:
    """The scene that a pair's name tells: its folder, else the stem without the frame's number (and a mark behind it).

    ``GOPR0410_11_00/000047.png`` -> ``GOPR0410_11_00``, ``REDS027-00000012-avg7.webp`` -> ``REDS027``, ``church.jpg``
    -> ``church``; ``000047.png`` -> "": files that have numbers only are one scene.
    """
    folder, _, file = name.replace("\\", "/").rpartition("/")
    if folder:
        return folder
    stem = file.rsplit(".", 1)[0]
    return re.sub(r"[-_. ]*[A-Za-z]?\d+([-_. ][A-Za-z]+\d+)?$", "", stem)


def split_scenes(scenes: Iterable[str]) -> SceneParts:
    """A tenth validates and a tenth is kept for a promotion, at least one each; the rest trains.

    Args:
        scenes: names, at least ``FEWEST`` different ones.
    """
    ordered = sorted(set(scenes), key=_hash)
    tenth = max(1, round(len(ordered) / 10))
    return SceneParts(ordered[2 * tenth :], ordered[:tenth], ordered[tenth : 2 * tenth])


def _hash(scene: str) -> str:
    """Of the name's composed letters: macOS may store them taken apart."""
    return hashlib.sha256(unicodedata.normalize("NFC", scene).encode("utf-8", "surrogateescape")).hexdigest()
