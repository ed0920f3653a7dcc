"""``deblur restore``: restore a photo, or every photo in a folder."""

from pathlib import Path
from typing import Annotated

import tyro
from rich.markup import escape

from deblur.cli.console import console, say
from deblur.cli.opening import Opened, Opening, opener
from deblur.errors import SettingError
from deblur.files import pasteable


def restore(
    photo: tyro.conf.Positional[Path],
    out: tyro.conf.Positional[Path | None] = None,
    opening: Opened = Opening(),
    overwrite: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
) -> int:
    """Restore a photo, or every photo in a folder.

    Args:
        photo: A photo, or a folder of photos.
        out: Where to; by default PHOTO.deblurred.EXT, or the folder FOLDER.deblurred.
        opening: Model and engine.
        overwrite: Replace files that exist.
    """
    from rich.progress import Progress

    from deblur.inference.files import Report, restore_file, restore_folder
    from deblur.library import locate

    if not (photo.is_file() or photo.is_dir()):
        raise SettingError(f"There is no file or folder {pasteable(photo)}.")
    model = opener(opening)(locate(opening.model))
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(escape(pasteable(photo.name)), total=None)
        if photo.is_file():

            def on_tile(done: int, total: int) -> None:
                progress.update(task, completed=done, total=total)

            target = restore_file(model, photo, out, overwrite=overwrite, on_tile=on_tile)
            say(pasteable(target))
            return 0

        def on_report(report: Report, total: int) -> None:
            progress.update(task, advance=1, total=total)
            if report.output:
                say(pasteable(report.output))
            else:
                console.print(f"{pasteable(report.photo)}: {report.trouble}", style="red", soft_wrap=True)

        reports = restore_folder(model, photo, out, overwrite=overwrite, on_report=on_report)
    failed = sum(report.trouble is not None for report in reports)
    console.print(f"{len(reports) - failed} restored, {failed} not.")
    return 1 if failed or not reports else 0
