"""``deblur doctor PATH``: find what is wrong with a training set before it costs a night."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro
from rich.markup import escape

from deblur.cli.console import console, say
from deblur.cli.outputs import check_outputs
from deblur.errors import SettingError
from deblur.files import pasteable

if TYPE_CHECKING:
    from deblur.data.doctor import Report
    from deblur.data.film import Film

STYLES = {"error": "red", "warning": "yellow", "note": "dim"}
EXAMPLES = 3
FILM = "film:"


def doctor(
    path: tyro.conf.Positional[Path],
    val: Path | None = None,
    patch_size: int | None = None,
    json: Path | None = None,
    sheet: Path | None = None,
    quick: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
    blur_gamma: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
) -> int:
    """Find what is wrong with a folder of pairs or photos before it trains anything.

    Exit code 0: no errors were found; 1: there are some.

    Args:
        path: A folder with blur/ and sharp/, a folder of sequences that have these, or a folder of photos; or
            film:FILE, a film or a folder of films.
        val: The validation set, of the same kinds; what it shares with the first is an error.
        patch_size: Side of the training crop, px; a smaller image is an error. Without it, one below 256 px is a note.
        json: Write every finding and every measure to this file.
        sheet: Draw the worst pairs (blurry, sharp, difference) into this file, a .png or .jpg.
        quick: Look only at names, sizes, some headers and a few pairs, as before every training.
        blur_gamma: Take GoPro's blur_gamma/ instead of blur/.
    """
    if str(path).startswith(FILM):
        if patch_size is not None or json or sheet or quick or blur_gamma:
            raise SettingError("Of film:FILE the doctor tells what it gives; of the options it takes --val alone.")
        return _films(path, val)
    from rich.progress import Progress

    from deblur.data.doctor import examine_folder

    check_outputs(json, picture=sheet)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(escape(pasteable(path.name)), total=None)

        def tell(done: int, total: int) -> None:
            progress.update(task, completed=done, total=total)

        report = examine_folder(path, val, patch_size, quick, tell, blur_gamma)
    _print(report)
    if json:
        from deblur.files import write_json

        write_json(json, report.as_dict())
    if sheet:
        _draw(report, sheet)
    return 1 if report.errors else 0


def _films(place: Path, val: Path | None) -> int:
    """What each film gives, and what it does not; 1 where one gives nothing, or validates what it trains."""
    from deblur.data.film import films_in, open_film
    from deblur.data.film_leaks import film_leaks

    sides = [
        [open_film(path, on_line=say) for path in films_in(Path(str(each).removeprefix(FILM)))]
        for each in (place, val)
        if each
    ]
    leaks = film_leaks(*([film.mark for film in side] for side in sides)) if val else []
    for leak in leaks:
        say(f"{leak.kind}: {' '.join(map(pasteable, map(Path, leak.files)))}: {leak.text}")
    return 1 if _empty([film for side in sides for film in side]) or leaks else 0


def _empty(films: "Sequence[Film]") -> int:
    """Tell what each film gives; returns how many give nothing."""
    from deblur.data.film import told_reasons

    empty = 0
    for film in films:
        report, kept = film.report, [row for row in film.report["windows"] if not row["left_out"]]
        say(
            f"{pasteable(film.path)}: frames: {report['frames']} ({report['repeated']} repeated), scenes: "
            f"{report['scenes']}, windows: {len(kept)}; left out: {told_reasons(report) or 'nothing'}"
        )
        for name, unit in (("motion_px", "motion, px a frame"), ("own_blur_px", "own blur of sharp frames, px")):
            values = sorted(row[name] for row in kept)
            if values:
                say(f"  {unit}: {values[0]:.1f} to {values[-1]:.1f}, half below {values[len(values) // 2]:.1f}")
        empty += not kept
    return empty


def _print(report: "Report") -> None:
    from rich.table import Table
    from rich.text import Text

    from deblur.data.doctor import ADVICE

    groups: dict[tuple[str, str], list[int]] = {}
    for i, finding in enumerate(report.findings):
        groups.setdefault((finding.severity, finding.kind), []).append(i)
    if groups:
        table = Table("", "what", "n", "examples", "what to do", show_lines=True)
        for (severity, kind), numbers in groups.items():
            lines = [_line(report, number) for number in numbers[:EXAMPLES]]
            lines += ["..."] if len(numbers) > EXAMPLES else []
            cells = (kind, str(len(numbers)), "\n".join(lines), ADVICE[kind])
            table.add_row(Text(severity, STYLES[severity]), *cells)
        console.print(table)
    at = report.looked_at
    found = {name: len(report.of(name)) for name in STYLES}  # type: ignore[arg-type]
    counts = ", ".join(f"{number} {name}{'s' * (number > 1)}" for name, number in found.items() if number)
    say(
        f"{counts or 'nothing found'}; {at['items']} pairs or photos, of which {at['headers']} were opened, "
        f"{at['whole']} decoded, {at['registered']} aligned."
    )


def _line(report: "Report", number: int) -> str:
    finding = report.findings[number]
    names = [pasteable(Path(file).name) for file in finding.files[:2]]
    names = list(dict.fromkeys(names)) + (["..."] if len(finding.files) > 2 else [])
    return f"{' '.join(names)}: {finding.text}" if names else finding.text


def _draw(report: "Report", picture: Path) -> None:
    from deblur.data.doctor.sheet import sheet_rows
    from deblur.evaluation.panels import save, side_by_side, stacked

    rows = sheet_rows(report)
    if not rows:
        say("No pair could be aligned: there is no sheet.")
        return
    save(stacked([side_by_side(images, captions) for images, captions in rows]), picture)
    say(f"sheet: {pasteable(picture)}")
