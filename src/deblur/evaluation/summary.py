"""What many images say together: means with intervals, groups, the worst ones, and models against each other."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean, median

from deblur.evaluation.measuring import Figures, Measured, mean_of, minus
from deblur.evaluation.statistics import bootstrap
from deblur.interval import Interval

BLUR_EDGES_PX = (1.0, 2.0, 3.0, 5.0)
WORST = 10
WEAK = "weak blur"


@dataclass(frozen=True)
class Group:
    """The gain of one way on some images."""

    name: str
    images: int
    gain_db: Interval
    shifted_gain_db: Interval | None


@dataclass(frozen=True)
class Summary:
    """One way on one set of pairs: means over ``images``, of seconds medians; on ``left_out`` nothing can be gained."""

    set: str
    way: str
    images: int
    left_out: int
    restored: Figures
    blurry: Figures
    gain_db: Interval
    shifted_gain_db: Interval | None
    least_gain_db: float
    seconds: float
    seconds_per_megapixel: float


@dataclass(frozen=True)
class Kept:
    """Sharp photographs, of which every change is a harm: PSNR of the output against the photograph."""

    set: str
    way: str
    images: int
    psnr_db: float
    least_psnr_db: float
    least: str
    seconds_per_megapixel: float


@dataclass(frozen=True)
class Difference:
    """PSNR of ``way`` minus that of ``than``, image by image."""

    set: str
    way: str
    than: str
    psnr_db: Interval
    shifted_psnr_db: Interval | None


@dataclass(frozen=True)
class Bins:
    """The gains of one way, by one property of the images."""

    way: str
    by: str
    groups: list[Group]


def summary(rows: Sequence[Measured]) -> Summary | None:
    """Of one way on one set of pairs; None where nothing can be gained on any of them."""
    some = [row for row in rows if row.can_gain]
    if not some:
        return None
    gained = group("", some)
    return Summary(
        set=some[0].set,
        way=some[0].way,
        images=len(some),
        left_out=len(rows) - len(some),
        restored=mean_of([row.restored for row in some]),
        blurry=mean_of([row.blurry for row in some]),
        gain_db=gained.gain_db,
        shifted_gain_db=gained.shifted_gain_db,
        least_gain_db=min(row.gain_db for row in some),
        seconds=median(row.seconds for row in some),
        seconds_per_megapixel=_pace(some),
    )


def kept(rows: Sequence[Measured]) -> Kept:
    """Of one way on one set of sharp photographs."""
    least = min(rows, key=lambda row: row.restored.psnr_db)
    mean_db = fmean(row.restored.psnr_db for row in rows)
    return Kept(least.set, least.way, len(rows), mean_db, least.restored.psnr_db, least.name, _pace(rows))


def group(name: str, rows: Sequence[Measured]) -> Group:
    """The gain on these images, with its interval by scene. Shifted only where all images allow it."""
    return Group(
        name,
        len(rows),
        _interval([row.gain_db for row in rows], rows),
        _interval_if_all([row.shifted_gain_db for row in rows], rows),
    )


def difference(rows: Sequence[Measured], than: Sequence[Measured]) -> Difference | None:
    """Of two ways on the same images in the same order; None where nothing can be gained on any of them."""
    pairs = [(a, b) for a, b in zip(rows, than, strict=True) if a.can_gain]
    if not pairs:
        return None
    some = [a for a, _ in pairs]
    shifted = [minus(a.restored.shifted_psnr_db, b.restored.shifted_psnr_db) for a, b in pairs]
    plain = [a.restored.psnr_db - b.restored.psnr_db for a, b in pairs]
    return Difference(rows[0].set, rows[0].way, than[0].way, _interval(plain, some), _interval_if_all(shifted, some))


def bins(rows: Sequence[Measured]) -> list[Bins]:
    """The gains of one way by blur strength, size and scene, over all its pairs; and those of weak blur."""
    some = [row for row in rows if row.can_gain]
    found = [
        Bins(some[0].way, by, [group(name, of) for name, of in _split(some, key).items()])
        for by, key in (("blur strength", _blur_bin), ("size", _size), ("scene", _scene))
    ]
    weak = [row for row in some if row.is_weak]
    return [Bins(some[0].way, "weakness", [group(WEAK, weak)]), *found] if weak else found


def worst(rows: Iterable[Measured]) -> list[Measured]:
    """The ten with the least gain, the least first."""
    return sorted((row for row in rows if row.can_gain), key=lambda row: row.gain_db)[:WORST]


def _split(rows: Sequence[Measured], key: Callable[[Measured], tuple[float, str]]) -> dict[str, list[Measured]]:
    found: dict[str, list[Measured]] = {}
    for row in sorted(rows, key=key):
        found.setdefault(key(row)[1], []).append(row)
    return found


def _blur_bin(row: Measured) -> tuple[float, str]:
    """(place in the order, name)"""
    above = [edge for edge in BLUR_EDGES_PX if row.blur_px >= edge]
    below = [edge for edge in BLUR_EDGES_PX if row.blur_px < edge]
    low = above[-1] if above else 0.0
    return low, f"{low:g} to {below[0]:g} px" if below else f"{low:g} px and more"


def _size(row: Measured) -> tuple[float, str]:
    return row.megapixels, f"{row.width_px} x {row.height_px}"


def _scene(row: Measured) -> tuple[float, str]:
    return 0.0, f"{row.set}: {row.scene}" if row.scene else row.set


def _interval(values: Sequence[float], rows: Sequence[Measured]) -> Interval:
    return bootstrap(values, [str(row.place) for row in rows])


def _interval_if_all(values: Sequence[float | None], rows: Sequence[Measured]) -> Interval | None:
    there = [value for value in values if value is not None]
    return _interval(there, rows) if len(there) == len(values) else None


def _pace(rows: Sequence[Measured]) -> float:
    return median(row.seconds / row.megapixels for row in rows)
