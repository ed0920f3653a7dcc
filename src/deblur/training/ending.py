"""How a run is fed to its tracker, and how it ends: whatever happens, the record and the tracker say it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from deblur.errors import TrackerError
from deblur.registry.record import FAILED, KILLED, RunRecord
from deblur.training.stopping import stop_signals


def shipper(tracking: str) -> Callable[[RunRecord], str | None]:
    """What sends a record to the tracker and gives the run's id; with tracking off it does nothing."""
    if tracking == "off":
        return lambda record: None
    from deblur.registry.tracking import ship

    return ship


@contextmanager
def closing(record: RunRecord, ship: Callable[[RunRecord], object]) -> Iterator[Callable[[], None]]:
    """Whatever ends the run, the record and the tracker say how; gives the check for signals (see ``stopping``)."""
    try:
        with stop_signals() as check:
            yield check
    except BaseException as error:
        record.end(KILLED if isinstance(error, SystemExit) else FAILED)
        with suppress(TrackerError):  # what ended the run is what must be told
            ship(record)
        raise
