"""An interval is written in one way, and JSON gives it back."""

import json
from math import inf

from deblur.interval import Interval

SURE, FEW = Interval(0.884, 0.4, 1.306, 6, "scenes"), Interval(0.5, -inf, inf, 4, "images")


def test_it_is_written_in_one_way() -> None:
    assert str(SURE) == "+0.88 [+0.40, +1.31]"
    assert f"{SURE} dB, {SURE:.3f}" == "+0.88 [+0.40, +1.31] dB, 0.884 [0.400, 1.306]"
    assert str(FEW) == "+0.50 [too few images]"
    assert str(Interval(-0.001, -0.003, 0.004, 6, "scenes")) == "+0.00 [+0.00, +0.00]", "nothing is negative"


def test_json_gives_it_back() -> None:
    for each in (SURE, FEW):
        assert Interval.read(json.loads(json.dumps(each.as_json(), allow_nan=False))) == each
