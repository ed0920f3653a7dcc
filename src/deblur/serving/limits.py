"""What one request may cost, and how many run at once."""

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from math import inf
from typing import Any

from deblur.errors import ServiceBusy
from deblur.image_limits import DecodeLimits

logger = logging.getLogger("deblur.serving")

RETRY_AFTER_S = 2
ANSWER_S = 230.0
"""In which an answer must come: Azure's load balancer gives up then."""
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
    slots: int = field(default_factory=lambda: 3 if (os.cpu_count() or 1) > 1 else 1)
    """Photos in work at once: two that the network restores side by side, and one that is decoded or encoded
    meanwhile."""
    waiting: int = field(default_factory=lambda: 2 * (os.cpu_count() or 1))
    """Requests that may wait for a slot; the next is refused."""

    answer_s: float = field(default_factory=lambda: seconds_set("DEBLUR_ANSWER_S", ANSWER_S, "for no limit") or inf)
    """From request to answer, as far as this machine's pace tells; ``DEBLUR_ANSWER_S`` says otherwise, 0 for ever."""

    reading_mb: float = 320.0
    """Of all bodies that are being read. Connections do not count, bytes do: who sends slowly is in nobody's way."""
    body_s: float = 60.0
    """What a body may take to come, seconds."""

    @property
    def body_bytes(self) -> int:
        """Largest request body, bytes."""
        return int(self.body_mb * 1e6)


def seconds_set(name: str, usual: float, zero_is: str) -> float:
    """The seconds that an environment variable sets, 0 or more; ``usual`` without it, and, said in the log, where it is
    none. ``zero_is`` tells what 0 stands for."""
    text = os.environ.get(name) or str(usual)
    with suppress(ValueError):
        if (seconds := float(text)) >= 0:
            return seconds
    logger.error("%s is %s; it must be seconds, or 0 %s. Going on with %g.", name, text, zero_is, usual)
    return usual


class Room:
    """Memory for the bodies that are being read, ``count`` bytes together."""

    def __init__(self, count: int) -> None:
        self._free = count

    @contextmanager
    def of_one(self) -> Iterator[Callable[[int], None]]:
        """Read a body; gives what is to be told the bytes that came, which refuses those that find no room."""
        mine = 0

        def take(count: int) -> None:
            nonlocal mine
            if count > self._free:
                raise ServiceBusy(f"Too many bodies are being read. Try again in {RETRY_AFTER_S} s.")
            self._free -= count
            mine += count

        try:
            yield take
        finally:
            self._free += mine


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
    """Lets ``slots`` photos in, which lie in memory decoded; ``waiting`` more may wait for that; the next is refused at
    once. For one event loop."""

    def __init__(self, slots: int, waiting: int) -> None:
        self.places, self._slots = Places(slots + waiting), asyncio.Semaphore(slots)

    @asynccontextmanager
    async def slot(self, left: Left) -> AsyncIterator[None]:
        """First come, first served; who has ``left`` waits for nothing, and gets the error that says why."""
        turn: asyncio.Future[Any] = asyncio.ensure_future(self._slots.acquire())
        try:
            await asyncio.wait({turn, left}, return_when=asyncio.FIRST_COMPLETED)
            if left.done():
                raise left.result()
            yield
        finally:
            if turn.done():
                self._slots.release()
            else:
                turn.cancel()
