"""The worst pairs as pictures: where blurry and sharp differ most, at their own pixels, with what was measured."""

from collections.abc import Sequence

import numpy as np

from deblur.data.doctor.findings import SEVERITIES, Measures, Report
from deblur.data.pairs import PairFiles
from deblur.images import Rgb8

SIDE_PX = 320
ROWS = 8

Row = tuple[Sequence[Rgb8], Sequence[str]]
"""Images of one height, and a caption for each."""


def worst(report: Report) -> list[Measures]:
    """Pairs with findings first, errors before warnings, then those that lie farthest from each other."""
    severity_of: dict[str, int] = {}
    for finding in report.findings:
        for file in finding.files:
            rank = SEVERITIES.index(finding.severity) - 0.5 * (len(finding.files) <= 2)  # a pair's own before a set's
            severity_of[file] = min(severity_of.get(file, 9), int(2 * rank))
    ranked = sorted(report.measures, key=lambda m: (severity_of.get(str(m.blurry), 9), -m.shift_px))
    return ranked[:ROWS]


def sheet_rows(report: Report) -> list[Row]:
    """(blurry, sharp, difference) of the worst pairs, each ``(h, w, 3)`` uint8 with at most ``SIDE_PX`` a side."""
    kinds: dict[str, list[str]] = {}
    for finding in report.findings:
        for file in finding.files:
            kinds.setdefault(file, []).append(f"{finding.severity}: {finding.kind}")
    rows: list[Row] = []
    for m in worst(report):
        blurry, sharp = PairFiles(m.name, m.blurry, m.sharp).load()
        told = ", ".join(dict.fromkeys(kinds.get(str(m.blurry), []))) or "nothing found"
        differing = blurry.astype(np.int16) - sharp
        window = where_most(np.abs(differing).sum(axis=2))
        difference = np.clip(128 + differing[window], 0, 255).astype(np.uint8)
        captions = (
            _short(m.name),
            _short(told),
            f"shift {m.shift_x_px:+.1f} {m.shift_y_px:+.1f}  zoom {m.zoom_px:+.1f} px  light {m.light:.2f}",
        )
        rows.append(((blurry[window], sharp[window], difference), captions))
    return rows


def where_most(amount: np.ndarray) -> tuple[slice, slice]:
    """The square of ``SIDE_PX`` with the largest sum, on a coarse grid."""
    height, width = amount.shape
    h, w = min(SIDE_PX, height), min(SIDE_PX, width)
    corners = [
        (y, x)
        for y in {*range(0, height - h + 1, h // 2), height - h}
        for x in {*range(0, width - w + 1, w // 2), width - w}
    ]
    top, left = max(
        sorted(corners), key=lambda corner: int(amount[corner[0] : corner[0] + h, corner[1] : corner[1] + w].sum())
    )
    return slice(top, top + h), slice(left, left + w)


def _short(text: str, most: int = 44) -> str:
    return text if len(text) <= most else f"{text[: most // 2 - 1]}...{text[-most // 2 + 2 :]}"
