"""``deblur restore``: restore a photo, or every photo in a folder."""

from pathlib import Path
from typing import Annotated, Literal

import tyro
from rich.markup import escape

from deblur.cli.console import console, remark, say
from deblur.cli.opening import Chosen, Opened, Opening, opener
from deblur.cli.options import with_dashes
from deblur.errors import SettingError
from deblur.files import pasteable

NAMED = 20
"""Photos that the summary names; the lines before it name all."""


def restore(
    photo: tyro.conf.Positional[Path],
    out: tyro.conf.Positional[str | None] = None,
    opening: Opened = Opening(),
    overwrite: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
    large: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
    keep_metadata: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
    guard: Literal["on", "off"] = "on",
) -> int:
    """Restore a photo, or every photo in a folder.

    Args:
        photo: A photo, or a folder of photos.
        out: The file or folder to write; by default PHOTO.deblurred.EXT, or for a folder FOLDER.deblurred. If one photo
            goes into a new folder, end the folder's name with a slash.
        opening: Model and engine.
        overwrite: Replace files that exist.
        large: Also try photos that probably do not fit into memory.
        keep_metadata: Also keep the position, serial numbers, owner and comments that the photo holds.
        guard: on leaves places as they were where the network breaks them, and changes sharp places less; off writes
            the network's result as it is.
    """
    from rich.progress import Progress

    from deblur.inference.files import Report, restore_file, restore_folder

    if not (photo.is_file() or photo.is_dir()):
        raise SettingError(f"There is no file or folder {pasteable(photo)}.")
    chosen = Chosen(opening.model)
    folder = chosen.locate()
    model = opener(opening)(folder)
    if line := chosen.line(folder, model.info):
        remark(line)
    how = {"overwrite": overwrite, "large": large, "keep_metadata": keep_metadata, "guarded": guard == "on"}
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(escape(pasteable(photo.name)), total=None)
        if photo.is_file():

            def on_tile(done: int, total: int) -> None:
                progress.update(task, completed=done, total=total)

            say(pasteable(restore_file(model, photo, out, **how, on_tile=on_tile)))
            return 0

        def on_report(report: Report, total: int) -> None:
            progress.update(task, advance=1, total=total)
            if report.output and not report.there:
                say(pasteable(report.output))
            elif report.trouble:
                trouble = with_dashes(report.trouble, restore)
                console.print(f"{pasteable(report.photo)}: {trouble}", style="red", soft_wrap=True)

        target = Path(out) if out else None
        reports = restore_folder(model, photo, target, **how, on_report=on_report)
    failed = [pasteable(report.photo.name) for report in reports if report.trouble]
    names = ", ".join(failed[:NAMED] + ["..."] * (len(failed) > NAMED))
    there = sum(report.there for report in reports)
    told = [f"{len(reports) - there - len(failed)} restored"]
    told += [f"{there} were there already (--overwrite replaces them)"] if there else []
    told += [f"{len(failed)} not: {names}"] if failed else []
    say(f"{', '.join(told)}.")
    return 1 if failed else 0
