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
    """About a tenth validates and about a tenth is kept for a promotion: at least one scene each, at most a third.

    A scene's own name decides, so that scenes which come later move no earlier one. (With few scenes, where a part
    would be empty or too large, they may.)

    Args:
        scenes: names, at least ``FEWEST`` different ones.
    """
    ordered = sorted(set(scenes), key=_place)
    most = len(ordered) // FEWEST
    validation = [scene for scene in ordered if _place(scene) < 0.1][:most] or ordered[:1]
    others = [scene for scene in ordered if scene not in validation]
    promotion = [scene for scene in others if _place(scene) < 0.2][:most] or others[:1]
    return SceneParts([scene for scene in others if scene not in promotion], validation, promotion)


def _place(scene: str) -> float:
    """Between 0 and 1, by the hash of the name's composed letters: macOS may store them taken apart."""
    name = unicodedata.normalize("NFC", scene).encode("utf-8", "surrogateescape")
    return int(hashlib.sha256(name).hexdigest()[:12], 16) / 16**12
