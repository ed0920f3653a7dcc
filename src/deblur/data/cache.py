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
import itertools
import json
import mmap
import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import numpy as np
import PIL
from PIL import Image

from deblur.data.pairs import FileImage, FilePair, check_one_size, without_bad
from deblur.errors import DataError, DiskFull, PhotoError, SettingError
from deblur.images import OPENED, Rgb8
from deblur.whole_file import whole_file

T = TypeVar("T")
R = TypeVar("R")

OnProgress = Callable[[str, int, int], None]
"""Called with what is done ("hashed" or "decoded"), how many files or images are, and of how many."""

DECODER = f"1 Pillow {PIL.__version__}"
"""Part of every key: pixels may change with the decoder."""

INDEX, PARTS = "index.json", "parts"
OPEN_MAPS = 128
"""Maps that a process keeps open, the last used; each holds a file handle, of which macOS gives 256."""
SAVE_INDEX_S = 30.0
YOUNG_NS = 2_000_000_000
"""A file that changed less than this before it was hashed may change again without its time telling."""
STALE_S = 3600.0
BLOCK = 4096
HEADER_BYTES = 128
"""Of an ``.npy`` file with a picture's shape."""

FileState = tuple[int, int]
"""A file's size and time of change, ns."""


@dataclass(frozen=True)
class CachedImage:
    """An image in the cache. Holds paths only, so it travels to loader processes."""

    path: Path
    source: FileImage

    @property
    def name(self) -> str:
        """As the source is called."""
        return self.source.name

    @property
    def files(self) -> tuple[Path, ...]:
        """The source's files."""
        return self.source.files

    @property
    def made(self) -> str:
        """How the source is made."""
        return self.source.made

    def load(self) -> Rgb8:
        """The pixels, ``(H, W, 3)`` uint8, a read-only memory map.

        Raises:
            DataError: the cache's file is damaged or gone.
        """
        try:
            return _mapped(self.path)
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
    pairs: Sequence[FilePair], folder: Path, on_progress: OnProgress | None = None, at_most: int = 0
) -> tuple[list[CachedPair], list[str]]:
    """Every pair's images in the cache, those that are not there decoded now.

    What was built before a kill is kept: the same call goes on.

    Args:
        pairs: pairs in files or of frames.
        folder: the cache; made if it is not there, and may be shared by any number of sets and processes.
        on_progress: told how far it is.
        at_most: how many broken pairs may be left out.

    Returns:
        the whole pairs, and a sentence for each of the others, as :func:`deblur.data.pairs.whole`.

    Raises:
        DiskFull: there is no room for what is missing, told before anything is decoded.
        DataError: more than ``at_most`` pairs are broken; it names them.
    """
    made = iter(_in_cache([image for pair in pairs for image in pair.images], folder, on_progress))
    found = [_paired(pair, next(made), next(made)) for pair in pairs]
    return without_bad(found, at_most, "pairs")


def cached_photos(
    photos: Sequence[FileImage], folder: Path, on_progress: OnProgress | None = None, at_most: int = 0
) -> tuple[list[CachedImage], list[str]]:
    """Every photo in the cache; arguments, result and errors as of :func:`cached`."""
    return without_bad(_in_cache(photos, folder, on_progress), at_most, "photos")


def disk_bytes(images: Iterable[CachedImage]) -> int:
    """What the images take in the cache; those that share a file count once."""
    return sum(path.stat().st_size for path in {image.path for image in images})


def _paired(pair: FilePair, blurry: CachedImage | str, sharp: CachedImage | str) -> CachedPair | str:
    if isinstance(blurry, str):
        return blurry
    if isinstance(sharp, str):
        return sharp
    try:
        check_one_size(pair, _open(blurry.path), _open(sharp.path))
    except DataError as error:
        return str(error)
    return CachedPair(pair.name, (blurry, sharp))


