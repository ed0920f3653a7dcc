"""The tracker's thread: it never makes the run wait, repeats what failed, and tells only what changes."""

import threading
import time
from pathlib import Path

import pytest

from deblur.errors import TrackerError
from deblur.registry.record import RunRecord
from deblur.training.shipping import Shipping


@pytest.fixture
def record(tmp_path: Path) -> RunRecord:
    return RunRecord.begin(tmp_path, "test", {}, {})


def wait_for(condition: object) -> None:
    for _ in range(500):
        if condition():  # type: ignore[operator]
            return
        time.sleep(0.01)
    raise AssertionError("it never came to pass")


def test_waking_costs_nothing_and_what_grew_meanwhile_is_sent_once(record: RunRecord) -> None:
    shipments, gate = [], threading.Event()

    def slow(sent: RunRecord) -> str:
        shipments.append(len(sent.epochs))
        gate.wait(10)
        return "run"

    shipping = Shipping(record, slow)
    started = time.perf_counter()
    for epoch in range(50):
        record.log_epoch(epoch, {"psnr": 1.0})
        shipping.wake()
    assert shipping.run_id is None
    waking_s = time.perf_counter() - started
    gate.set()
    assert shipping.finish(10) is None
    assert shipping.run_id == "run"
    assert shipments[-1] == 50
    assert len(shipments) <= 3, "no queue: one shipment carries all that has come"
    assert waking_s < 2, "fifty appended, synced lines; not one of them waited"


def test_trouble_is_told_once_and_its_end_too(record: RunRecord) -> None:
    answers = [TrackerError("down"), TrackerError("down"), "run", ValueError("odd"), "run"]
    lines: list[str] = []

    def flapping(sent: RunRecord) -> str:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    shipping = Shipping(record, flapping, lines.append)
    for left in (4, 3, 2, 1):
        shipping.wake()
        wait_for(lambda left=left: len(answers) == left)
        time.sleep(0.05)
    assert shipping.finish(10) is None
    assert lines == [
        "not shipped yet, the run goes on: down",
        "shipped again: the tracker has everything",
        "not shipped yet, the run goes on: ValueError: odd",
        "shipped again: the tracker has everything",
    ]


def test_a_tracker_that_hangs_cannot_keep_a_run_from_ending(record: RunRecord) -> None:
    gate = threading.Event()
    shipping = Shipping(record, lambda sent: str(gate.wait(30)))
    shipping.wake()
    started = time.perf_counter()
    assert shipping.finish(0.2) == "no answer within 0.2 s"
    assert time.perf_counter() - started < 2
    gate.set()


def test_without_a_tracker_there_is_no_thread(record: RunRecord) -> None:
    before = threading.active_count()
    shipping = Shipping(record, None)
    shipping.wake()
    assert threading.active_count() == before
    assert shipping.finish(1) is None
