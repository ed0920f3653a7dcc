"""What one request may cost, and how many run at once."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from deblur.errors import ServiceBusy
from deblur.images import DecodeLimits

RETRY_AFTER_S = 2


@dataclass(frozen=True)
class Limits:
    """Limits of the service."""

    body_mb: float = 20.0
    decode: DecodeLimits = DecodeLimits()
    slots: int = 1
    """Photos at once. The engine uses every core for one, so a second only makes both wait."""
    waiting: int = field(default_factory=lambda: 2 * (os.cpu_count() or 1))
    """Requests that may wait for a slot; the next is refused."""

    @property
    def body_bytes(self) -> int:
        """Largest request body, bytes."""
        return int(self.body_mb * 1e6)


class Gate:
    """Lets ``slots`` requests work and ``waiting`` wait; the next is refused at once. For one event loop."""

    def __init__(self, slots: int, waiting: int) -> None:
        self._slots, self._inside, self._room = asyncio.Semaphore(slots), 0, slots + waiting

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Hold a slot.

        Raises:
            ServiceBusy: slots and queue are taken.
        """
        if self._inside >= self._room:
            raise ServiceBusy(f"All {self._room} places are taken. Try again in {RETRY_AFTER_S} s.")
        self._inside += 1
        try:
            async with self._slots:
                yield
        finally:
            self._inside -= 1
