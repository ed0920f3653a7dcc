"""Restore photos on disk: nothing is overwritten unasked, nothing is half-written, one bad file stops no other."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from deblur import images
from deblur.errors import DeblurError, SettingError
from deblur.files import whole_file
from deblur.inference.model_folder import Model
from deblur.inference.photo import restore_photo
from deblur.inference.restorer import OnTile, ignore

FORMAT_OF_SUFFIX = {
    ".jpg": "jpeg",
    ".jpeg": "jpeg",
    ".png": "png",
    ".webp": "webp",
    ".tif": "tiff",
    ".tiff": "tiff",
}
READABLE = (*images.SUFFIXES, ".gif")


@dataclass(frozen=True)
class Report:
    """What became of one file: ``output``, or the ``trouble`` that kept it from being restored."""

    photo: Path
    output: Path | None = None
    trouble: str | None = None


def restore_file(
    model: Model,
    photo: Path,
    output: Path | None = None,
    *,
    overwrite: bool = False,
    on_tile: OnTile = ignore,
) -> Path:
    """Restore one photo; returns where it lies.

    Args:
        model: restores it.
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
        model,
        photo,
        lambda photo_format: output or photo.with_name(output_name(photo, photo_format, ".deblurred")),
        overwrite,
        on_tile,
    )


def restore_folder(
    model: Model,
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
        report = _report_of(model, photo, target, overwrite, {r.output for r in reports if r.output})
        reports.append(report)
        on_report(report, len(photos))
    return reports


def _report_of(model: Model, photo: Path, folder: Path, overwrite: bool, taken: set[Path]) -> Report:
    """One file of a folder; whatever happens to it stays with it."""

    def place(photo_format: str) -> Path:
        target = folder / output_name(photo, photo_format)
        if target in taken:
            raise SettingError(f"{target} is the result of another photo of this folder; rename one.")
        return target

    try:
        return Report(photo, _restore(model, photo, place, overwrite, ignore))
    except DeblurError as error:
        return Report(photo, trouble=str(error))


def _restore(model: Model, photo: Path, place: Callable[[str], Path], overwrite: bool, on_tile: OnTile) -> Path:
    """``place`` says where the result goes, once the photo's format is known."""
    try:
        data = images.read(photo)
        target = place(data.format)
        _check_target(photo, target, overwrite)
        restore_photo(model, data, on_tile=on_tile)
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
        raise SettingError(f"{target} exists. Name another output, or allow it to be replaced (overwrite).")
