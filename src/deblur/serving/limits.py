"""What one request may cost, and how many run at once."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import ClientDisconnect

from deblur.errors import ServiceBusy
from deblur.images import DecodeLimits

RETRY_AFTER_S = 2
TOLD_CHARS = 60
YES = ("1", "true", "yes")


def told(word: str) -> str:
    """A client's word as an answer may repeat it: quoted, control characters escaped, cut after 60 characters."""
    return repr(word if len(word) <= TOLD_CHARS else f"{word[:TOLD_CHARS]}...")


@dataclass(frozen=True)
class Limits:
    """Limits of the service."""

    body_mb: float = 20.0
    decode: DecodeLimits = field(default_factory=lambda: DecodeLimits(heif=os.environ.get("DEBLUR_HEIF", "") in YES))
    """``DEBLUR_HEIF`` says whether HEIC and AVIF are read, too: two decoders more that strangers can reach."""
    slots: int = 1
    """Photos at once. The engine uses every core for one, so a second only makes both wait."""
    waiting: int = field(default_factory=lambda: 2 * (os.cpu_count() or 1))
    """Requests that may wait for a slot; the next is refused."""

    reading: int = 16
    """Bodies that are read at once: they lie in memory before anything else is known of a request."""
    body_s: float = 60.0
    """What a body may take to come, seconds."""

    @property
    def body_bytes(self) -> int:
        """Largest request body, bytes."""
        return int(self.body_mb * 1e6)


class Places:
    """At most ``count`` requests inside at once; the next is refused (ServiceBusy)."""

    def __init__(self, count: int) -> None:
        self._count, self._taken = count, 0

    def __enter__(self) -> None:
        if self._taken >= self._count:
            raise ServiceBusy(f"All {self._count} places are taken. Try again in {RETRY_AFTER_S} s.")
        self._taken += 1

    def __exit__(self, *_: object) -> None:
        self._taken -= 1


class Gate:
    """Lets ``slots`` requests work and ``waiting`` wait; the next is refused at once. For one event loop."""

    def __init__(self, slots: int, waiting: int) -> None:
        self._slots, self._places = asyncio.Semaphore(slots), Places(slots + waiting)

    @asynccontextmanager
    async def slot(self, left: asyncio.Future[None]) -> AsyncIterator[None]:
        """Hold a slot; who has ``left`` waits for none.

        Raises:
            ServiceBusy: slots and queue are taken.
            ClientDisconnect: the client left while it waited.
        """
        with self._places:
            turn: asyncio.Future[Any] = asyncio.ensure_future(self._slots.acquire())
            try:
                await asyncio.wait({turn, left}, return_when=asyncio.FIRST_COMPLETED)
                if not turn.done():
                    raise ClientDisconnect
                yield
            finally:
                if turn.done():
                    self._slots.release()
                else:
                    turn.cancel()
