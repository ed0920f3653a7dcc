"""How pairs lie on disk: which two folders hold them, and which two files are partners."""

import unicodedata
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from deblur.data.folders import folders_of, images_in
from deblur.errors import DataError

SIDES = (("blur", "sharp"), ("input", "target"), ("blurry", "sharp"), ("blurred", "sharp"), ("lq", "gt"))
"""Names of the two folders, (blurry, sharp)."""
GAMMA = "blur_gamma"
SEPARATORS = "_-. "
TRIED = 5
"""Names from which the marks of the two sides are guessed."""


@dataclass(frozen=True)
class Sides:
    """Two folders whose files are partners."""

    blurry: Path
    sharp: Path


@dataclass(frozen=True)
class Matched:
    """``pairs`` (blurry, sharp) sorted by the blurry one, files that are ``alone``, and groups that are ``unclear``."""

    pairs: list[tuple[Path, Path]]
    alone: list[Path]
    unclear: list[list[Path]]


def sides_of(folder: Path, blur_gamma: bool = False, lonely: Sequence[str] = ("blur",)) -> list[Sides]:
    """The folders of pairs in ``folder``, else in the folders in it, sorted.

    Args:
        folder: holds two folders of :data:`SIDES`, or sequences that do.
        blur_gamma: take GoPro's ``blur_gamma/`` (averaged in linear light) as the blurry side.
        lonely: folders that tell pairs even where the other side is missing.

    Raises:
        DataError: folders for more than one kind of pairs lie beside each other; it names them.
    """
    if blur_gamma:
        lonely = [GAMMA if name == "blur" else name for name in lonely]
    flat = _sides_in(folder, blur_gamma, lonely)
    if flat:
        return [flat]
    places = (place for place in folders_of(folder, below=False) if place != folder)
    return [sides for place in places if (sides := _sides_in(place, blur_gamma, lonely))]


def sides_below(top: Path) -> list[Sides]:
    """The folders of pairs in ``top`` and wherever below it, with ``blur_gamma/``, too; raises as :func:`sides_of`."""
    places = folders_of(top)
    found = [_sides_in(place, name == GAMMA, (name,)) for place in places for name in ("blur", GAMMA)]
    return [sides for sides in found if sides]


def matched(sides: Sides) -> Matched:
    """Partners have the same name; failing that, the same to the eye (composed or decomposed letters), another suffix
    or, where no name has a partner, one suffix or prefix that marks each side (``1_blur.png`` and ``1_sharp.png``).
    """
    left, right = images_in(sides.blurry), images_in(sides.sharp)
    pairs, unclear = list[tuple[Path, Path]](), list[list[Path]]()
    for key in (lambda path: path.name, lambda path: _composed(path.name), shown_stem):
        of_left, of_right = _grouped(left, key), _grouped(right, key)
        for shared in of_left.keys() & of_right.keys():
            group = (*of_left[shared], *of_right[shared])
            if len(group) == 2:
                pairs.append((group[0], group[1]))
            else:
                unclear.append(sorted(group))
        used = {path for group in (*pairs, *unclear) for path in group}
        left, right = ([path for path in side if path not in used] for side in (left, right))
    if not pairs and not unclear and left and right:
        pairs = _marked(left, right)
        used = {path for pair in pairs for path in pair}
        left, right = ([path for path in side if path not in used] for side in (left, right))
    return Matched(sorted(pairs), sorted([*left, *right], key=lambda path: path.name), sorted(unclear))


def shown_stem(path: Path) -> str:
    """A file's name without its suffix, letters composed: what the eye compares."""
    return _composed(path.stem)


def _sides_in(place: Path, blur_gamma: bool, lonely: Sequence[str]) -> Sides | None:
    names = ((GAMMA, "sharp"),) if blur_gamma else SIDES
    there = [both for both in names if all((place / name).is_dir() for name in both)]
    if len(there) > 1:
        told = ", ".join(f"{blurry}/ with {sharp}/" for blurry, sharp in there)
        raise DataError(f"{place} holds pairs in more than one way: {told}. Keep one of them there, move the others.")
    if not there and any((place / name).is_dir() for name in lonely):
        there = [names[0]]
    return Sides(place / there[0][0], place / there[0][1]) if there else None


def _composed(text: str) -> str:
    return unicodedata.normalize("NFC", text)


def _grouped(paths: Sequence[Path], key: Callable[[Path], str]) -> dict[str, list[Path]]:
    groups = defaultdict[str, list[Path]](list)
    for path in paths:
        groups[key(path)].append(path)
    return groups


def _marked(left: Sequence[Path], right: Sequence[Path]) -> list[tuple[Path, Path]]:
    """Partners by one mark for each side; none where no mark, or more than one, explains the names."""
    found = set[tuple[tuple[Path, Path], ...]]()
    for step in (1, -1):  # suffixes; and prefixes, with all names turned round
        lefts, rights = ({shown_stem(path)[::step]: path for path in side} for side in (left, right))
        for own, other in {_marks(a, b) for a in list(lefts)[:TRIED] for b in rights} - {("", "")}:
            if all(a.endswith(own) for a in lefts) and all(b.endswith(other) for b in rights):
                wanted = {path: a.removesuffix(own) + other for a, path in lefts.items()}
                found.add(tuple((path, rights[name]) for path, name in wanted.items() if name in rights))
    most = max(map(len, found), default=0)
    best = [pairs for pairs in found if len(pairs) == most]
    return list(best[0]) if len(best) == 1 else []


def _marks(own: str, other: str) -> tuple[str, str]:
    """How two names end after all that they share, from a separator on; ``("", "")`` where that cannot be a mark."""
    shared = zip(own, other, strict=False)
    at = next((i for i, (a, b) in enumerate(shared) if a != b), min(len(own), len(other)))
    while at and any(end and end[0] not in SEPARATORS for end in (own[at:], other[at:])):
        at -= 1
    ends = own[at:], other[at:]
    return ends if at and not any(c.isdigit() for c in "".join(ends)) else ("", "")


def sides_in_names(paths: Sequence[Path]) -> tuple[Path, Path] | None:
    """The first (blurry, sharp) of one folder whose names differ by words of :data:`SIDES` only, such as ``1_blur.png``
    and ``1_sharp.png``."""
    by_place = {(path.parent, shown_stem(path).lower()): path for path in paths}
    for (folder, stem), path in by_place.items():
        for (blurry, sharp), mark in product(SIDES, SEPARATORS):
            suffixed, prefixed = stem.removesuffix(mark + blurry), stem.removeprefix(blurry + mark)
            for rest, name in ((suffixed, suffixed + mark + sharp), (prefixed, sharp + mark + prefixed)):
                if rest != stem and (folder, name) in by_place:
                    return path, by_place[folder, name]
    return None
