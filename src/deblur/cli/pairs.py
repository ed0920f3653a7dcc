"""``deblur pairs FILM... OUT``: blurry and sharp frames of films, as an ordinary folder of pairs."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from deblur.cli.console import say
from deblur.errors import SettingError
from deblur.files import escaped, pasteable, whole_file, write_whole

if TYPE_CHECKING:
    from deblur.data.film import FilmPair
    from deblur.images import Rgb8

SHEET_PAIRS, COLUMNS = 12, 4
LOG_FILE, SHEET_FILE = "pairs.jsonl", "sheet.jpg"


def pairs(
    films: Annotated[tyro.conf.Positional[tuple[Path, ...]], tyro.conf.arg(metavar="FILM [FILM ...] OUT")],
    cache: Path | None = None,
) -> int:
    """Make pairs of blurry and sharp frames from films.

    The folder that is written gets blur/ and sharp/, a log of every window of frames, and a contact sheet. The same
    command, given again, goes on where it was interrupted.

    Args:
        films: Films, or folders of films; and last the folder to write.
        cache: Folder in which frames and flows are kept; by default the user's cache.
    """
    from deblur.data.film import films_in as found_in
    from deblur.data.film import open_film, told_reasons

    if len(films) < 2:
        raise SettingError("Give films and, last, the folder to write: deblur pairs FILM... OUT")
    *places, out = films
    for side in ("blur", "sharp"):
        (out / side).mkdir(parents=True, exist_ok=True)
    logged, made = _logged(out), list["FilmPair"]()
    for path in [path for place in places for path in found_in(place)]:
        film = open_film(path, cache, say)
        content = film.mark.content
        if any(row.get("content", content) != content for row in logged.get(path.stem, [])):
            raise SettingError(
                f"{pasteable(out)} has pairs of another film called {escaped(path.stem)} than {pasteable(path)}. Write "
                "this one into another folder, or give it another name."
            )
        logged[path.stem] = [{"film": path.name, "content": content, **row} for row in film.report["windows"]]
        lines = (json.dumps(row) + "\n" for rows in logged.values() for row in rows)
        write_whole(out / LOG_FILE, "".join(lines).encode())
        for pair in film.windows:
            _write(pair, out)
        made += film.windows
        say(f"{pasteable(path)}: {len(film.windows)} pairs; left out: {told_reasons(film.report) or 'nothing'}")
    if made:
        _sheet(made, out)
    say(f"{pasteable(out)}: {len(made)} pairs")
    return 0


def _logged(out: Path) -> dict[str, list[dict[str, Any]]]:
    """The windows of each film that is there, by the film's stem."""
    found = dict[str, list[dict[str, Any]]]()
    if (out / LOG_FILE).is_file():
        for line in (out / LOG_FILE).read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            found.setdefault(Path(row["film"]).stem, []).append(row)
    return found


def _files(pair: "FilmPair", out: Path) -> list[Path]:
    """(blurry, sharp)"""
    return [out / side / f"{pair.film.stem}-{pair.number:06}.webp" for side in ("blur", "sharp")]


def _write(pair: "FilmPair", out: Path) -> None:
    """What is there already is kept: files are written whole, the blurry one last."""
    from PIL import Image

    blurry, sharp = _files(pair, out)
    if blurry.is_file():
        return
    for file, pixels in zip((sharp, blurry), reversed(pair.load()), strict=True):
        with whole_file(file) as stream:
            Image.fromarray(pixels).save(stream, "WEBP", lossless=True, quality=20, method=2)


def _sheet(made: "list[FilmPair]", out: Path) -> None:
    """Where blurry and sharp differ most, at their own pixels."""
    from deblur.data.doctor.sheet import where_most
    from deblur.data.pairs import PairFiles, evenly_chosen
    from deblur.evaluation.panels import save, side_by_side, stacked

    images, captions = list["Rgb8"](), list[str]()
    for pair in evenly_chosen(made, SHEET_PAIRS):
        blurry, sharp = PairFiles(pair.name, *_files(pair, out)).load()
        window = where_most(abs(blurry.astype(int) - sharp).sum(axis=2))
        images += [blurry[window], sharp[window]]
        captions += [f"{pair.name}, path {pair.path_px} px", "sharp"]
    rows = [side_by_side(images[i : i + COLUMNS], captions[i : i + COLUMNS]) for i in range(0, len(images), COLUMNS)]
    save(stacked(rows), out / SHEET_FILE)
