"""Champion and challenger: what decides, on figures made up for it, and how often that is right."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from deblur.errors import DataError, SettingError
from deblur.evaluation.contest import Rules, decide
from deblur.evaluation.evaluation import Evaluation, SetFacts, WayFacts
from deblur.evaluation.measuring import Figures, Measured


def rows(
    way: str,
    psnr_db: Sequence[float],
    *,
    images: int = 4,
    input_db: float = 25.0,
    seconds: float = 1.0,
    name: str = "pairs",
) -> list[Measured]:
    """Images of scenes in turn, ``images`` each."""
    before = Figures(input_db, 0.8, 0.8, 0.7, input_db, 0.0, None)
    return [
        Measured(
            name, way, f"{i:04}", f"s{i // images}", name, 100, 100, 2.0, replace(before, psnr_db=db), before, seconds
        )
        for i, db in enumerate(psnr_db)
    ]


def evaluation(*found: list[Measured], sharp: tuple[str, ...] = ()) -> Evaluation:
    images = [row for each in found for row in each]
    sets = [SetFacts(name, name, 1, 1, name in sharp) for name in dict.fromkeys(row.set for row in images)]
    ways = [WayFacts(way, way, "f32") for way in dict.fromkeys(row.way for row in images)]
    return Evaluation(sets, ways, images, [], "rgb", {})


def test_better_by_enough_wins() -> None:
    verdict = decide(evaluation(rows("new", [26.2] * 20), rows("old", [26.0] * 20)), "new", "old")
    assert verdict.wins
    assert verdict.difference_db.low == pytest.approx(0.2)
    assert [group.name for group in verdict.groups] == ["pairs"]
    assert not decide(evaluation(rows("new", [26.04] * 20), rows("old", [26.0] * 20)), "new", "old").wins, "the margin"


def test_harming_one_group_is_enough_to_lose() -> None:
    better = [rows("new", [27.0] * 20), rows("old", [26.0] * 20)]
    weak = [rows(way, [db] * 4, input_db=31.0, name="weak") for way, db in (("new", 31.0), ("old", 31.5))]
    lost = decide(evaluation(*better, *weak), "new", "old").reasons
    assert "weak blur (4 images) loses 0.50 dB, and may lose 0.1" in lost
    kept = [rows(way, [db] * 4, input_db=100.0, name="sharp") for way, db in (("new", 44.0), ("old", 45.0))]
    (reason,) = decide(evaluation(*better, *kept, sharp=("sharp",)), "new", "old").reasons
    assert reason.startswith("sharp (4 images) loses 1.00 dB")
    invisible = [rows(way, [db] * 4, input_db=100.0, name="sharp") for way, db in (("new", 60.0), ("old", 100.0))]
    assert decide(evaluation(*better, *invisible, sharp=("sharp",)), "new", "old").wins


def test_one_perfect_picture_decides_nothing() -> None:
    """PSNR of equal pictures is infinite; the 100 dB that stand for it would outweigh nineteen others."""
    new = rows("new", [100.0] + [25.9] * 19)
    assert decide(evaluation(new, rows("old", [59.0] + [26.0] * 19)), "new", "old").difference_db.mean < 0


@pytest.mark.parametrize("margin_db", [-1.0, float("nan"), float("inf")])
def test_a_margin_that_asks_for_nothing_is_refused(margin_db: float) -> None:
    with pytest.raises(SettingError, match="must be 0 or more"):
        Rules(margin_db)


def test_slower_needs_leave() -> None:
    slow = evaluation(rows("new", [27.0] * 20, seconds=1.3), rows("old", [26.0] * 20))
    verdict = decide(slow, "new", "old")
    assert verdict.slowness is not None
    assert verdict.slowness.mean == pytest.approx(1.3)
    assert [reason for reason in verdict.reasons if "times as long" in reason]
    assert decide(slow, "new", "old", Rules(allow_slower=True)).wins
    assert decide(evaluation(rows("new", [27.0] * 20, seconds=1.05), rows("old", [26.0] * 20)), "new", "old").wins


def test_the_first_champion_must_surely_gain_over_the_input() -> None:
    assert decide(evaluation(rows("new", [25.3] * 20)), "new", None).wins
    verdict = decide(evaluation(rows("new", [24.9, 25.1] * 10, images=2)), "new", None)
    assert not verdict.wins
    assert verdict.against == "do nothing"


def test_too_few_images_or_scenes_decide_nothing() -> None:
    with pytest.raises(DataError, match=r"hold 19 pairs .* at least 20"):
        decide(evaluation(rows("new", [27.0] * 19), rows("old", [26.0] * 19)), "new", "old")
    few = evaluation(rows("new", [27.0] * 20, images=10), rows("old", [26.0] * 20, images=10))
    with pytest.raises(SettingError, match=r"of 2 scenes.* needs 5.*by_image"):
        decide(few, "new", "old")
    verdict = decide(few, "new", "old", Rules(by_image=True))
    assert verdict.wins
    assert verdict.difference_db.by == "images"


@pytest.mark.parametrize(("scenes", "found"), [(5, 0.15), (6, 0.2), (20, 0.6)])
def test_equal_models_are_seldom_told_apart_and_a_better_one_is_found(scenes: int, found: float) -> None:
    """Scenes differ by 0.2 dB in how the two compare, their four images by 0.3 dB."""
    rng = np.random.default_rng(scenes)

    def promoted(better_db: float) -> float:
        wins = 0
        for _ in range(300):
            difference = better_db + rng.normal(0, 0.2, scenes).repeat(4) + rng.normal(0, 0.3, 4 * scenes)
            wins += decide(
                evaluation(rows("new", 26 + difference), rows("old", [26.0] * 4 * scenes)), "new", "old"
            ).wins
        return wins / 300

    assert promoted(0.0) <= 0.05
    assert promoted(0.2) >= found
