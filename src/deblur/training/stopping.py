"""SIGTERM and Ctrl-C end a run at a safe point: never in the middle of a step or a write."""

import signal
import socket
import threading
from collections.abc import Callable, Iterator
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
def stop_signals(on_first: Callable[[], None] = lambda: None) -> Iterator[StopRequest]:
    """Notes signals instead of acting on them; a second one acts as it would without this.

    Outside the main thread signals stay as they are.

    Args:
        on_first: called by a thread as soon as the first signal comes; what notes it may first have to wait for torch,
            seconds in a backward pass.
    """
    request, seen = StopRequest(), 0

    def hear(number: int) -> None:
        nonlocal seen
        if number in SIGNALS:
            seen += 1
            if seen == 1:
                on_first()

    def note(number: int, frame: FrameType | None) -> None:
        request.signal = number
        for each in SIGNALS:
            signal.signal(each, previous[each])
        if seen > 1:  # while torch computed: Python makes one of two
            signal.raise_signal(number)
        if request.waiting:
            request.check()

    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    with _heard_at_once(hear):
        previous = {each: signal.signal(each, note) for each in SIGNALS}
        try:
            yield request
        finally:
            for each in SIGNALS:
                signal.signal(each, previous[each])


@contextmanager
def _heard_at_once(hear: Callable[[int], None]) -> Iterator[None]:
    """A thread tells ``hear`` the number of each signal that Python will handle, whatever the main thread does."""
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)

    def listen() -> None:
        while number := ours.recv(1)[0]:
            hear(number)

    thread = threading.Thread(target=listen, name="signals", daemon=True)
    thread.start()
    before = signal.set_wakeup_fd(theirs.fileno(), warn_on_full_buffer=False)
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        theirs.send(bytes(1))
        thread.join()
        ours.close()
        theirs.close()
