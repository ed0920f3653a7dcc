"""Ctrl-C and SIGTERM in a command that goes on where it was stopped."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

from deblur.cli.console import console, say
from deblur.files import pasteable

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def stoppable(folder: Path) -> Iterator[None]:
    """Work that saves into ``folder``: the first signal ends it at once, with a line, and exits with 128 + signal.

    From then on signals are the system's: a second one ends the process wherever it is. Outside the main thread signals
    stay as they are.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:
        with suppress(RuntimeError):  # it came in the middle of a line
            say(f"stopping; what is saved is in {pasteable(folder)}: the same command goes on")
            console.show_cursor()  # which a bar hides; after a second signal nothing would
        for each in SIGNALS:
            signal.signal(each, signal.SIG_DFL)
        raise SystemExit(128 + number)

    before = {each: signal.signal(each, stop) for each in SIGNALS}
    try:
        yield
    finally:
        if signal.getsignal(signal.SIGINT) is stop:
            for each in SIGNALS:
                signal.signal(each, before[each])
