"""How strong synthetic blur is over a run: constant, growing with time, or growing when validation stalls."""

from dataclasses import asdict

import pytest

from deblur.data.crops import Key, RunOrder
from deblur.models.checkpoint import Best
from deblur.training.state import STALL_EPOCHS, Counters, Timetable


def schedule(kind: str, severity: float = 0.8) -> Timetable:
    return Timetable(20, patience=99, severity=severity, severity_schedule=kind)


def test_constant_is_constant() -> None:
    assert {schedule("constant").strength(Counters(epoch=epoch)) for epoch in range(20)} == {0.8}


def test_a_ramp_reaches_its_height_in_the_middle_of_the_run() -> None:
    strengths = [schedule("ramp").strength(Counters(epoch=epoch)) for epoch in range(20)]
    assert strengths[0] == pytest.approx(0.08)
    assert strengths == sorted(strengths)
    assert strengths[9:] == [0.8] * 11


def test_a_plateau_makes_blur_stronger_only_where_validation_stalls() -> None:
    counters, strengths = Counters(), []
    for epoch in range(1, 21):
        strengths.append(schedule("plateau").strength(counters))
        if epoch <= 6:  # every one of the first six epochs is better than the one before
            counters.best = Best("b", "", epoch, 20.0 + epoch)
        counters.grow_if_stalled(epoch)
        counters.next_epoch()
    assert strengths[:11] == [pytest.approx(0.2)] * 11
    assert strengths[11] == pytest.approx(0.4)
    assert strengths.index(pytest.approx(0.6)) - 11 == STALL_EPOCHS
    assert max(strengths) <= 0.8


def test_what_has_grown_survives_a_kill() -> None:
    counters = Counters(epoch=7, growths=2, grown_at=6)
    again = Counters.of(asdict(counters))
    assert schedule("plateau").strength(again) == schedule("plateau").strength(counters) == pytest.approx(0.6)


def test_the_order_hands_strength_out_with_every_key() -> None:
    order = RunOrder(8, 4)
    order.start(2, strength=0.3)
    keys = list(order)
    assert keys == list(range(16, 24))
    assert all(isinstance(key, Key) and key.strength == 0.3 for key in keys)
