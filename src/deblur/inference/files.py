"""Restore photos on disk: nothing is overwritten unasked, nothing is half-written, one bad file stops no other."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from deblur import images
from deblur.errors import DeblurError, SettingError
from deblur.files import whole_file
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
        SettingError: ``output`` exists, is the photo itself, or has an unknown suffix; or a file cannot be accessed.
        PhotoError: the photo cannot be restored.
    """
    if output is not None and output.suffix.lower() not in FORMAT_OF_SUFFIX:
        raise SettingError(f"{output}: the suffix decides the format; allowed are {', '.join(FORMAT_OF_SUFFIX)}.")
    return _restore(
        restorer,
        photo,
        lambda photo_format: output or photo.with_name(output_name(photo, photo_format, ".deblurred")),
        overwrite,
        on_tile,
    )


def restore_folder(
    restorer: Restorer,
    folder: Path,
    output: Path | None = None,
    *,
    overwrite: bool = False,
    on_report: Callable[[Report, int], None] = lambda report, total: None,
) -> list[Report]:
    """Restore every photo directly in ``folder`` into ``output`` (by default ``FOLDER.deblurred``), names kept.

    Raises:
        SettingError: ``folder`` cannot be read, or ``output`` is no other folder, or cannot be made.
    """
    folder = folder.resolve()
    target = output or folder.parent / f"{folder.name}.deblurred"
    if target.resolve() == folder:
        raise SettingError(f"{target} is the folder of the photos; name another output.")
    try:
        photos = images.image_files(folder, suffixes=READABLE)
        target.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SettingError(f"{error.filename or target} cannot be used as a folder ({error.strerror}).") from error
    reports: list[Report] = []
    for photo in photos:
        report = _report_of(restorer, photo, target, overwrite, {r.output for r in reports if r.output})
        reports.append(report)
        on_report(report, len(photos))
    return reports


def _report_of(restorer: Restorer, photo: Path, folder: Path, overwrite: bool, taken: set[Path]) -> Report:
    """One file of a folder; whatever happens to it stays with it."""

    def place(photo_format: str) -> Path:
        target = folder / output_name(photo, photo_format)
        if target in taken:
            raise SettingError(f"{target} is the result of another photo of this folder; rename one.")
        return target

    try:
        return Report(photo, _restore(restorer, photo, place, overwrite, lambda done, total: None))
    except DeblurError as error:
        return Report(photo, trouble=str(error))


def _restore(restorer: Restorer, photo: Path, place: Callable[[str], Path], overwrite: bool, on_tile: OnTile) -> Path:
    """``place`` says where the result goes, once the photo's format is known."""
    try:
        data = images.read(photo)
        target = place(data.format)
        _check_target(photo, target, overwrite)
        restorer.in_place(data.rgb, on_tile=on_tile)
        target.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(target) as stream:  # a killed program leaves no half photo under the final name
            images.write(data, stream, FORMAT_OF_SUFFIX.get(target.suffix.lower()))
    except OSError as error:
        raise SettingError(f"{error.filename or photo} cannot be read or written ({error.strerror}).") from error
    return target


def output_name(photo: Path, photo_format: str, marker: str = "") -> str:
    """``a.jpg`` -> ``a{marker}.jpg``; where the format changes (``a.gif`` becomes PNG) -> ``a.gif{marker}.png``."""
    same = FORMAT_OF_SUFFIX.get(photo.suffix.lower(), "").upper() == photo_format
    return f"{photo.stem}{marker}{photo.suffix}" if same else f"{photo.name}{marker}.png"


def _check_target(photo: Path, target: Path, overwrite: bool) -> None:
    if target.exists() and target.samefile(photo):
        raise SettingError(f"{target} is the photo itself; name another output.")
    if target.exists() and not overwrite:
        raise SettingError(f"{target} exists. Name another output, or say --overwrite.")
