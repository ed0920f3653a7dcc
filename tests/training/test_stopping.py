"""Ctrl-C and SIGTERM are answered at once, and end a run at a safe point."""

import hashlib
import os
import signal
import threading
import time

import pytest

from deblur.training.stopping import stop_signals

pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals")


def compute() -> None:
    """Something like a long backward pass: Python's own handlers wait for its end."""
    hashlib.pbkdf2_hmac("sha256", b"", b"", 2_500_000)


def send(after_s: float) -> None:
    threading.Timer(after_s, os.kill, (os.getpid(), signal.SIGINT)).start()


def test_a_signal_is_answered_while_the_main_thread_computes() -> None:
    told = list[float]()
    with stop_signals(lambda: told.append(time.monotonic())) as stop:
        send(0.1)
        compute()
        done = time.monotonic()
    assert len(told) == 1
    assert done - told[0] > 0.3
    assert stop.signal == signal.SIGINT
    with pytest.raises(SystemExit) as caught:
        stop.check()
    assert caught.value.code == 130


def test_a_second_one_acts_also_where_the_first_was_not_noted_yet() -> None:
    told = list[str]()
    for after_s in (0.1, 0.3):
        send(after_s)
    with pytest.raises(KeyboardInterrupt), stop_signals(lambda: told.append("stopping")):
        compute()
    assert told == ["stopping"]


def test_afterwards_signals_are_as_they_were() -> None:
    before = signal.getsignal(signal.SIGINT)
    with stop_signals():
        assert signal.getsignal(signal.SIGINT) is not before
    assert signal.getsignal(signal.SIGINT) is before
    assert signal.set_wakeup_fd(-1) == -1
    assert "signals" not in {thread.name for thread in threading.enumerate()}
