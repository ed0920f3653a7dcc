"""How sure a mean is, against scipy's own interval."""

import numpy as np
import pytest

from deblur.evaluation.statistics import bootstrap, mean_interval


def test_the_interval_is_students() -> None:
    """scipy's own interval of the same values; t(0.975, 3) = 3.1824."""
    interval = mean_interval([1.0, 2.0, 3.0, 4.0])
    assert interval.mean == 2.5
    assert interval.half_width == pytest.approx(3.18245 * np.std([1, 2, 3, 4], ddof=1) / 2, rel=1e-4)
    assert interval.above_zero
    assert not mean_interval([-1.0, 2.0]).above_zero
    assert not mean_interval([5.0]).above_zero, "one image proves nothing"


def test_scenes_are_drawn_not_their_frames() -> None:
    """Twenty frames of each of six scenes say as much as six frames would."""
    of_scene = [0.1, 0.4, -0.2, 0.3, 0.5, 0.2]
    scenes = [f"s{number}" for number in range(6)]
    once, often = bootstrap(of_scene, scenes), bootstrap(np.repeat(of_scene, 20), np.repeat(scenes, 20))
    assert (often.by, often.groups) == ("scenes", 6)
    assert (often.low, often.high) == pytest.approx((once.low, once.high))
    images = bootstrap(np.repeat(of_scene, 20), ["one"] * 120)
    assert (images.by, images.groups) == ("images", 120)
    assert images.high - images.low < 0.4 * (often.high - often.low)
    assert once == bootstrap(of_scene, scenes), "deterministic"
    assert str(once).startswith("+0.22 [")
    with pytest.raises(ValueError, match="give one scene a value"):
        bootstrap([], [])


@pytest.mark.parametrize("scenes", [5, 6, 20])
def test_equal_models_are_seldom_told_apart_and_a_better_one_often(scenes: int) -> None:
    """A difference counts where the interval lies above 0.05 dB; four images a scene, scenes differ by 0.2 dB."""
    rng, names = np.random.default_rng(scenes), [f"s{number}" for number in range(scenes) for _ in range(4)]

    def told(better_db: float) -> float:
        found = 0
        for _ in range(800):
            by_scene = better_db + rng.normal(0, 0.2, scenes).repeat(4)
            found += bootstrap(by_scene + rng.normal(0, 0.3, len(names)), names).low > 0.05
        return found / 800

    assert told(0.0) <= 0.05
    assert told(0.2) >= (0.6 if scenes == 20 else 0.25)
