"""Connections of a server of one's own: none is held open by who neither asks for anything nor takes his answer."""

import asyncio
import sys
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from deblur.serving.problems import Problem

LOOK_EVERY_S = 10.0
"""In which a request's headers must come, and of an answer ``LEAST_BYTES`` must be taken."""
LEAST_BYTES = 100_000
HEAD_BYTES = 8192


class Connection(H11Protocol):
    """uvicorn's, closed where nothing moves for two looks; what is no HTTP is answered with a problem."""

    _watch: asyncio.TimerHandle | None = None
    _seen: tuple[Any, bool, int] = (None, True, 0)
    """The last request, whether it was answered, and the bytes of the answer that were not yet taken."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Watch it from its first moment."""
        super().connection_made(transport)
        self._watch = self.loop.call_later(LOOK_EVERY_S, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        """There is nothing to watch."""
        if self._watch:
            self._watch.cancel()
        super().connection_lost(exc)

    @property
    def _idle(self) -> bool:
        """No request is being answered."""
        return self.cycle is None or self.cycle.response_complete

    def _look(self) -> None:
        before, self._seen = self._seen, (self.cycle, self._idle, self.transport.get_write_buffer_size())
        same, (_, idle, untaken) = before[:2] == self._seen[:2], self._seen
        if same and (0 < before[2] < untaken + LEAST_BYTES if untaken else idle):
            self.transport.abort()
        else:
            self._watch = self.loop.call_later(LOOK_EVERY_S, self._look)

    def data_received(self, data: bytes) -> None:
        """In pieces while headers come, so that their length is looked at."""
        while self._idle and len(data) > HEAD_BYTES and not self.transport.is_closing():
            super().data_received(data[:HEAD_BYTES])
            data = data[HEAD_BYTES:]
        if not self.transport.is_closing():
            super().data_received(data)

    def send_400_response(self, msg: str) -> None:
        """Called while h11's error is being handled; it knows whether the headers are too long."""
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            if getattr(sys.exc_info()[1], "error_status_hint", 400) == 431:
                problem = Problem(431, "headers-too-large", f"The headers are longer than {HEAD_BYTES} bytes.")
            else:
                problem = Problem(400, "http-invalid", "This is not HTTP/1.1 as RFC 9112 has it.")
            headers = [*problem.raw_headers, (b"connection", b"close")]
            for event in (
                h11.Response(status_code=problem.status_code, headers=headers),
                h11.Data(data=bytes(problem.body)),
                h11.EndOfMessage(),
            ):
                self.transport.write(self.conn.send(event) or b"")
        self.transport.close()
