"""The server of an app that is its own host: uvicorn, which answers what still runs when it is told to stop."""

import asyncio
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import uvicorn
    from starlette.applications import Starlette

STOP_BEFORE_S = 3
"""So long before its time is up, photos that run are told to come back."""


def server_of(app: "Starlette", grace_s: int) -> "uvicorn.Server":
    """A server; its ``run([listening])`` ends with SIGTERM or Ctrl-C.

    Args:
        app: its ``state.stop``, where it has one, ends what runs.
        grace_s: seconds that photos may take once the service is told to stop.
    """
    import uvicorn

    from deblur.serving.connections import HEAD_BYTES, Connection

    stop: Callable[[], None] = getattr(app.state, "stop", lambda: None)

    class Stopping(uvicorn.Server):
        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            asyncio.get_running_loop().call_later(grace_s - STOP_BEFORE_S, stop)
            await super().shutdown(sockets)

    return Stopping(
        uvicorn.Config(
            app,
            log_level="warning",
            timeout_graceful_shutdown=grace_s,
            http=Connection,
            ws="none",
            h11_max_incomplete_event_size=HEAD_BYTES,
        )
    )
