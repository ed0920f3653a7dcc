"""How a run ends: whatever happens, the record and the tracker say it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial

from deblur.errors import DiskFull, ModelError
from deblur.models.checkpoint import has_state, read_state
from deblur.registry.record import FAILED, KILLED, RUNNING, RunRecord
from deblur.training.shipping import Shipping
from deblur.training.stopping import StopRequest, stop_signals

STOPPING = "stopping after this step or tile; Ctrl-C again ends it without saving"
GOODBYE_S = 10.0
"""How long a run that was stopped, or failed, waits for its tracker: with the checkpoint it must fit into 30 s."""


@contextmanager
def closing(
    record: RunRecord, shipping: Shipping, on_line: Callable[[str], None] = lambda line: None
) -> Iterator[StopRequest]:
    """Whatever ends the run, the record and the tracker say how; gives what signals ask (see ``stopping``).

    ``on_line``: told that a signal came, and where the run was stopped.
    """
    with stop_signals(partial(on_line, STOPPING)) as stop:
        try:
            yield stop
            stop.check()
        except BaseException as error:
            stopped = isinstance(error, SystemExit | KeyboardInterrupt)
            if record.run["status"] == RUNNING:
                with suppress(DiskFull):  # what ended the run is what must be told
                    record.end(KILLED if stopped else FAILED)
            with suppress(ModelError):  # all states are damaged, as the next start will say
                if stopped and has_state(record.folder):
                    on_line(_stopped(record))
            shipping.finish(GOODBYE_S)
            raise


def _stopped(record: RunRecord) -> str:
    saved = read_state(record.folder)
    way = "" if record.run["settings"].get("fresh") else ": the same command goes on"
    return f"stopped after epoch {saved.epoch}, step {saved.step}; the state is in {record.folder}{way}"
