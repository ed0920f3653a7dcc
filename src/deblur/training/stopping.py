"""SIGTERM and Ctrl-C end a run at a safe point: never in the middle of a step or a write."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGINT)


@dataclass
class StopRequest:
    """The signal that asked this process to stop, once one has come.

    While ``waiting`` (for data, where nothing is half done) a signal acts at once, with the same exception.
    """

    signal: int | None = None
    waiting: bool = False

    def check(self) -> None:
        """To be called at safe points; raises SystemExit (128 + signal) once a signal has come."""
        if self.signal is not None:
            raise SystemExit(128 + self.signal)


@contextmanager
def stop_signals() -> Iterator[StopRequest]:
    """Notes signals instead of acting on them; a second one acts at once, as it would without this.

    Outside the main thread signals stay as they are.
    """
    request = StopRequest()

    def note(number: int, frame: FrameType | None) -> None:
        request.signal = number
        for each in SIGNALS:
            signal.signal(each, previous[each])
        if request.waiting:
            request.check()

    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    previous = {each: signal.signal(each, note) for each in SIGNALS}
    try:
        yield request
    finally:
        for each in SIGNALS:
            signal.signal(each, previous[each])