def _in_cache(images: Sequence[FileImage], folder: Path, on_progress: OnProgress | None) -> list[CachedImage | str]:
    """Each image in the cache, or a sentence why it cannot be."""
    tell = on_progress or (lambda what, done, total: None)
    _prepare(folder)
    hashes = _Hashes(folder / INDEX)
    troubles = hashes.add({file for image in images for file in image.files}, tell)
    keys: list[str | None] = [
        None if any(file in troubles for file in image.files) else _key(image, hashes) for image in images
    ]
    missing = {
        key: image
        for key, image in zip(keys, images, strict=True)
        if key is not None and not _is_whole(folder / f"{key}.npy")
    }
    if missing:
        _check_room(folder, missing.values())
        broken = _build(missing, folder, hashes, tell)
        _mapped.cache_clear()  # a damaged file's map would outlive it
    else:
        broken = {}

    def of(image: FileImage, key: str | None) -> CachedImage | str:
        if key is None:
            return next(troubles[file] for file in image.files if file in troubles)
        return broken.get(key) or CachedImage(folder / f"{key}.npy", image)

    return [of(image, key) for image, key in zip(images, keys, strict=True)]


class _Hashes:
    """The sha256 of files, remembered in the index while size and time of change stay."""

    def __init__(self, index: Path) -> None:
        self.index = index
        self.known: dict[str, tuple[int, int, str]] = {}
        self.states: dict[Path, FileState] = {}
        self.of: dict[Path, str] = {}
        try:
            read: dict[str, Any] = json.loads(index.read_text(encoding="utf-8"))
            self.known = {path: (int(size), int(changed), str(sha)) for path, (size, changed, sha) in read.items()}
        except (OSError, ValueError, TypeError, AttributeError):
            pass  # not there yet, or damaged: hashing again is all that is lost

    def add(self, files: Iterable[Path], tell: OnProgress) -> dict[Path, str]:
        """Hash those that are new or changed; returns a sentence for each that cannot be read."""
        unknown, troubles = list[Path](), dict[Path, str]()
        for file in sorted(files):
            try:
                self.states[file] = _state(file)
            except OSError as error:
                troubles[file] = _cannot_read(file, error)
                continue
            size, changed, sha = self.known.get(os.path.abspath(file), (-1, -1, ""))
            if (size, changed) == self.states[file]:
                self.of[file] = sha
            else:
                unknown.append(file)
        saved = time.monotonic()
        try:
            for done, (file, future) in enumerate(_in_parallel(_sha256, unknown), 1):
                try:
                    self._remember(file, future.result())
                except OSError as error:
                    troubles[file] = _cannot_read(file, error)
                tell("hashed", done, len(unknown))
                if time.monotonic() - saved > SAVE_INDEX_S:
                    self._save()
                    saved = time.monotonic()
        finally:
            if unknown:
                self._save()
        return troubles

    def check_unchanged(self, file: Path) -> None:
        """Refuse what was written while it was hashed and decoded: the hash would stand for other pixels."""
        try:
            same = _state(file) == self.states[file]
        except OSError as error:
            raise DataError(_cannot_read(file, error)) from error
        if not same:
            raise DataError(f"{file} changed while it was read. Give the same command again when it is finished.")

    def _remember(self, file: Path, sha: str) -> None:
        self.of[file] = sha
        size, changed = self.states[file]
        if time.time_ns() - changed > YOUNG_NS:
            self.known[os.path.abspath(file)] = (size, changed, sha)

    def _save(self) -> None:
        """Of two builders' indices the last one stays: the other's files are hashed again some time."""
        part = self.index.parent / PARTS / f"{uuid.uuid4().hex}.json"
        with whole_file(part) as stream:
            stream.write(json.dumps(self.known).encode())
        os.replace(part, self.index)


def _key(image: FileImage, hashes: _Hashes) -> str:
    words = [DECODER, image.made, *(hashes.of[file] for file in image.files)]
    return hashlib.sha256("\n".join(words).encode()).hexdigest()[:32]


