"""How sure a mean is, against scipy's own interval."""

import numpy as np
import pytest

from deblur.evaluation.statistics import mean_interval


def test_the_interval_is_students() -> None:
    """scipy's own interval of the same values; t(0.975, 3) = 3.1824."""
    interval = mean_interval([1.0, 2.0, 3.0, 4.0])
    assert interval.mean == 2.5
    assert interval.half_width == pytest.approx(3.18245 * np.std([1, 2, 3, 4], ddof=1) / 2, rel=1e-4)
    assert interval.above_zero
    assert not mean_interval([-1.0, 2.0]).above_zero
    assert not mean_interval([5.0]).above_zero, "one image proves nothing"
