"""Scenes: which images show the same place, and which scenes train, validate, or are kept for a promotion.

Frames of one scene are alike, so a scene lies in one part alone. The parts are a function of the scenes' names and of
nothing else: the same folder is split in the same way on every machine, and more files of a scene move nothing.
"""

import csv
import hashlib
import io
import re
import unicodedata
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from deblur.errors import DataError
from deblur.files import write_whole

SCENES_FILE = "scenes.csv"
"""In a folder of pairs: the scene of each, where names do not tell it."""
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
    return re.sub(r"([-_. ]+[A-Za-z]?)?\d+([-_. ][A-Za-z]+\d+)?$", "", stem)


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


def read_scenes(file: Path) -> dict[str, str]:
    """A table of ``NAME,SCENE`` lines; a first line ``name,scene`` is a heading.

    Raises:
        DataError: it cannot be read, or is no such table.
    """
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            rows = [row for row in csv.reader(stream) if row]
    except (OSError, ValueError, csv.Error) as error:
        raise DataError(f"{file} cannot be read as a table of scenes ({error}). Give lines of NAME,SCENE.") from error
    wrong = next((row for row in rows if len(row) != 2), None)
    if wrong:
        raise DataError(f"{file} has a line {','.join(wrong)!r}; give lines of NAME,SCENE.")
    return {name.strip(): scene.strip() for name, scene in rows}


def scenes_of(folder: Path, names: Iterable[str]) -> dict[str, str]:
    """Name -> scene, of pairs under ``folder``: as the table in it says, else as the names tell.

    Raises:
        DataError: there is a table, and it lacks a name.
    """
    if not (folder / SCENES_FILE).is_file():
        return {name: scene_of(name) for name in names}
    return looked_up(read_scenes(folder / SCENES_FILE), names)


def looked_up(table: Mapping[str, str], names: Iterable[str]) -> dict[str, str]:
    """Name -> scene, from a table.

    Raises:
        DataError: it lacks a name.
    """
    wanted = list(names)
    missing = [name for name in wanted if name not in table]
    if missing:
        raise DataError(
            f"The table of scenes lacks {len(missing)} of {len(wanted)} images, such as {missing[0]}. Give each image "
            "a line: NAME,SCENE."
        )
    return {name: table[name] for name in wanted}


def write_scenes(folder: Path, scenes: Mapping[str, str]) -> None:
    """The table of a folder's pairs."""
    lines = io.StringIO()
    csv.writer(lines, lineterminator="\n").writerows([("name", "scene"), *scenes.items()])
    write_whole(folder / SCENES_FILE, lines.getvalue().encode())
