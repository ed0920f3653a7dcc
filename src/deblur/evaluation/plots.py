"""The plots of a report, of its models: gains against blur strength, time against size, gains by scene.

They are SVG inside a page, whose style gives the colours: ``w0``, ``w1`` ... are the models, light or dark.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

from deblur.evaluation.evaluation import Evaluation
from deblur.evaluation.measuring import Measured
from deblur.evaluation.summary import Bins
from deblur.interval import Interval

WIDTH, HEIGHT = 480, 320
LEFT, RIGHT, TOP, BOTTOM = 58, 12, 12, 44
COLOURS, MOST_SCENES = 8, 30


def plots_of(evaluation: Evaluation) -> Iterator[tuple[str, str]]:
    """(what it shows, SVG) of each; gains only where something can be gained, and time only where sizes differ."""
    models = evaluation.models
    rows = [row for row in evaluation.images if row.way in models]
    if gains := [row for row in rows if row.can_gain]:
        points = [
            Point(row.blur_px, row.gain_db, models.index(row.way), f"{_of(row)}: {row.gain_db:+.2f} dB")
            for row in gains
        ]
        yield "Gain against blur strength", _scatter(points, "blur, sigma in px", "gain, dB")
    if len({row.megapixels for row in rows}) > 1:
        points = [
            Point(row.megapixels, row.seconds, models.index(row.way), f"{_of(row)}: {row.seconds:.3g} s")
            for row in rows
        ]
        yield "Time against size", _scatter(points, "size, megapixels", "time, s")
    if scenes := [each for each in evaluation.bins if each.by == "scene"]:
        yield from _scenes(scenes)


def _of(row: Measured) -> str:
    return f"{row.name}, {row.way}"


def _scenes(by_way: Sequence[Bins]) -> Iterator[tuple[str, str]]:
    """A row a scene, that with the least gain of the first model first."""
    rows = []
    for same in zip(*(bins.groups for bins in by_way), strict=True):
        gains = [(bins.way, group.gain_db) for bins, group in zip(by_way, same, strict=True)]
        rows.append((f"{same[0].name} ({same[0].images})", gains))
    rows.sort(key=lambda row: row[1][0][1].mean)
    told = f", the {MOST_SCENES} least of {len(rows)}" if len(rows) > MOST_SCENES else ""
    title = f"Gain by scene{told}, with intervals where a scene has five images"
    yield title, _intervals(rows[:MOST_SCENES])


@dataclass(frozen=True)
class Point:
    """A mark of one model, which tells its title where a pointer rests."""

    x: float
    y: float
    model: int
    title: str


@dataclass(frozen=True)
class Axis:
    """From ``low`` to ``high``, in steps that people count in."""

    label: str
    low: float
    high: float

    @classmethod
    def around(cls, label: str, values: Sequence[float]) -> "Axis":
        """From 0, or below it, to the values, with a little room at both ends."""
        low, high = min(0.0, *values), max(0.0, *values)
        room = 0.05 * (high - low) or 0.5
        return cls(label, low - room, high + room)

    def at(self, value: float) -> float:
        """From 0 at the low end to 1 at the high one."""
        return (value - self.low) / (self.high - self.low)

    @property
    def ticks(self) -> list[float]:
        """Multiples of 1, 2 or 5 times a power of ten, three of them or more."""
        rough = (self.high - self.low) / 5
        power = 10.0 ** math.floor(math.log10(rough))
        step = next(m * power for m in (1, 2, 5, 10) if m * power >= rough)
        return [n * step for n in range(math.ceil(self.low / step), math.floor(self.high / step) + 1)]


def _scatter(points: Sequence[Point], x_label: str, y_label: str) -> str:
    """One mark a point; those of the first model lie on top."""
    x, y = Axis.around(x_label, [p.x for p in points]), Axis.around(y_label, [p.y for p in points])
    marks = [
        f'<circle class="w{p.model % COLOURS}" cx="{_right(x, p.x):.1f}" cy="{_up(y, p.y):.1f}" r="4">'
        f"<title>{escape(p.title)}</title></circle>"
        for p in sorted(points, key=lambda p: -p.model)
    ]
    return _svg(f"{y_label} against {x_label}", HEIGHT, [*_vertical(x, HEIGHT, LEFT), *_horizontal(y), *marks])


def _intervals(rows: Sequence[tuple[str, Sequence[tuple[str, Interval]]]]) -> str:
    """A row for each name: its mean gains, one a model, with their intervals where they are finite."""
    found = [interval for _, of_models in rows for _, interval in of_models]
    x = Axis.around("gain, dB", [end for i in found for end in (i.mean, i.low, i.high) if math.isfinite(end)])
    step = 30 + 9 * max(len(of_models) for _, of_models in rows)
    height = TOP + step * len(rows) + BOTTOM
    marks = list(_vertical(x, height, left=RIGHT))
    for number, (name, of_models) in enumerate(rows):
        top = TOP + step * number
        marks.append(f'<text class="name" x="{RIGHT}" y="{top + 12}">{escape(name)}</text>')
        for model, (told, each) in enumerate(of_models):
            y = top + 21 + 9 * model
            line = ""
            if math.isfinite(each.low):
                line = f'<path d="M{_right(x, each.low, RIGHT):.1f} {y}H{_right(x, each.high, RIGHT):.1f}"/>'
            dot = f'<circle cx="{_right(x, each.mean, RIGHT):.1f}" cy="{y}" r="4"/>'
            title = f"<title>{escape(f'{told}: {each} dB')}</title>"
            marks.append(f'<g class="w{model % COLOURS}">{title}{line}{dot}</g>')
    return _svg("gain by scene", height, marks)


def _svg(title: str, height: int, marks: Sequence[str]) -> str:
    head = f'<svg viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" role="img"'
    return f'{head} aria-label="{escape(title)}">{"".join(marks)}</svg>'


def _right(x: Axis, value: float, left: int = LEFT) -> float:
    return left + x.at(value) * (WIDTH - left - RIGHT)


def _up(y: Axis, value: float) -> float:
    return HEIGHT - BOTTOM - y.at(value) * (HEIGHT - TOP - BOTTOM)


def _horizontal(y: Axis) -> Iterator[str]:
    for tick in y.ticks:
        at = _up(y, tick)
        yield f'<path class="{_kind(tick)}" d="M{LEFT} {at:.1f}H{WIDTH - RIGHT}"/>'
        yield f'<text x="{LEFT - 6}" y="{at + 4:.1f}" text-anchor="end">{_said(tick)}</text>'
    middle = (TOP + HEIGHT - BOTTOM) / 2
    yield f'<text class="of" transform="translate(13 {middle:.0f})rotate(-90)">{escape(y.label)}</text>'


def _vertical(x: Axis, height: int, left: int) -> Iterator[str]:
    for tick in x.ticks:
        at = _right(x, tick, left)
        yield f'<path class="{_kind(tick)}" d="M{at:.1f} {TOP}V{height - BOTTOM}"/>'
        yield f'<text x="{at:.1f}" y="{height - BOTTOM + 17}" text-anchor="middle">{_said(tick)}</text>'
    yield f'<text class="of" x="{(left + WIDTH - RIGHT) / 2:.0f}" y="{height - 7}">{escape(x.label)}</text>'


def _kind(tick: float) -> str:
    return "grid" if tick else "zero"


def _said(tick: float) -> str:
    return f"{tick:.3g}".replace("-", "\N{MINUS SIGN}")
