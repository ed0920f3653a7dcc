"""The tracker is fed from a thread of its own, so that a run never waits for it.

There is no queue: the record on disk is what is to be sent, and sending is a replay that knows how far it came. A
shipment that fails is simply made again after the next epoch.
"""

import threading
from collections.abc import Callable
from contextlib import suppress

from deblur.addresses import without_secrets
from deblur.errors import DeblurError
from deblur.registry.record import RunRecord

Ship = Callable[[RunRecord], str]


class Shipping:
    """Sends a record whenever it has grown.

    Args:
        record: the run's record.
        ship: sends what the tracker lacks and gives the run's id; None where there is no tracker.
        on_line: told when the tracker cannot be reached, and when it can again.
    """

    def __init__(
        self, record: RunRecord, ship: Ship | None, on_line: Callable[[str], None] = lambda line: None
    ) -> None:
        self.run_id: str | None = None
        self.trouble: str | None = None
        self._record, self._ship, self._on_line = record, ship, on_line
        self._wanted, self._last = threading.Event(), False
        self._thread = threading.Thread(target=self._work, name="shipping", daemon=True)
        if ship:
            self._thread.start()

    def wake(self) -> None:
        """The record has grown. Costs nothing; returns at once."""
        self._wanted.set()

    def finish(self, timeout_s: float) -> str | None:
        """A last shipment, for at most ``timeout_s``; returns what is wrong where something is left unshipped."""
        if self._ship is None:
            return None
        self._last = True
        self._wanted.set()
        self._thread.join(timeout_s)
        return self.trouble or (f"no answer within {timeout_s:g} s" if self._thread.is_alive() else None)

    def _work(self) -> None:
        while True:
            self._wanted.wait()
            self._wanted.clear()
            last = self._last
            self._send()
            if last:
                return

    def _send(self) -> None:
        assert self._ship is not None
        before = self.trouble
        try:
            self.run_id, self.trouble = self._ship(self._record), None
        except Exception as error:  # whatever it is, it must not cost the run
            told = str(error) if isinstance(error, DeblurError) else f"{type(error).__name__}: {error}"
            self.trouble = without_secrets(told)
        with suppress(Exception):  # a terminal that is gone
            if self.trouble and not before:
                self._on_line(f"not shipped yet, the run goes on: {self.trouble}")
            elif before and not self.trouble:
                self._on_line("shipped again: the tracker has everything")


def shipper(tracking: str) -> Ship | None:
    """What sends a record to the tracker; None with tracking off.

    Raises:
        SettingError: mlflow is not installed.
    """
    if tracking == "off":
        return None
    from deblur.registry.tracking import require_mlflow, ship

    require_mlflow()
    return ship
