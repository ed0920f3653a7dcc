"""Which files belong to a set: as ``find_pairs`` finds them, but what has no partner is listed, not refused."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from deblur.data.doctor.findings import Finding
from deblur.data.folders import PASSED_OVER, images_below
from deblur.data.frames import FramePair
from deblur.data.layout import Sides, matched, shown_stem, sides_of
from deblur.data.pairs import ImageFile, PairFiles, pair_name
from deblur.data.saved import law_of
from deblur.errors import DataError
from deblur.synthesis.kernels import SYNTHESIS

NOT_READ = (".gif", ".heic", ".heif", ".avif", ".jxl", ".jp2", ".exr", ".dng", ".cr2", ".nef", ".arw", ".raw")


@dataclass(frozen=True)
class Item:
    """A pair, ``files`` (blurry, sharp), or a sharp photo, ``files`` (photo,); ``frames`` that are averaged with it."""

    name: str
    files: tuple[Path, ...]
    frames: tuple[Path, ...] = ()

    @property
    def sharp(self) -> Path:
        return self.files[-1]

    @property
    def is_pair(self) -> bool:
        return len(self.files) == 2


def items_of(found: Sequence[PairFiles | FramePair | ImageFile]) -> list[Item]:
    """Pairs and photos that were found already; of averaged frames the sharp one."""

    def item_of(each: PairFiles | FramePair | ImageFile) -> Item:
        if isinstance(each, PairFiles):
            return Item(each.name, (each.blurry, each.sharp))
        if isinstance(each, ImageFile):
            return Item(each.name, (each.path,))
        return Item(each.name, each.images[1].files, each.frames)

    return [item_of(each) for each in found]


def listed(folder: Path, blur_gamma: bool = False) -> tuple[list[Item], list[Finding]]:
    """The pairs under ``folder`` (flat or GoPro layout), else the photos in it and below, and what is wrong with names.

    Raises:
        DataError: no such folder, or neither pairs nor photos in it.
    """
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder. Give one that holds blur/ and sharp/, or photos.")
    items, findings = list[Item](), list[Finding]()
    found = sides_of(folder, blur_gamma, lonely=("blur", "sharp"))
    for sides in found:
        of_sides, troubles = _pairs_of(sides, folder)
        items += of_sides
        findings += troubles + _not_read(sides.blurry) + _not_read(sides.sharp)
    if not found:
        items = [Item(path.relative_to(folder).as_posix(), (path,)) for path in images_below(folder)]
        findings = _not_read(folder)
    if not items and not findings:
        raise DataError(f"{folder} holds neither pairs (blur/NAME and sharp/NAME) nor photos. {PASSED_OVER}.")
    return items, findings


def assumed_partners(items: Sequence[Item]) -> list[Finding]:
    """That partners were found by marks in their names, which may be wrong."""
    differ = [item for item in items if item.is_pair and len({shown_stem(path) for path in item.files}) > 1]
    if not differ:
        return []
    blurry, sharp = (path.name for path in differ[0].files)
    text = f"{len(differ)} pairs whose names differ, such as {blurry} and {sharp}"
    return [Finding("assumed_partners", "note", tuple(str(path) for path in differ[0].files), text)]


def other_law(items: Sequence[Item]) -> list[Finding]:
    """Saved sets whose blur was drawn by another law than today's."""
    folders = {item.files[0].parent.parent for item in items if item.is_pair}
    laws = {folder: law_of(folder) for folder in sorted(folders)}
    return [
        Finding("older_synthesis", "note", (str(folder),), f"its blur was drawn by law {law}; today's is {SYNTHESIS}")
        for folder, law in laws.items()
        if law not in (None, SYNTHESIS)
    ]


def _pairs_of(sides: Sides, top: Path) -> tuple[list[Item], list[Finding]]:
    found = matched(sides)
    items = [Item(pair_name(pair[0], top), pair) for pair in found.pairs]
    troubles = []
    for path in found.alone:
        other = sides.sharp if path.parent == sides.blurry else sides.blurry
        troubles.append(Finding("unpaired", "error", (str(path),), f"{path.name} has no partner in {other.name}/"))
    for group in found.unclear:
        troubles.append(Finding("unpaired", "error", tuple(map(str, group)), "it is not clear which are partners"))
    return items, sorted(troubles, key=lambda finding: finding.files)


def _not_read(folder: Path) -> list[Finding]:
    return [
        Finding("not_read", "note", (str(path),), f"{path.suffix} is not read")
        for path in sorted(folder.glob("*"))
        if path.suffix.lower() in NOT_READ
    ]
