"""Whether a model has seen a set: what trained it, or selected its checkpoint, says too much good of it."""

from pathlib import Path

from deblur.data.film_leaks import FilmMark, film_leaks
from deblur.data.report_sets import ReportSet
from deblur.inference.model_folder import ModelInfo

KEPT = "promotion"
"""Context of a dataset that a training kept for a promotion."""


def seen_by(info: ModelInfo, each: ReportSet) -> str:
    """What of a set trained a model or selected its checkpoint, for a sentence; empty where nothing is known to.

    A training records its sources: their fingerprints, their films, and their folders, of which a part may have been
    kept for a promotion. That part is not seen; the whole, folders in it and folders around it are.
    """
    datasets = [one for one in (info.trained or {}).get("datasets", ()) if one["context"] != KEPT]
    films = [FilmMark.of_record(film) for one in datasets for film in one.get("films", ())]
    if leaks := film_leaks(films, each.films):
        film, trained = leaks[0].files
        return f"{film}, which is {trained} ({leaks[0].text}),"
    folders = [Path(one["source"]) for one in datasets]
    shared = each.folder and any(_one_holds_the_other(each.folder, folder) for folder in folders)
    digests = [info.scored_on or "", *(one["digest"] for one in datasets)]  # one may be of several sets
    return each.name if shared or each.fingerprint in " ".join(digests).split() else ""


def _one_holds_the_other(a: Path, b: Path) -> bool:
    return a.is_relative_to(b) or b.is_relative_to(a)
