"""Whether a challenger takes the champion's place: decided on evidence, image by image.

Both restore the same images. The challenger wins where the lower bound of the paired difference lies above a margin, no
group of images is harmed, and it is not slower.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from deblur.errors import DataError, SettingError
from deblur.evaluation.evaluation import Evaluation
from deblur.evaluation.measuring import Measured
from deblur.evaluation.scores import NOTHING_TO_GAIN_DB
from deblur.evaluation.statistics import GROUPS_AT_LEAST, bootstrap
from deblur.evaluation.summary import WEAK
from deblur.interval import Interval

MARGIN_DB, HARM_DB, SLOWER_AT_MOST = 0.05, 0.1, 1.10
IMAGES_AT_LEAST = 20


@dataclass(frozen=True)
class Rules:
    """What a challenger must do.

    Args:
        margin_db: what the lower bound of the difference must exceed.
        by_image: draw images instead of scenes, also where there are fewer than five scenes.
        allow_slower: leave its time out of the decision.

    Raises:
        SettingError: a margin below 0, or none.
    """

    margin_db: float = MARGIN_DB
    by_image: bool = False
    allow_slower: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.margin_db < math.inf:
            raise SettingError(f"margin is {self.margin_db:g} dB; it must be 0 or more.")


@dataclass(frozen=True)
class GroupChange:
    """Mean PSNR of the challenger minus the champion's on some images."""

    name: str
    images: int
    psnr_db: float


@dataclass(frozen=True)
class Verdict:
    """The decision, and what it rests on.

    Args:
        against: the champion, or "do nothing" where there is none.
        difference_db: PSNR of the challenger minus that of ``against``, over all pairs.
        groups: weak blur, and each set.
        slowness: seconds of the challenger over the champion's, 95 %; None where there is no champion.
        reasons: why it does not win; none where it does.
    """

    challenger: str
    against: str
    images: int
    difference_db: Interval
    groups: list[GroupChange]
    slowness: Interval | None
    reasons: list[str]

    @property
    def wins(self) -> bool:
        """Whether it takes the champion's place."""
        return not self.reasons


def decide(evaluation: Evaluation, challenger: str, champion: str | None, rules: Rules = Rules()) -> Verdict:
    """Judge two ways of an evaluation; without a champion, the challenger against doing nothing.

    Raises:
        DataError: fewer than twenty pairs on which something can be gained.
        SettingError: fewer than five scenes, and nobody said that images may be drawn.
    """
    better = [row for row in evaluation.images if row.way == challenger]
    worse = [row for row in evaluation.images if row.way == champion]
    pairs = list(zip(better, worse if champion else [replace(row, restored=row.blurry) for row in better], strict=True))
    counted = [(a, b) for a, b in pairs if a.can_gain]
    scenes = [str(a.place) for a, _ in counted]
    check_enough(scenes, by_image=rules.by_image)
    difference = bootstrap([_change_db(*pair) for pair in counted], scenes, by_image=rules.by_image)
    groups, slowness = [], None
    if champion:
        groups = _groups(evaluation, pairs)
        ratios = [math.log(a.seconds / b.seconds) for a, b in pairs]
        logs = bootstrap(ratios, scenes=[""] * len(ratios), by_image=True)
        slowness = replace(logs, mean=math.exp(logs.mean), low=math.exp(logs.low), high=math.exp(logs.high))
    margin_db = rules.margin_db if champion else 0.0
    reasons = list(_reasons(difference, groups, slowness, margin_db, rules.allow_slower))
    return Verdict(challenger, champion or "do nothing", len(counted), difference, groups, slowness, reasons)


def beats(evaluation: Evaluation, way: str, other: str, rules: Rules = Rules()) -> bool:
    """Whether the lower bound of the paired difference of PSNR, over all pairs, lies above 0."""
    return decide(evaluation, way, other, replace(rules, margin_db=0.0)).difference_db.above_zero


def check_enough(scenes: Sequence[str], *, by_image: bool) -> None:
    """Whether pairs on which something can be gained, given by their scenes, are enough to decide.

    Raises:
        DataError: fewer than twenty.
        SettingError: fewer than five scenes, and images may not be drawn.
    """
    if len(scenes) < IMAGES_AT_LEAST:
        raise DataError(
            f"The sets hold {len(scenes)} pairs on which something can be gained; a decision needs at least "
            f"{IMAGES_AT_LEAST}. Name more data."
        )
    if len(set(scenes)) < GROUPS_AT_LEAST and not by_image:
        raise SettingError(
            f"The {len(scenes)} pairs are of {len(set(scenes))} scenes; an interval by scene needs {GROUPS_AT_LEAST}. "
            "Name data of more scenes, give a table of scenes, or set by_image: the interval is then over images, and "
            "too narrow if they are alike."
        )


def _change_db(row: Measured, than: Measured) -> float:
    """Of PSNR. Above 58.9 dB a difference is less than rounding to 8 bit; 100 dB of equal pictures measure nothing."""
    return min(row.restored.psnr_db, NOTHING_TO_GAIN_DB) - min(than.restored.psnr_db, NOTHING_TO_GAIN_DB)


def _groups(evaluation: Evaluation, pairs: Sequence[tuple[Measured, Measured]]) -> list[GroupChange]:
    """Weak blur, then each set."""
    named = {WEAK: [(a, b) for a, b in pairs if a.is_weak]}
    for facts in evaluation.sets:
        named[facts.name] = [(a, b) for a, b in pairs if a.set == facts.name and (facts.sharp or a.can_gain)]
    return [
        GroupChange(name, len(group), fmean(_change_db(*pair) for pair in group))
        for name, group in named.items()
        if group
    ]


def _reasons(
    difference: Interval, groups: Sequence[GroupChange], slowness: Interval | None, margin_db: float, allow_slower: bool
) -> Iterator[str]:
    if not difference.low > margin_db:
        yield f"the lower bound of the difference is {difference.low:+.3f} dB and must be above {margin_db:g}"
    for each in groups:
        if each.psnr_db < -HARM_DB:
            yield f"{each.name} ({each.images} images) loses {-each.psnr_db:.2f} dB, and may lose {HARM_DB:g}"
    if slowness and slowness.low > SLOWER_AT_MOST and not allow_slower:
        yield (
            f"it takes {slowness.mean:.2f} times as long (at least {slowness.low:.2f}), and may take "
            f"{SLOWER_AT_MOST:.2f} unless allow_slower is set"
        )
