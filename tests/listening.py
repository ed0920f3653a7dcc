"""An app on a real socket of this machine, for tests that need more than a test client."""

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import uvicorn
from starlette.types import ASGIApp


@contextmanager
def serving(app: ASGIApp, port: int = 0, http: type[asyncio.Protocol] | Literal["auto"] = "auto") -> Iterator[int]:
    """The app on 127.0.0.1; gives its port. ``http`` is uvicorn's: what speaks it."""
    with socket.create_server(("127.0.0.1", port)) as listening:
        server = uvicorn.Server(uvicorn.Config(app, log_level="error", http=http))
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        try:
            yield listening.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join(20)