def _build(missing: dict[str, FileImage], folder: Path, hashes: _Hashes, tell: OnProgress) -> dict[str, str]:
    """Decode and write; returns a sentence for each key whose image is broken."""

    def build(key: str) -> None:
        path = folder / f"{key}.npy"
        if _is_whole(path):  # another builder was faster
            return
        image = missing[key]
        pixels = np.ascontiguousarray(image.load())
        for file in image.files:
            hashes.check_unchanged(file)
        part = folder / PARTS / f"{uuid.uuid4().hex}.npy"
        with whole_file(part) as stream:
            _write_npy(stream, pixels)
        os.replace(part, path)

    keys, broken = list(missing), {}
    order = [keys[i] for i in np.random.default_rng().permutation(len(keys))]  # so that two builders share the work
    for done, (key, future) in enumerate(_in_parallel(build, order), 1):
        try:
            future.result()
        except (PhotoError, DataError) as error:
            broken[key] = str(error)
        tell("decoded", done, len(order))
    return broken


def _in_parallel(work: Callable[[T], R], items: Sequence[T]) -> Iterable[tuple[T, Future[R]]]:
    """Each item with its finished future, as they come; decoding and hashing let other threads run."""
    pool = ThreadPoolExecutor(os.cpu_count())
    try:
        waiting = iter(items)
        running: dict[Future[R], T] = {}
        while True:
            for item in itertools.islice(waiting, 4 * (os.cpu_count() or 1) - len(running)):
                running[pool.submit(work, item)] = item
            if not running:
                return
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                yield running.pop(future), future
    finally:
        pool.shutdown(cancel_futures=True)


def _check_room(folder: Path, images: Iterable[FileImage]) -> None:
    """Refuse to begin what the disk cannot hold; sizes are from the files' headers."""
    firsts = [image.files[0] for image in images]
    needed = sum(future.result() for _, future in _in_parallel(_pixel_bytes, firsts))
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise DiskFull(
            f"The decoded cache in {folder} needs {needed / 1e9:.2f} GB more, and {free / 1e9:.2f} GB are free. Make "
            "room, choose a folder on another disk, or go without the cache: every sample is decoded then."
        )


def _pixel_bytes(file: Path) -> int:
    """What the file takes decoded, in whole blocks; 0 if it is no image, which decoding will say better."""
    try:
        with Image.open(file, formats=OPENED) as image:
            width, height = image.size
    except Exception:  # as many kinds as there are decoders
        return 0
    return -(-(width * height * 3 + HEADER_BYTES) // BLOCK) * BLOCK


def _write_npy(stream: BinaryIO, pixels: Rgb8) -> None:
    """As ``np.save``, which would report a full disk without its error number."""
    np.lib.format.write_array_header_1_0(stream, np.lib.format.header_data_from_array_1_0(pixels))
    stream.write(pixels.data)


def _open(path: Path) -> Rgb8:
    """A map of a file that :func:`_write_npy` wrote, whole; anything else is a ValueError.

    ``np.load`` would map it, too, in five times the time, and take a file that is too long.
    """
    with path.open("rb", buffering=0) as stream:
        bytes_ = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
    shape = _shape_in(bytes_[:HEADER_BYTES])
    return np.frombuffer(bytes_, np.uint8, offset=HEADER_BYTES).reshape(shape)  # refuses any other number of bytes


@lru_cache(maxsize=64)
def _shape_in(header: bytes) -> tuple[int, int, int]:
    stream = BytesIO(header)
    np.lib.format.read_magic(stream)
    shape, fortran, dtype = np.lib.format.read_array_header_1_0(stream)
    if len(shape) != 3 or shape[2] != 3 or fortran or dtype != np.uint8 or stream.tell() != HEADER_BYTES:
        raise ValueError("not the header of (H, W, 3) uint8 pixels")
    return shape


_mapped = lru_cache(maxsize=OPEN_MAPS)(_open)


def _is_whole(path: Path) -> bool:
    try:
        _open(path)
    except (OSError, ValueError):
        return False
    return True


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _state(file: Path) -> FileState:
    found = file.stat()
    return found.st_size, found.st_mtime_ns


def _cannot_read(file: Path, error: OSError) -> str:
    return f"{file} cannot be read ({error.strerror})."


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
