"""The plots of a report: gains against blur strength, time against size, gains by scene."""

from collections.abc import Iterator, Sequence

from deblur.evaluation.evaluation import Evaluation
from deblur.evaluation.measuring import Measured
from deblur.evaluation.summary import Bins
from deblur.evaluation.svg import Axis, Point, intervals, scatter

MOST_SCENES = 30


def plots_of(evaluation: Evaluation) -> Iterator[tuple[str, str]]:
    """(what it shows, SVG) of each; gains only where something can be gained."""
    names = [way.name for way in evaluation.ways]
    if gains := [row for row in evaluation.images if row.can_gain]:
        yield "Gain against blur strength", _gains(gains, names)
    yield "Time against size", _times(evaluation.images, names)
    if scenes := [each for each in evaluation.bins if each.by == "scene"]:
        yield from _scenes(scenes)


def _gains(rows: Sequence[Measured], names: Sequence[str]) -> str:
    points = [
        Point(row.blur_px, row.gain_db, names.index(row.way), f"{row.name}, {row.way}: {row.gain_db:+.2f} dB")
        for row in rows
    ]
    x = Axis.around("blur, sigma in px", [point.x for point in points])
    y = Axis.around("gain, dB", [0.0, *(point.y for point in points)])
    return scatter("gain against blur strength", points, x, y)


def _times(rows: Sequence[Measured], names: Sequence[str]) -> str:
    points = [
        Point(row.megapixels, row.seconds, names.index(row.way), f"{row.name}, {row.way}: {row.seconds:.3g} s")
        for row in rows
    ]
    x = Axis.around("size, megapixels", [point.x for point in points], log=True)
    y = Axis.around("time, s", [point.y for point in points], log=True)
    return scatter("time against size", points, x, y)


def _scenes(by_way: Sequence[Bins]) -> Iterator[tuple[str, str]]:
    """A row a scene, that with the least gain of the first way first."""
    rows = []
    for same in zip(*(bins.groups for bins in by_way), strict=True):
        gains = [(bins.way, group.gain_db) for bins, group in zip(by_way, same, strict=True)]
        rows.append((f"{same[0].name} ({same[0].images})", gains))
    rows.sort(key=lambda row: row[1][0][1].mean)
    told = f", the {MOST_SCENES} least of {len(rows)}" if len(rows) > MOST_SCENES else ""
    title = f"Gain by scene{told}, with intervals where a scene has five images"
    yield title, intervals("gain by scene", rows[:MOST_SCENES], "gain, dB")
