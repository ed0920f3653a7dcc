"""Restore photos on disk: nothing is overwritten unasked, nothing is half-written, one bad file stops no other."""

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from deblur import images
from deblur.errors import DeblurError, SettingError
from deblur.inference.restorer import Restorer

FORMAT_OF_SUFFIX = {
    ".jpg": "jpeg",
    ".jpeg": "jpeg",
    ".png": "png",
    ".webp": "webp",
    ".tif": "tiff",
    ".tiff": "tiff",
}
READABLE = (*images.SUFFIXES, ".gif")
OnTile = Callable[[int, int], None]


@dataclass(frozen=True)
class Report:
    """What became of one file: ``output``, or the ``trouble`` that kept it from being restored."""

    photo: Path
    output: Path | None = None
    trouble: str | None = None


def restore_file(
    restorer: Restorer,
    photo: Path,
    output: Path | None = None,
    *,
    overwrite: bool = False,
    on_tile: OnTile = lambda done, total: None,
) -> Path:
    """Restore one photo; returns where it lies.

    Args:
        restorer: does the work.
        photo: the blurry file.
        output: where to; by default ``NAME.deblurred.EXT`` beside it. Its suffix decides the format.
        overwrite: whether an existing ``output`` may be replaced.
        on_tile: told (tiles done, tiles in all).

    Raises:
        SettingError: ``output`` exists, is the photo itself, or has an unknown suffix.
        PhotoError: the photo cannot be restored.
    """
    if output is not None and output.suffix.lower() not in FORMAT_OF_SUFFIX:
        raise SettingError(f"{output}: the suffix decides the format; allowed are {', '.join(FORMAT_OF_SUFFIX)}.")
    try:
        data = images.read(photo)
    except OSError as error:
        raise SettingError(f"{photo} cannot be read ({error.strerror}).") from error
    target = output or photo.with_name(output_name(photo, data.format, marker=".deblurred"))
    _check_target(photo, target, overwrite)
    restored = replace(data, pixels=restorer(data.pixels, on_tile=on_tile))
    _write_whole(target, images.encode(restored, FORMAT_OF_SUFFIX.get(target.suffix.lower())))
    return target


def restore_folder(
    restorer: Restorer,
    folder: Path,
    output: Path | None = None,
    *,
    overwrite: bool = False,
    on_report: Callable[[Report, int], None] = lambda report, total: None,
) -> list[Report]:
    """Restore every photo directly in ``folder`` into ``output`` (by default ``FOLDER.deblurred``), names kept."""
    target = output or folder.with_name(folder.name + ".deblurred")
    photos = sorted(p for p in folder.iterdir() if p.suffix.lower() in READABLE and p.is_file())
    target.mkdir(parents=True, exist_ok=True)
    reports = []
    for photo in photos:
        try:
            photo_format = images.read(photo).format
            done = restore_file(restorer, photo, target / output_name(photo, photo_format), overwrite=overwrite)
            report = Report(photo, done)
        except DeblurError as error:
            report = Report(photo, trouble=str(error))
        reports.append(report)
        on_report(report, len(photos))
    return reports


def output_name(photo: Path, photo_format: str, marker: str = "") -> str:
    """``a.jpg`` -> ``a{marker}.jpg``; where the format changes (``a.gif`` becomes PNG) -> ``a.gif{marker}.png``."""
    same = FORMAT_OF_SUFFIX.get(photo.suffix.lower(), "").upper() == photo_format
    return f"{photo.stem}{marker}{photo.suffix}" if same else f"{photo.name}{marker}.png"


def _check_target(photo: Path, target: Path, overwrite: bool) -> None:
    if target.exists() and target.samefile(photo):
        raise SettingError(f"{target} is the photo itself; name another output.")
    if target.exists() and not overwrite:
        raise SettingError(f"{target} exists. Name another output, or say --overwrite.")


def _write_whole(target: Path, data: bytes) -> None:
    """Write beside, flush, rename: a killed program leaves no half photo under the final name."""
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + ".part")
    with part.open("wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(part, target)
