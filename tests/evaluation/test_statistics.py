"""How sure a mean is: what is drawn, and how often the interval is right, measured on models that are made up."""

from collections.abc import Callable

import numpy as np
import pytest
from scipy.stats import t

from deblur.evaluation.statistics import bootstrap
from deblur.interval import Interval

DRAWN = 1000


def test_scenes_are_drawn_not_their_frames() -> None:
    """Twenty frames of each of six scenes say as much as six frames would."""
    of_scene = [0.1, 0.4, -0.2, 0.3, 0.5, 0.2]
    scenes = [f"s{number}" for number in range(6)]
    once, often = bootstrap(of_scene, scenes), bootstrap(np.repeat(of_scene, 20), np.repeat(scenes, 20))
    assert (often.by, often.groups) == ("scenes", 6)
    assert (often.low, often.high) == pytest.approx((once.low, once.high))
    images = bootstrap(np.repeat(of_scene, 20), ["one"] * 120)
    assert images == bootstrap(np.repeat(of_scene, 20), np.repeat(scenes, 20), by_image=True)
    assert (images.by, images.groups) == ("images", 120)
    assert images.high - images.low < 0.4 * (often.high - often.low)
    assert once == bootstrap(of_scene, scenes), "deterministic"
    assert str(once).startswith("+0.22 [")
    with pytest.raises(ValueError, match="give one scene a value"):
        bootstrap([], [])


def test_a_few_images_prove_nothing() -> None:
    few = bootstrap([1.0, 1.1, 0.9, 1.0], ["a", "b", "c", "d"])
    assert (few.low, few.high, few.groups, few.by) == (-np.inf, np.inf, 4, "images")
    assert not few.above_zero
    assert bootstrap([1.0, 1.1, 0.9, 1.0, 1.2], list("abcde")).above_zero


@pytest.mark.parametrize("n", [12, 40])
def test_it_is_as_wide_as_students_where_values_are_normal(n: int) -> None:
    rng = np.random.default_rng(n)
    values = rng.normal(0, 1, (20, n))
    widths = [found.high - found.low for found in (bootstrap(row, [""] * n) for row in values)]
    students = [np.diff(t.interval(0.95, n - 1, row.mean(), row.std(ddof=1) / np.sqrt(n))).item() for row in values]
    assert np.mean(widths) == pytest.approx(np.mean(students), rel=0.04)


@pytest.mark.parametrize(("scenes", "found_above_0"), [(5, 0.36), (6, 0.42), (20, 0.92)])
def test_how_often_it_is_right(scenes: int, found_above_0: float) -> None:
    """Two equal models, four images a scene, scenes that differ by 0.2 dB, images by 0.3 dB; drawn 1000 times.

    The interval moves with the values, so the same draws say what it tells of a model that is better by 0.2 dB. The
    table in ``bootstrap`` has these figures of 3000 draws.
    """
    rng, names = np.random.default_rng(scenes), [f"s{number}" for number in range(scenes) for _ in range(4)]
    made = rng.normal(0, 0.2, (DRAWN, scenes)).repeat(4, axis=1) + rng.normal(0, 0.3, (DRAWN, 4 * scenes))
    intervals = [bootstrap(values, names) for values in made]
    assert share(intervals, lambda i: i.low <= 0 <= i.high) == pytest.approx(0.935, abs=0.025)
    assert share(intervals, lambda i: i.low > 0) <= 0.05, "equal models told apart"
    assert share(intervals, lambda i: i.low > 0.05) <= 0.03
    assert share(intervals, lambda i: i.low + 0.2 > 0) == pytest.approx(found_above_0, abs=0.05)


def share(intervals: list[Interval], condition: Callable[[Interval], bool]) -> float:
    return sum(map(condition, intervals)) / len(intervals)
