"""Restore photos on disk: nothing is overwritten unasked, nothing is half-written, one bad file stops no other."""

import hashlib
import json
import logging
import os
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from deblur import image_limits, images
from deblur.errors import DeblurError, PhotoTooLarge, SettingError, UnsupportedPhoto
from deblur.files import pasteable, sole_user, whole_file
from deblur.image_kinds import RAW
from deblur.image_limits import DecodeLimits
from deblur.inference.model_folder import Model
from deblur.inference.photo import restore_photo
from deblur.inference.restorer import OnTile, ignore

logger = logging.getLogger("deblur.inference")

FORMAT_OF_SUFFIX = {
    **dict.fromkeys((".jpg", ".jpeg", ".jpe", ".jfif"), "jpeg"),
    **{".png": "png", ".webp": "webp", ".tif": "tiff", ".tiff": "tiff"},
}
READABLE = (*images.SUFFIXES, ".gif", ".avif", ".heic", ".heif", ".hif")
RAW_SUFFIXES = (
    *(".3fr", ".arw", ".cr2", ".cr3", ".crw", ".dcr", ".dng", ".erf", ".iiq", ".kdc", ".mef", ".mrw", ".nef", ".nrw"),
    *(".orf", ".pef", ".raf", ".raw", ".rw2", ".rwl", ".sr2", ".srf", ".srw", ".x3f"),
)
TOLD = (*RAW_SUFFIXES, ".jxl", ".jp2", ".jxr", ".psd", ".exr", ".hdr", ".ppm", ".pgm", ".tga")
"""Photos that are not read. They count as photos all the same, so that none is passed over without a word."""

RESTORED = ".deblurred"
"""Marks results, which are no training data: in the usual names of photos (``a.deblurred.jpg``) and folders, and as the
name of a hidden file in other folders that were made for results."""
ORIGINS = f"{RESTORED}.origins"
"""A hidden file beside results: the name of each and the sha256 of its photo, as a JSON array on a line."""
LOCK = f"{RESTORED}.lock"
"""A hidden file beside results, which one process at a time holds."""


@dataclass(frozen=True)
class Report:
    """What became of one file: ``output``, or the ``trouble`` (without its name) that kept it from being restored.

    ``there`` says that the output was there already, and was left as it was.
    """

    photo: Path
    output: Path | None = None
    trouble: str | None = None
    there: bool = False


def restore_file(
    model: Model,
    photo: Path,
    output: Path | str | None = None,
    *,
    overwrite: bool = False,
    large: bool = False,
    keep_metadata: bool = False,
    guarded: bool = True,
    on_tile: OnTile = ignore,
) -> Path:
    """Restore one photo; returns where it lies.

    Args:
        model: restores it.
        photo: the blurry file.
        output: where to; by default ``NAME.deblurred.EXT`` beside it. A folder, which is there or whose name ends in a
            slash, gets it under its own name; of a file the suffix decides the format.
        overwrite: whether an existing ``output`` may be replaced.
        large: whether to try what is likely not to fit into memory.
        keep_metadata: whether position, serial numbers, owner and comments are kept, too.
        guarded: as in :func:`restore_photo`.
        on_tile: told (tiles done, tiles in all).

    Raises:
        SettingError: ``output`` exists, is the photo itself, or has an unknown suffix; or a file cannot be accessed.
        PhotoError: the photo cannot be restored.
    """
    place = _place_of(photo, output)
    try:
        target, there = _restore(model, photo, place, overwrite, _limits(large, keep_metadata), guarded, on_tile)
        if there:
            raise SettingError(
                f"{pasteable(target)} exists. Name another output, or allow it to be replaced (overwrite)."
            )
        return target
    except DeblurError as error:
        raise type(error)(f"{pasteable(photo)}: {error}") from error


def restore_folder(
    model: Model,
    folder: Path,
    output: Path | None = None,
    *,
    overwrite: bool = False,
    large: bool = False,
    keep_metadata: bool = False,
    guarded: bool = True,
    on_report: Callable[[Report, int], None] = lambda report, total: None,
) -> list[Report]:
    """Restore every photo directly in ``folder`` into ``output`` (by default ``FOLDER.deblurred``), names kept.

    Results (``a.deblurred.jpg``) are passed over; the log says how many. A photo whose output is there already is not
    decoded, unless ``overwrite`` is set: who was interrupted gives the same call again. An output that is known to be
    another photo's is trouble.

    Raises:
        SettingError: ``folder`` cannot be read or holds no photos, or ``output`` is no other folder or cannot be made.
        FolderInUse: another process restores into it.
    """
    folder = folder.resolve()
    target = output or folder.parent / f"{folder.name}{RESTORED}"
    if target.resolve() == folder:
        raise SettingError(f"{pasteable(target)} is the folder of the photos; name another output.")
    with ExitStack() as held:
        try:
            photos = _photos_in(folder)
            if not target.is_dir():
                target.mkdir(parents=True)
                if output:  # the usual name tells what it is
                    (target / RESTORED).touch()
            taken = f"Another process restores into {pasteable(target)}. Wait for it, or name another output."
            held.enter_context(sole_user(target, taken, LOCK))
        except OSError as error:
            at = pasteable(error.filename or target)
            raise SettingError(f"{at} cannot be used as a folder ({error.strerror}).") from error
        reports: list[Report] = []
        limits = _limits(large, keep_metadata)
        origins = {} if overwrite else _origins_in(target)
        for photo in photos:
            try:  # whatever happens to a photo stays with it
                place = _places_in(target, photo, origins=origins)
                result, there = _restore(model, photo, place, overwrite, limits, guarded, ignore)
                if result.name not in origins:
                    origins[result.name] = _noted_in(target, result, photo)
                reports.append(Report(photo, result, there=there))
            except DeblurError as error:
                reports.append(Report(photo, trouble=str(error)))
            on_report(reports[-1], len(photos))
        return reports


