"""Blurry/sharp pairs on disk: ``blur/NAME`` and ``sharp/NAME``, or one such folder a sequence (the GoPro layout)."""

import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar, runtime_checkable

import numpy as np

from deblur.data.folders import PASSED_OVER
from deblur.data.layout import GAMMA, SIDES, Sides, matched, sides_of
from deblur.errors import DataError, PhotoError
from deblur.images import Rgb8, read_rgb8

T = TypeVar("T")
Item = TypeVar("Item", bound="Loadable")


class Loadable(Protocol):
    """A pair or a photo."""

    def load(self) -> object: ...


class Pair(Protocol):
    """A named pair of images of one size; ``load`` gives (blurry, sharp), both ``(H, W, 3)`` uint8."""

    @property
    def name(self) -> str: ...

    def load(self) -> tuple[Rgb8, Rgb8]: ...


@runtime_checkable
class FileImage(Protocol):
    """A named image that is made from files, ``(H, W, 3)`` uint8: a sharp photo, or one of a pair."""

    @property
    def name(self) -> str: ...

    @property
    def files(self) -> tuple[Path, ...]: ...

    @property
    def made(self) -> str:
        """How it is made from the files' pixels, in words; "" where it is the one file's."""
        ...

    def load(self) -> Rgb8: ...


@runtime_checkable
class FilePair(Pair, Protocol):
    """A pair of :class:`FileImage`: (blurry, sharp)."""

    @property
    def images(self) -> tuple[FileImage, FileImage]: ...


@dataclass(frozen=True)
class ImageFile:
    """An image in a file of its own."""

    name: str
    path: Path

    @property
    def files(self) -> tuple[Path, ...]:
        """The one file."""
        return (self.path,)

    @property
    def made(self) -> str:
        """Nothing is done to it."""
        return ""

    def load(self) -> Rgb8:
        """Decode it.

        Raises:
            PhotoError: it is broken; its name is told.
            DataError: it cannot be read.
        """
        try:
            return read_rgb8(self.path)
        except OSError as error:
            raise DataError(f"{self.path} cannot be read ({error.strerror}).") from error


@dataclass(frozen=True)
class PairFiles:
    """A pair in two files."""

    name: str
    blurry: Path
    sharp: Path

    @property
    def images(self) -> tuple[ImageFile, ImageFile]:
        """The two files."""
        return ImageFile(self.name, self.blurry), ImageFile(self.name, self.sharp)

    def load(self) -> tuple[Rgb8, Rgb8]:
        """Decode both.

        Raises:
            PhotoError: one is broken; its name is told.
            DataError: one cannot be read, or their sizes differ.
        """
        blurry, sharp = (image.load() for image in self.images)
        check_one_size(self, blurry, sharp)
        return blurry, sharp


@dataclass(frozen=True)
class TaughtPair:
    """A pair beside which a teacher's answer to the blurry image lies."""

    name: str
    images: tuple[FileImage, FileImage]
    pair: FilePair
    answer: FileImage

    def load(self) -> tuple[Rgb8, Rgb8]:
        """The pair's."""
        return self.pair.load()


@dataclass(frozen=True)
class PairPixels:
    """A pair in memory."""

    name: str
    blurry: Rgb8
    sharp: Rgb8

    def load(self) -> tuple[Rgb8, Rgb8]:
        """The two images."""
        return self.blurry, self.sharp


def check_one_size(pair: FilePair, blurry: Rgb8, sharp: Rgb8) -> None:
    """Refuse a pair of two sizes.

    Raises:
        DataError: it names both images and their sizes.
    """
    if blurry.shape != sharp.shape:
        sizes = " and ".join(f"{s.shape[1]} x {s.shape[0]}" for s in (blurry, sharp))
        paths = " and ".join(str(image.files[0]) for image in pair.images)
        raise DataError(f"{paths} differ in size ({sizes}); a pair must have one size.")


def check_holds_crop(name: str, shape: tuple[int, ...], side_px: int) -> None:
    """Refuse an image ``(H, W, 3)`` that is smaller than a crop.

    Raises:
        DataError: it begins with ``name``.
    """
    height, width = shape[:2]
    if min(height, width) < side_px:
        raise DataError(
            f"{name}: the image is {width} x {height} px, smaller than the crop of {side_px} px (patch_size)."
        )


