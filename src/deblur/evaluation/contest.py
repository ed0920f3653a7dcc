"""Whether a challenger takes the champion's place: decided on evidence, image by image.

Both restore the same images. The challenger wins where the lower bound of the paired difference lies above a margin, no
group of images is harmed, and it is not slower.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from deblur.errors import DataError, SettingError
from deblur.evaluation.evaluation import Evaluation
from deblur.evaluation.measuring import Measured
from deblur.evaluation.scores import NOTHING_TO_GAIN_DB
from deblur.evaluation.statistics import GROUPS_AT_LEAST, bootstrap
from deblur.evaluation.summary import WEAK, weak_blur
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
    """

    margin_db: float = MARGIN_DB
    by_image: bool = False
    allow_slower: bool = False


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
        SettingError: fewer than five scenes, and nobody said that images may be drawn; or a margin below 0.
    """
    if not 0 <= rules.margin_db < math.inf:
        raise SettingError(f"margin is {rules.margin_db:g} dB; it must be 0 or more.")
    better = _ranked(evaluation, challenger)
    worse = _ranked(evaluation, champion) if champion else [replace(row, restored=row.blurry) for row in better]
    pairs = [(a, b) for a, b in zip(better, worse, strict=True) if a.can_gain]
    _check_enough(evaluation, [a for a, _ in pairs], rules.by_image)
    scenes = [str(a.place) for a, _ in pairs]
    changes = [_change_db(a, b) for a, b in pairs]
    difference = bootstrap(changes, scenes, by_image=rules.by_image)
    groups, slowness = [], None
    if champion:
        groups = list(_groups(evaluation, better, worse))
        ratios = [math.log(a.seconds / b.seconds) for a, b in zip(better, worse, strict=True)]
        logs = bootstrap(ratios, scenes=[""] * len(ratios), by_image=True)
        slowness = replace(logs, mean=math.exp(logs.mean), low=math.exp(logs.low), high=math.exp(logs.high))
    margin_db = rules.margin_db if champion else 0.0
    reasons = list(_reasons(difference, groups, slowness, margin_db, rules.allow_slower))
    return Verdict(challenger, champion or "do nothing", len(pairs), difference, groups, slowness, reasons)


def beats(evaluation: Evaluation, way: str, other: str, rules: Rules = Rules()) -> bool:
    """Whether the lower bound of the paired difference of PSNR, over all pairs, lies above 0."""
    return decide(evaluation, way, other, replace(rules, margin_db=0.0)).difference_db.above_zero


def _ranked(evaluation: Evaluation, way: str) -> list[Measured]:
    return [row for row in evaluation.images if row.way == way]


def _check_enough(evaluation: Evaluation, pairs: Sequence[Measured], by_image: bool) -> None:
    if len(pairs) < IMAGES_AT_LEAST:
        raise DataError(
            f"The sets hold {len(pairs)} pairs on which something can be gained; a decision needs at least "
            f"{IMAGES_AT_LEAST}. Name more data."
        )
    scenes = {row.place for row in pairs}
    if len(scenes) < GROUPS_AT_LEAST and not by_image:
        raise SettingError(
            f"The {len(pairs)} pairs are of {len(scenes)} scenes; an interval by scene needs {GROUPS_AT_LEAST}. Name "
            "data of more scenes, give a table of scenes, or set by_image: the interval is then over images, and too "
            "narrow if they are alike."
        )


def _change_db(row: Measured, than: Measured) -> float:
    """Of PSNR. Above 58.9 dB a difference is less than rounding to 8 bit; 100 dB of equal pictures measure nothing."""
    return min(row.restored.psnr_db, NOTHING_TO_GAIN_DB) - min(than.restored.psnr_db, NOTHING_TO_GAIN_DB)


def _groups(evaluation: Evaluation, better: Sequence[Measured], worse: Sequence[Measured]) -> Iterator[GroupChange]:
    """Weak blur, then each set."""
    other = {(row.set, row.name): row for row in worse}

    def change(name: str, rows: Sequence[Measured]) -> GroupChange:
        changes = [_change_db(row, other[row.set, row.name]) for row in rows]
        return GroupChange(name, len(rows), sum(changes) / len(changes))

    weak = weak_blur(better)
    if weak:
        yield change(WEAK, weak)
    for facts in evaluation.sets:
        rows = [row for row in better if row.set == facts.name and (facts.sharp or row.can_gain)]
        if rows:
            yield change(facts.name, rows)


def _reasons(
    difference: Interval,
    groups: Sequence[GroupChange],
    slowness: Interval | None,
    margin_db: float,
    allow_slower: bool,
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