def _photos_in(folder: Path) -> list[Path]:
    found = images.image_files(folder, suffixes=(*READABLE, *TOLD))
    photos = [photo for photo in found if not photo.stem.endswith(RESTORED)]
    if not photos:
        raise SettingError(
            f"{pasteable(folder)} holds no photos ({', '.join(READABLE)}). Folders in it and results do not count."
        )
    if results := len(found) - len(photos):
        logger.warning("%s: results are passed over (NAME%s.EXT): %d.", pasteable(folder), RESTORED, results)
    return photos


Read = TypeVar("Read")
Place = Callable[[str], Path]
"""Says where the result goes, once the photo's format is known."""


def _place_of(photo: Path, output: Path | str | None) -> Place:
    """Where one photo goes."""
    if output is None:
        return _places_in(photo.parent, photo, RESTORED)
    file = Path(output)
    if file.is_dir() or str(output).endswith(("/", os.sep)):
        return _places_in(file, photo)
    if file.suffix.lower() not in FORMAT_OF_SUFFIX:
        raise SettingError(
            f"{pasteable(output)}: the suffix decides the format; allowed are {', '.join(FORMAT_OF_SUFFIX)}. A folder "
            "must be there, or end in a slash."
        )
    return lambda photo_format: file


def _places_in(folder: Path, photo: Path, marker: str = "", origins: Mapping[str, str] = {}) -> Place:
    def place(photo_format: str) -> Path:
        target = folder / output_name(photo, photo_format, marker)
        if target.name in origins and origins[target.name] != _sha256_of(photo):
            raise SettingError(
                f"{pasteable(target)} is the result of another photo, or of this one before it was changed. Rename one "
                "or name another output."
            )
        return target

    return place


def _noted_in(folder: Path, result: Path, photo: Path) -> str:
    """The sha256 of the photo, which is noted as the origin of its result, where that can be."""
    sha256 = _sha256_of(photo)
    with suppress(OSError), (folder / ORIGINS).open("a", encoding="ascii") as stream:
        stream.write(json.dumps([result.name, sha256]) + "\n")
    return sha256


def _origins_in(folder: Path) -> dict[str, str]:
    """The sha256 of the photo of each result that is there, as far as it was noted."""
    with suppress(OSError, ValueError):
        noted = dict(json.loads(line) for line in (folder / ORIGINS).read_text(encoding="ascii").splitlines())
        return {name: sha256 for name, sha256 in noted.items() if (folder / name).exists()}
    return {}


def _limits(large: bool, keep_metadata: bool) -> DecodeLimits:
    return replace(image_limits.ANY_SIZE if large else image_limits.OWN_FILES, private=keep_metadata)


def _restore(
    model: Model, photo: Path, place: Place, overwrite: bool, limits: DecodeLimits, guarded: bool, on_tile: OnTile
) -> tuple[Path, bool]:
    """The result's path, and whether it was there before and was left as it was; errors do not name the photo."""
    target = place(_read(photo, image_limits.ANY_SIZE, images.format_in))
    try:
        if target.exists() and target.samefile(photo):
            raise SettingError(f"{pasteable(target)} is the photo itself; name another output.")
        if target.exists() and not overwrite:
            return target, True
        data = _read(photo, limits, images.decode)
        output_format = FORMAT_OF_SUFFIX.get(target.suffix.lower())
        images.format_of_output(data, output_format)  # refuses before the work
        _, outcome = restore_photo(model, data, guarded=guarded, on_tile=on_tile)
        target.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(target) as stream:  # a killed program leaves no half photo under the final name
            images.write(data, stream, output_format)
    except MemoryError as error:
        raise PhotoTooLarge(
            "There is not enough memory to restore it. Scale it down, or end other programs."
        ) from error
    except OSError as error:
        raise SettingError(f"{pasteable(error.filename or target)} cannot be written ({error.strerror}).") from error
    if outcome.replaced > 0:
        logger.warning(
            "%s: the model broke %.0f %% of it, which stays as it was.", pasteable(photo), 100 * outcome.replaced
        )
    if data.frames > 1:
        logger.warning("%s: the first of its %d frames or pages was restored.", pasteable(photo), data.frames)
    if data.said.more_pictures:
        logger.warning("%s: the file's other pictures, such as a gain map, are left out.", pasteable(photo))
    return target, False


def _read(photo: Path, limits: DecodeLimits, how: Callable[[bytes, DecodeLimits], Read]) -> Read:
    if photo.suffix.lower() in RAW_SUFFIXES:
        raise UnsupportedPhoto(RAW)
    try:
        return how(photo.read_bytes(), limits)
    except PhotoTooLarge as error:
        raise PhotoTooLarge(
            str(error) if not limits.in_memory else f"{error} Or allow it to be tried all the same (large)."
        ) from error
    except OSError as error:
        raise SettingError(f"It cannot be read ({error.strerror}).") from error


def _sha256_of(photo: Path) -> str:
    return _read(photo, image_limits.ANY_SIZE, lambda data, limits: hashlib.sha256(data).hexdigest())


def output_name(photo: Path, photo_format: str, marker: str) -> str:
    """``a.jpg`` -> ``a{marker}.jpg``; where that is not the format (a GIF becomes PNG) -> ``a.gif{marker}.png``."""
    if FORMAT_OF_SUFFIX.get(photo.suffix.lower(), "").upper() == photo_format:
        return f"{photo.stem}{marker}{photo.suffix}"
    suffixes = (suffix for suffix, name in FORMAT_OF_SUFFIX.items() if name.upper() == photo_format)
    return f"{photo.name}{marker}{next(suffixes, '.png')}"