def find_pairs(folder: Path, blur_gamma: bool = False) -> list[PairFiles]:
    """All pairs under ``folder``, sorted by name.

    Args:
        folder: holds ``blur/`` and ``sharp/`` (or other folders of ``layout.SIDES``), or sequences that do.
        blur_gamma: take GoPro's ``blur_gamma/`` (averaged in linear light) instead of ``blur/``.

    Raises:
        DataError: no such folder, no pairs, a file without its partner, or one that several could be partners of.
    """
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder. Give one that holds blur/ and sharp/.")
    pairs = [pair for sides in sides_of(folder, blur_gamma) for pair in _pairs_of(sides, folder)]
    if not pairs:
        others = ", ".join(f"{blurry}/ and {sharp}/" for blurry, sharp in SIDES[1:])
        raise DataError(
            f"{folder} holds no pairs. Expected {GAMMA if blur_gamma else 'blur'}/NAME and sharp/NAME, or one folder "
            f"a sequence with such folders inside; {others} are read, too. {PASSED_OVER}."
        )
    return pairs


def _pairs_of(sides: Sides, top: Path) -> list[PairFiles]:
    found = matched(sides)
    where = f"{sides.blurry.name}/ and {sides.sharp.name}/"
    if found.unclear:
        told = "; ".join(", ".join(f"{path.parent.name}/{path.name}" for path in group) for group in found.unclear[:5])
        raise DataError(f"{sides.blurry.parent}: it is not clear which of these are partners: {told}. Rename them.")
    if found.alone:
        names = ", ".join(f"{path.parent.name}/{path.name}" for path in found.alone[:5])
        have = "1 file has" if len(found.alone) == 1 else f"{len(found.alone)} files have"
        raise DataError(
            f"{sides.blurry.parent}: {have} no partner of the same name in {where}: {names}"
            f"{' ...' if len(found.alone) > 5 else ''}. Give partners the same name, or remove what is alone."
        )
    return [PairFiles(pair_name(blurry, top), blurry, sharp) for blurry, sharp in found.pairs]


def pair_name(blurry: Path, top: Path) -> str:
    """What a pair under ``top`` is called: ``SEQUENCE/NAME`` of its blurry file."""
    return (blurry.parent.parent / blurry.name).relative_to(top).as_posix()


def evenly_chosen(items: Sequence[T], count: int | None) -> list[T]:
    """``count`` items spread evenly over the sequence, so that every scene has a say; None takes all."""
    if count is None or count >= len(items):
        return list(items)
    return [items[i] for i in np.linspace(0, len(items) - 1, count).round().astype(int)]


def whole(items: Sequence[Item], at_most: int, kind: str, crop_px: int = 0) -> tuple[list[Item], list[str]]:
    """Decode every pair or photo; returns the good ones, and a sentence for each of the others.

    Args:
        items: pairs or photos.
        at_most: how many may be broken.
        kind: what they are, in the plural.
        crop_px: a pair that is smaller counts as broken.

    Raises:
        DataError: more than ``at_most`` are broken; it names them.
    """

    def checked(item: Item) -> Item | str:
        try:
            loaded = item.load()
            if isinstance(item, FilePair) and isinstance(loaded, tuple):
                check_holds_crop(str(item.images[1].files[0]), loaded[1].shape, crop_px)
        except (PhotoError, DataError) as error:
            return str(error)
        return item

    with ThreadPoolExecutor(os.cpu_count()) as pool:  # decoding lets other threads run
        return without_bad(list(pool.map(checked, items)), at_most, kind)


def without_bad(found: Sequence[T | str], at_most: int, kind: str) -> tuple[list[T], list[str]]:
    """Split what was found into the good ones and the sentences that stand for broken ones.

    Args:
        found: pairs or photos, or a sentence in the place of each that is broken.
        at_most: how many may be.
        kind: what they are, in the plural.

    Raises:
        DataError: more than ``at_most`` are broken, or all; it names them.
    """
    good, bad = [x for x in found if not isinstance(x, str)], [x for x in found if isinstance(x, str)]
    if len(bad) > at_most:
        raise DataError(f"{len(bad)} {kind} are broken, {at_most} may be left out (skip_bad): {'; '.join(bad[:20])}")
    if not good:
        raise DataError(f"All {len(bad)} {kind} are broken: {'; '.join(bad[:20])}")
    return good, bad


def fingerprint(items: Sequence[Pair | FileImage]) -> str:
    """16 hex digits that change when a name or a file's bytes do (files: size and first 64 KiB; arrays: every byte).

    What is cached has the fingerprint of the files it was made from.
    """
    digest = hashlib.sha256()
    for item in items:
        digest.update(item.name.encode("utf-8", "surrogateescape"))  # a name need not be Unicode
        if isinstance(item, FilePair | FileImage):
            for image in item.images if isinstance(item, FilePair) else (item,):
                digest.update(image.made.encode() + b"".join(_size_and_start(path) for path in image.files))
        else:
            for pixels in item.load():
                digest.update(pixels.tobytes())
    return digest.hexdigest()[:16]


def _size_and_start(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            return path.stat().st_size.to_bytes(8, "big") + stream.read(65_536)
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}).") from error
