"""The decoded cache: every image decoded once into a file of plain pixels, from which a crop reads only its own rows.

Decoding 1280 x 720 px for one crop takes tens of milliseconds; from a memory-mapped ``.npy`` file a crop takes a
fraction of one. A file is named by its content: a hash of the source files' bytes, of what was done with them, and of
the decoder. So a changed source has another file, equal images share one, and any number of builders may fill the same
folder at once: each takes what is missing in an order of its own, looks again before it decodes, writes beside and
renames, and what two of them write is the same.

    KEY.npy       the pixels, (H, W, 3) uint8
    index.json    path -> size, time of change, hash: files that did not change are not hashed again
    parts/        what is being written; what a killed builder left there goes after an hour

The folder may be deleted whenever no training reads from it.
"""

import hashlib
import shutil
import time
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import PIL
from PIL import Image

from deblur.data.hashes import Hashes
from deblur.data.pairs import FileImage, FilePair, check_holds_crop, check_one_size, without_bad
from deblur.data.parallel import OnProgress, in_parallel
from deblur.data.pixel_file import HEADER_BYTES, is_whole, mapped, open_pixels, write_pixels
from deblur.errors import DataError, DiskFull, PhotoError, SettingError
from deblur.files import replace, whole_file
from deblur.images import OPENED, Rgb8, quiet

DECODER = f"1 Pillow {PIL.__version__}"
"""Part of every key: pixels may change with the decoder."""

INDEX, PARTS = "index.json", "parts"
STALE_S = 3600.0
BLOCK = 4096


@dataclass(frozen=True)
class CachedImage:
    """An image in the cache, with its source's name, files and making; only paths travel to loader processes."""

    path: Path
    name: str
    files: tuple[Path, ...]
    made: str

    def load(self) -> Rgb8:
        """The pixels, ``(H, W, 3)`` uint8, a read-only memory map.

        Raises:
            DataError: the cache's file is damaged or gone.
        """
        try:
            return mapped(self.path)
        except (OSError, ValueError) as error:
            raise DataError(
                f"{self.path} in the decoded cache is damaged or gone. Give the same command again: it is made anew."
            ) from error


@dataclass(frozen=True)
class CachedPair:
    """A pair in the cache."""

    name: str
    images: tuple[CachedImage, CachedImage]

    def load(self) -> tuple[Rgb8, Rgb8]:
        """(blurry, sharp), read-only memory maps."""
        blurry, sharp = self.images
        return blurry.load(), sharp.load()


def cached(
    pairs: Sequence[FilePair],
    folder: Path,
    on_progress: OnProgress | None = None,
    at_most: int = 0,
    crop_px: int = 0,
) -> tuple[list[CachedPair], list[str]]:
    """Every pair's images in the cache, those that are not there decoded now.

    What was built before a kill is kept: the same call goes on.

    Args:
        pairs: pairs in files or of frames.
        folder: the cache; made if it is not there, and may be shared by any number of sets and processes.
        on_progress: told how far it is.
        at_most: how many broken pairs may be left out.
        crop_px: a pair that is smaller counts as broken.

    Returns:
        the whole pairs, and a sentence for each of the others, as :func:`deblur.data.pairs.whole`.

    Raises:
        DiskFull: there is no room for what is missing, told before anything is decoded.
        DataError: more than ``at_most`` pairs are broken; it names them.
    """
    made = iter(_in_cache([image for pair in pairs for image in pair.images], folder, on_progress))
    found = [_paired(pair, next(made), next(made), crop_px) for pair in pairs]
    return without_bad(found, at_most, "pairs")


def cached_photos(
    photos: Sequence[FileImage], folder: Path, on_progress: OnProgress | None = None, at_most: int = 0
) -> tuple[list[CachedImage], list[str]]:
    """Every photo in the cache; arguments, result and errors as of :func:`cached`."""
    return without_bad(_in_cache(photos, folder, on_progress), at_most, "photos")


def disk_bytes(images: Iterable[CachedImage]) -> int:
    """What the images take in the cache; those that share a file count once."""
    return sum(path.stat().st_size for path in {image.path for image in images})


