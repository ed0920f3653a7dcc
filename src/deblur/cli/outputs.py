"""Files that a verb will write: if they cannot be, that is said before the work and not after it."""

import os
from collections.abc import Iterable
from pathlib import Path

from deblur.errors import SettingError
from deblur.files import pasteable

PICTURES = (".png", ".jpg", ".jpeg")


def check_outputs(*files: Path | None, picture: Path | None = None) -> None:
    """Whether each of ``files``, and ``picture``, may be written; None are those that nobody asked for.

    Raises:
        SettingError: there is no such folder, it is read-only, or the picture's name is not one of a picture.
    """
    for file in (*files, picture):
        if file is None:
            continue
        folder = file.absolute().parent
        if not folder.is_dir() or not os.access(folder, os.W_OK) or file.is_dir():
            raise SettingError(
                f"{pasteable(file)} cannot be written: {pasteable(folder)} must be a folder that may be written to."
            )
    if picture and picture.suffix.lower() not in PICTURES:
        raise SettingError(f"{pasteable(picture)}: a picture's name ends in {', '.join(PICTURES)}.")


def check_new(file: Path, overwrite: bool, sources: Iterable[Path]) -> None:
    """Whether ``file`` replaces nothing, or something that may be replaced, and none of its ``sources``.

    Raises:
        SettingError: it exists.
    """
    if file.exists() and any(source.exists() and file.samefile(source) for source in sources):
        raise SettingError(f"{pasteable(file)} is what is read; name another --out.")
    if file.exists() and not overwrite:
        raise SettingError(f"{pasteable(file)} exists. Name another --out, or replace it with --overwrite.")
