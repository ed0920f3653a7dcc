"""Plots as SVG inside a page, whose style gives the colours: ``w0``, ``w1`` ... are the ways, light or dark."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

from deblur.interval import Interval

WIDTH, HEIGHT = 480, 320
LEFT, RIGHT, TOP, BOTTOM = 50, 12, 12, 44
COLOURS, MOST_TICKS = 8, 7
LOG_ROOM = 1.6
"""Squared, it is more than from one tick to the next, 2.5 at most: there is always one."""


@dataclass(frozen=True)
class Point:
    """A mark of one way, which tells its title where a pointer rests."""

    x: float
    y: float
    way: int
    title: str


@dataclass(frozen=True)
class Axis:
    """From ``low`` to ``high``, in steps that people count in; ``log`` has no 0."""

    label: str
    low: float
    high: float
    log: bool = False

    @classmethod
    def around(cls, label: str, values: Sequence[float], *, log: bool = False) -> "Axis":
        """With a little room at both ends."""
        if log:
            return cls(label, min(values) / LOG_ROOM, max(values) * LOG_ROOM, log)
        room = 0.05 * (max(values) - min(values)) or 0.5
        return cls(label, min(values) - room, max(values) + room)

    def at(self, value: float) -> float:
        """From 0 at the low end to 1 at the high one; beyond them it stays there."""
        low, high, value = self.low, self.high, min(max(value, self.low), self.high)
        if self.log:
            low, high, value = math.log(low), math.log(high), math.log(value)
        return (value - low) / (high - low)

    @property
    def ticks(self) -> list[float]:
        """Multiples of 1, 2 or 5, or of a power of ten, three of them or more."""
        if self.log:
            decades = [10.0**n for n in range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)]
            fine = [x for decade in decades for x in (decade, 2 * decade, 5 * decade) if self.low <= x <= self.high]
            return fine if len(fine) <= MOST_TICKS else [x for x in fine if x in decades]
        rough = (self.high - self.low) / 5
        power = 10.0 ** math.floor(math.log10(rough))
        step = next(m * power for m in (1, 2, 5, 10) if m * power >= rough)
        return [n * step for n in range(math.ceil(self.low / step), math.floor(self.high / step) + 1)]


def scatter(title: str, points: Sequence[Point], x: Axis, y: Axis) -> str:
    """One mark a point; those of the first way lie on top."""
    marks = [
        f'<circle class="w{p.way % COLOURS}" cx="{_right(x, p.x):.1f}" cy="{_up(y, p.y):.1f}" r="4">'
        f"<title>{escape(p.title)}</title></circle>"
        for p in sorted(points, key=lambda p: -p.way)
    ]
    return _svg(title, HEIGHT, [*_frame(x, y), *marks])


def intervals(title: str, rows: Sequence[tuple[str, Sequence[tuple[str, Interval]]]], label: str) -> str:
    """A row for each name: its means, one a way, with their intervals where they are finite."""
    found = [interval for _, of_ways in rows for _, interval in of_ways]
    ends = [x for each in found for x in (each.mean, each.low, each.high) if math.isfinite(x)]
    x = Axis.around(label, [0.0, *ends])
    step = 30 + 9 * max(len(of_ways) for _, of_ways in rows)
    height = TOP + step * len(rows) + BOTTOM
    marks = list(_vertical(x, height, left=RIGHT))
    for number, (name, of_ways) in enumerate(rows):
        top = TOP + step * number
        marks.append(f'<text x="{RIGHT}" y="{top + 12}">{escape(name)}</text>')
        for way, (told, each) in enumerate(of_ways):
            y = top + 21 + 9 * way
            low, mean, high = (_right(x, value, RIGHT) for value in (each.low, each.mean, each.high))
            line = f'<path d="M{low:.1f} {y}H{high:.1f}"/>' if math.isfinite(each.low) else ""
            dot = f'<circle cx="{mean:.1f}" cy="{y}" r="4"/>'
            marks.append(f'<g class="w{way % COLOURS}"><title>{escape(f"{told}: {each} dB")}</title>{line}{dot}</g>')
    return _svg(title, height, marks)


def _svg(title: str, height: int, marks: Sequence[str]) -> str:
    head = f'<svg viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" role="img"'
    return f'{head} aria-label="{escape(title)}">{"".join(marks)}</svg>'


def _right(x: Axis, value: float, left: int = LEFT) -> float:
    return left + x.at(value) * (WIDTH - left - RIGHT)


def _up(y: Axis, value: float) -> float:
    return HEIGHT - BOTTOM - y.at(value) * (HEIGHT - TOP - BOTTOM)


def _frame(x: Axis, y: Axis) -> Iterator[str]:
    yield from _vertical(x, HEIGHT, LEFT)
    for tick in y.ticks:
        at = _up(y, tick)
        yield f'<path class="{_kind(tick, y)}" d="M{LEFT} {at:.1f}H{WIDTH - RIGHT}"/>'
        yield f'<text x="{LEFT - 6}" y="{at + 4:.1f}" text-anchor="end">{_said(tick)}</text>'
    middle = (TOP + HEIGHT - BOTTOM) / 2
    yield f'<text class="of" transform="translate(13 {middle:.0f})rotate(-90)">{escape(y.label)}</text>'


def _vertical(x: Axis, height: int, left: int) -> Iterator[str]:
    for tick in x.ticks:
        at = _right(x, tick, left)
        yield f'<path class="{_kind(tick, x)}" d="M{at:.1f} {TOP}V{height - BOTTOM}"/>'
        yield f'<text x="{at:.1f}" y="{height - BOTTOM + 17}" text-anchor="middle">{_said(tick)}</text>'
    yield f'<text class="of" x="{(left + WIDTH - RIGHT) / 2:.0f}" y="{height - 7}">{escape(x.label)}</text>'


def _kind(tick: float, axis: Axis) -> str:
    return "zero" if tick == 0 and not axis.log else "grid"


def _said(tick: float) -> str:
    return f"{tick:.3g}".replace("-", "\N{MINUS SIGN}")
