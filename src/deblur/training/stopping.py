"""SIGTERM and Ctrl-C end a run at a safe point: never in the middle of a write."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGINT)


@contextmanager
def stop_signals() -> Iterator[Callable[[], None]]:
    """Gives a function to call at safe points: it raises SystemExit (128 + signal) once a signal has come.

    A second signal acts at once, as it would without this. Outside the main thread signals stay as they are.
    """
    received: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        received.append(number)
        for each in SIGNALS:
            signal.signal(each, previous[each])

    def check() -> None:
        if received:
            raise SystemExit(128 + received[0])

    if threading.current_thread() is not threading.main_thread():
        yield check
        return
    previous = {each: signal.signal(each, note) for each in SIGNALS}
    try:
        yield check
        check()
    finally:
        for each in SIGNALS:
            signal.signal(each, previous[each])
