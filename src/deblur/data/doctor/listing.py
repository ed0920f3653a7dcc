"""Which files belong to a set: as ``find_pairs`` finds them, but what has no partner is listed, not refused."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from deblur.data.doctor.findings import Finding
from deblur.data.pairs import ImageFile, PairFiles
from deblur.errors import DataError
from deblur.images import image_files

NOT_READ = (".gif", ".heic", ".heif", ".avif", ".jxl", ".jp2", ".exr", ".dng", ".cr2", ".nef", ".arw", ".raw")


@dataclass(frozen=True)
class Item:
    """A pair, ``files`` (blurry, sharp), or a sharp photo, ``files`` (photo,)."""

    name: str
    files: tuple[Path, ...]

    @property
    def sharp(self) -> Path:
        return self.files[-1]

    @property
    def is_pair(self) -> bool:
        return len(self.files) == 2


def items_of(found: Sequence[PairFiles | ImageFile]) -> list[Item]:
    """Pairs and photos that were found already."""
    return [
        Item(item.name, (item.path,) if isinstance(item, ImageFile) else (item.blurry, item.sharp)) for item in found
    ]


def listed(folder: Path, blur_gamma: bool = False) -> tuple[list[Item], list[Finding]]:
    """The pairs under ``folder`` (flat or GoPro layout), else the photos in it and below, and what is wrong with names.

    Raises:
        DataError: no such folder, or neither pairs nor photos in it.
    """
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder. Give one that holds blur/ and sharp/, or photos.")
    blur_name = "blur_gamma" if blur_gamma else "blur"
    kinds = (blur_name, "sharp")
    flat = any((folder / kind).is_dir() for kind in kinds)
    roots = [folder] if flat else sorted({path.parent for kind in kinds for path in folder.glob(f"*/{kind}")})
    items, findings = [], []
    for root in roots:
        of_root, lonely = _pairs_of(root, folder, kinds)
        items += of_root
        findings += lonely + [found for kind in kinds for found in _not_read(root / kind)]
    if not roots:
        photos = image_files(folder, below=True)
        items = [Item(path.relative_to(folder).as_posix(), (path,)) for path in photos]
        findings = _not_read(folder)
    if not items and not findings:
        raise DataError(f"{folder} holds neither pairs ({blur_name}/NAME and sharp/NAME) nor photos.")
    return items, findings


def _pairs_of(root: Path, top: Path, kinds: tuple[str, str]) -> tuple[list[Item], list[Finding]]:
    blurry, sharp = ({path.name: path for path in image_files(root / kind)} for kind in kinds)
    both = [name for name in blurry if name in sharp]
    items = [Item((root / name).relative_to(top).as_posix(), (blurry[name], sharp[name])) for name in both]
    lonely = []
    for own, other, where in ((blurry, sharp, kinds[1]), (sharp, blurry, kinds[0])):
        stems = {Path(name).stem: name for name in other}
        for name in own.keys() - other.keys():
            like = f"; {stems[Path(name).stem]} is there" if Path(name).stem in stems else ""
            lonely.append(Finding("unpaired", "error", (str(own[name]),), f"{name} is not in {where}/{like}"))
    return items, sorted(lonely, key=lambda finding: finding.files)


def _not_read(folder: Path) -> list[Finding]:
    return [
        Finding("not_read", "note", (str(path),), f"{path.suffix} is not read")
        for path in sorted(folder.glob("*"))
        if path.suffix.lower() in NOT_READ
    ]
