"""How a run ends: whatever happens, the record and the tracker say it."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from deblur.errors import DiskFull
from deblur.registry.record import FAILED, KILLED, RUNNING, RunRecord
from deblur.training.shipping import Shipping
from deblur.training.stopping import StopRequest, stop_signals

GOODBYE_S = 10.0
"""How long a run that was stopped, or failed, waits for its tracker: with the checkpoint it must fit into 30 s."""


@contextmanager
def closing(record: RunRecord, shipping: Shipping) -> Iterator[StopRequest]:
    """Whatever ends the run, the record and the tracker say how; gives what signals ask (see ``stopping``)."""
    with stop_signals() as stop:
        try:
            yield stop
            stop.check()
        except BaseException as error:
            if record.run["status"] == RUNNING:
                stopped = isinstance(error, SystemExit | KeyboardInterrupt)
                with suppress(DiskFull):  # what ended the run is what must be told
                    record.end(KILLED if stopped else FAILED)
            shipping.finish(GOODBYE_S)
            raise
