"""Under which licence a folder's images are, as the folder itself says."""

import csv
from collections import Counter
from pathlib import Path

CREDITS = "CREDITS.csv"
NAMES = ("licence", "license")
NOT_STATED = "not stated"
LONGEST = 300


def licence_of(folder: Path) -> str:
    """What ``folder``, else its parent, says in at most 300 characters; "not stated" where neither says anything.

    The licences in ``CREDITS.csv`` (column ``licence`` or ``license``) with how many images each has, most first, else
    the first line of a file whose name begins with LICENCE or LICENSE, in any case; a checkout's is of its code.
    """
    for place in (folder, folder.parent):
        if (place / ".git").exists():
            break
        if said := _credits(place / CREDITS) or _first_line(place):
            return said[:LONGEST]
    return NOT_STATED


def _credits(file: Path) -> str:
    try:
        with file.open(encoding="utf-8-sig", errors="replace", newline="") as stream:
            rows = [
                {(name or "").strip().lower(): value for name, value in row.items()} for row in csv.DictReader(stream)
            ]
    except (OSError, csv.Error):
        return ""
    counts = Counter(value.strip() for row in rows for name in NAMES if isinstance(value := row.get(name), str))
    return ", ".join(f"{licence} ({count})" for licence, count in counts.most_common() if licence)


def _first_line(folder: Path) -> str:
    """Of the first licence file in ``folder`` that says something."""
    try:
        files = sorted(path for path in folder.iterdir() if path.name.lower().startswith(NAMES) and path.is_file())
        texts = [path.read_text(encoding="utf-8-sig", errors="replace") for path in files]
    except OSError:
        return ""
    return next((line.strip() for text in texts for line in text.splitlines() if line.strip()), "")