def _paired(pair: FilePair, blurry: CachedImage | str, sharp: CachedImage | str, crop_px: int) -> CachedPair | str:
    if isinstance(blurry, str):
        return blurry
    if isinstance(sharp, str):
        return sharp
    try:
        pixels = open_pixels(sharp.path)
        check_one_size(pair, open_pixels(blurry.path), pixels)
        check_holds_crop(str(sharp.files[0]), pixels.shape, crop_px)
    except DataError as error:
        return str(error)
    return CachedPair(pair.name, (blurry, sharp))


def _in_cache(images: Sequence[FileImage], folder: Path, on_progress: OnProgress | None) -> list[CachedImage | str]:
    """Each image in the cache, or a sentence why it cannot be."""
    tell = on_progress or (lambda what, done, total: None)
    _prepare(folder)
    hashes = Hashes(folder / INDEX, folder / PARTS)
    troubles = hashes.add({file for image in images for file in image.files}, tell)
    keys: list[str | None] = [
        None if any(file in troubles for file in image.files) else _key(image, hashes) for image in images
    ]
    missing = {
        key: image
        for key, image in zip(keys, images, strict=True)
        if key is not None and not is_whole(folder / f"{key}.npy")
    }
    if missing:
        _check_room(folder, missing.values())
        broken = _build(missing, folder, hashes, tell)
        mapped.cache_clear()  # a damaged file's map would outlive it
    else:
        broken = {}

    def of(image: FileImage, key: str | None) -> CachedImage | str:
        if key is None:
            return next(troubles[file] for file in image.files if file in troubles)
        return broken.get(key) or CachedImage(folder / f"{key}.npy", image.name, image.files, image.made)

    return [of(image, key) for image, key in zip(images, keys, strict=True)]


def _key(image: FileImage, hashes: Hashes) -> str:
    words = [DECODER, image.made, *(hashes.of[file] for file in image.files)]
    return hashlib.sha256("\n".join(words).encode()).hexdigest()[:32]


def _build(missing: dict[str, FileImage], folder: Path, hashes: Hashes, tell: OnProgress) -> dict[str, str]:
    """Decode and write; returns a sentence for each key whose image is broken."""

    def build(key: str) -> None:
        path = folder / f"{key}.npy"
        if is_whole(path):  # another builder was faster
            return
        image = missing[key]
        pixels = np.ascontiguousarray(image.load())
        for file in image.files:
            hashes.check_unchanged(file)
        part = folder / PARTS / f"{uuid.uuid4().hex}.npy"
        with whole_file(part) as stream:
            write_pixels(stream, pixels)
        replace(part, path)

    keys, broken = list(missing), {}
    order = [keys[i] for i in np.random.default_rng().permutation(len(keys))]  # so that two builders share the work
    for done, (key, future) in enumerate(in_parallel(build, order), 1):
        try:
            future.result()
        except (PhotoError, DataError) as error:
            broken[key] = str(error)
        tell("decoded", done, len(order))
    return broken


def _check_room(folder: Path, images: Iterable[FileImage]) -> None:
    """Refuse to begin what the disk cannot hold; sizes are from the files' headers."""
    firsts = [image.files[0] for image in images]
    needed = sum(future.result() for _, future in in_parallel(pixel_bytes, firsts))
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise DiskFull(
            f"The decoded cache in {folder} needs {needed / 1e9:.2f} GB more, and {free / 1e9:.2f} GB are free. Make "
            "room, choose a folder on another disk, or go without the cache: every sample is decoded then."
        )


def pixel_bytes(file: Path) -> int:
    """What the file takes decoded, in whole blocks; 0 if it is no image, which decoding will say better."""
    try:
        with quiet(), Image.open(file, formats=OPENED) as image:
            width, height = image.size
    except Exception:  # as many kinds as there are decoders
        return 0
    return -(-(width * height * 3 + HEADER_BYTES) // BLOCK) * BLOCK


def _prepare(folder: Path) -> None:
    """Make the folder, and remove what killed builders left there; no live one takes an hour for an image."""
    try:
        (folder / PARTS).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SettingError(
            f"{folder} cannot hold the decoded cache ({error.strerror}). Choose another folder."
        ) from error
    for part in (folder / PARTS).iterdir():
        try:
            if time.time() - part.stat().st_mtime > STALE_S:
                part.unlink()
        except OSError:
            pass  # its builder renamed it just now
