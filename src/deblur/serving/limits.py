"""What one request may cost, and how many run at once."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from deblur.errors import ServiceBusy
from deblur.images import DecodeLimits

RETRY_AFTER_S = 2
Left = asyncio.Future[Exception]
"""Done once a request need not be answered any more; its result says why."""

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
        self.count, self.taken = count, 0

    def __enter__(self) -> None:
        if self.taken >= self.count:
            raise ServiceBusy(f"All {self.count} places are taken. Try again in {RETRY_AFTER_S} s.")
        self.taken += 1

    def __exit__(self, *_: object) -> None:
        self.taken -= 1


class Gate:
    """Lets ``slots`` photos compute while one more is decoded or encoded, so that the network does not wait for it.

    ``waiting`` requests may wait for that; the next is refused at once. For one event loop.
    """

    def __init__(self, slots: int, waiting: int) -> None:
        self.places = Places(slots + waiting)
        self._slots, self._in_memory = asyncio.Semaphore(slots), asyncio.Semaphore(slots + 1)

    def in_memory(self, left: Left) -> AbstractAsyncContextManager[None]:
        """Hold a photo's pixels: of those inside, only so many lie in memory decoded."""
        return _turn(self._in_memory, left)

    def slot(self, left: Left) -> AbstractAsyncContextManager[None]:
        """Hold the network."""
        return _turn(self._slots, left)


@asynccontextmanager
async def _turn(semaphore: asyncio.Semaphore, left: Left) -> AsyncIterator[None]:
    """First come, first served; who has ``left`` waits for nothing, and gets the error that says why."""
    turn: asyncio.Future[Any] = asyncio.ensure_future(semaphore.acquire())
    try:
        await asyncio.wait({turn, left}, return_when=asyncio.FIRST_COMPLETED)
        if left.done():
            raise left.result()
        yield
    finally:
        if turn.done():
            semaphore.release()
        else:
            turn.cancel()
