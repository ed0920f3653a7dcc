"""The folders of a source, and the images in them.

Each real folder counts once, however many links lead to it or back. Hidden folders, those that systems keep for
themselves, and what this program wrote (panels, saved sets, results of a restore) are no data. The folder that a source
names is taken as it is, whatever its name.
"""

import os
from collections import deque
from pathlib import Path

from deblur.data.saved import is_saved_set
from deblur.errors import DataError
from deblur.images import image_files
from deblur.inference.files import RESTORED

SYSTEM_FOLDERS = ("@eaDir", "__MACOSX", "#recycle", "$RECYCLE.BIN", "System Volume Information", "lost+found")
"""Of network drives, of archives made on macOS, of Windows and of Linux; those of others begin with a dot."""
RUN_FILE, PANELS, EARLIER, DEMO_PICTURE = "run.json", "panels", "earlier", "before_after.png"
"""Of a run's folder: what tells it, and where pictures lie."""
TRACKED = ("mlruns", "mlartifacts")
"""Where MLflow keeps copies of panels."""
FILM_SUFFIXES = (".mp4", ".mov", ".m4v", ".webm", ".mkv", ".avi", ".gif", ".y4m")
PASSED_OVER = "Hidden and system folders, and what this program wrote, are passed over"


def folders_of(top: Path, *, below: bool = True) -> list[Path]:
    """``top``, the folders in it and, ``below``, those in them, too; links are followed, after the real folders.

    Raises:
        DataError: a folder cannot be read.
    """
    real = Path(os.path.realpath(top))
    seen = {str(real), *map(str, real.parents)}
    found, waiting, links = [top], deque(_inside(top)), deque[Path]()
    while waiting or links:
        folder = (waiting or links).popleft()
        if folder.is_symlink() and waiting:
            links.append(folder)
            continue
        target = os.path.realpath(folder)
        if target in seen or _is_own(Path(target)):
            continue
        seen.add(target)
        found.append(folder)
        if below:
            waiting.extend(_inside(folder))
    return sorted(found)


def images_in(folder: Path) -> list[Path]:
    """The images directly in ``folder``, sorted, without what a restore or the demo wrote; none if it is no folder."""
    demo = folder / DEMO_PICTURE if (folder / RUN_FILE).is_file() else None
    return [path for path in image_files(folder) if not path.stem.endswith(RESTORED) and path != demo]


def images_below(top: Path) -> list[Path]:
    """The images in all folders of a source, sorted by path."""
    return sorted(path for folder in folders_of(top) for path in images_in(folder))


def _inside(folder: Path) -> list[Path]:
    try:
        with os.scandir(folder) as entries:
            folders = [Path(entry.path) for entry in entries if entry.is_dir()]
    except OSError as error:
        raise DataError(f"{folder} cannot be read ({error.strerror}). Allow it, or move the folder away.") from error
    return sorted(
        each for each in folders if not (each.name.startswith(".") or each.name in SYSTEM_FOLDERS or _is_own(each))
    )


def _is_own(folder: Path) -> bool:
    """Whether this program wrote what is in it."""
    of_a_run = folder.name in (PANELS, EARLIER) and (folder.parent / RUN_FILE).is_file()
    restored = folder.name.endswith(RESTORED) or (folder / RESTORED).is_file()
    return of_a_run or folder.name in TRACKED or restored or is_saved_set(folder)
