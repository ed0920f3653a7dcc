"""What an engine is: one call that runs a network on tiles. Each engine has a file of its own; ``engines`` chooses."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from deblur.errors import SettingError

Tiles = NDArray[np.float32]
"""``(B, 3, h, w)`` float32 in ``[0, 1]``."""

Planes = NDArray[np.float32]
"""``(3, h, w)`` float32, one image."""

Precision = Literal["auto", "f32", "bf16"]
"""What the network computes in: auto is bf16 where the processor multiplies it natively and the engine can use it."""


class Engine(Protocol):
    """One call: a batch of tiles in, the restored batch (not clamped) out."""

    def __call__(self, batch: Tiles, /) -> Tiles: ...


@dataclass(frozen=True)
class Run:
    """The calls of one restoration. ``cancel``, from another thread, ends the call that is running, with an error."""

    call: Callable[[Tiles], Tiles]
    cancel: Callable[[], None] = lambda: None


@runtime_checkable
class Cancellable(Protocol):
    """An engine whose calls can be ended from outside; each restoration begins a run of its own."""

    def begin(self) -> Run: ...


@runtime_checkable
class Compiling(Protocol):
    """An engine that compiles for a shape of tile; it can do so before the shape's turn comes."""

    def prepare(self, shape: tuple[int, ...]) -> None: ...


@runtime_checkable
class Reduced(Protocol):
    """An engine that may have chosen a smaller precision than float32."""

    def in_f32(self) -> "Engine | None":
        """The same network in float32; None where nothing was chosen."""
        ...


def precision_of(engine: Engine) -> str:
    """What an engine computes in; one that does not say so computes in float32."""
    return str(getattr(engine, "precision", "f32"))


def begin(engine: Engine) -> Run:
    """A run of ``engine``; one that cannot be cancelled finishes its tile."""
    return engine.begin() if isinstance(engine, Cancellable) else Run(engine)


def check_threads(threads: int | None) -> None:
    """Raises SettingError where no thread is left; None is one a core."""
    if threads is not None and threads < 1:
        raise SettingError(f"threads is {threads}; it must be at least 1.")
