"""The model that is served: opened at the first request or before it, kept, and asked for again after a failure.

Where an alias of a registry was asked for, the alias is followed: a thread asks where it points now, opens what is new
there, checks it as always, and puts it in the old one's place. Requests end on the model that they began with. While a
fallback serves, what was asked for is asked for in the same way, an alias or not.
"""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from deblur.addresses import without_secrets
from deblur.errors import DeblurError, ModelError, NoSuchModel
from deblur.inference.locating import bundled_model
from deblur.inference.model_folder import Model, open_model
from deblur.serving.limits import seconds_set
from deblur.serving.pace import Pace

logger = logging.getLogger("deblur.serving")

RETRY_AFTER_FAILURE_S = 5.0
FOLLOW_S = 60.0
"""How often the registry is asked; the environment variable ``DEBLUR_FOLLOW_S`` says otherwise, 0 for never."""
LONGEST_WAIT = 4
"""After each failure twice as long is waited, up to so many times: four minutes."""
WARM_PX = 512


@dataclass(frozen=True)
class Served:
    """A checked model in service: its folder, since when, and how fast this machine is with it."""

    model: Model
    folder: Path
    since: datetime = field(default_factory=lambda: datetime.now(UTC))
    pace: Pace = field(default_factory=Pace)

    @property
    def source(self) -> str:
        """``package`` (it came with the program), ``registry`` or ``folder``."""
        if self.folder == bundled_model():
            return "package"
        return "registry" if self.model.info.version else "folder"


@dataclass(frozen=True)
class Failure:
    """What went wrong: ``model-not-found`` (nowhere to be had) or ``model-refused`` (it failed its checks)."""

    code: str
    sentence: str
    at: datetime = field(default_factory=lambda: datetime.now(UTC))


class ModelStore:
    """Opens the model lazily. ``locate`` says where its folder is, and may take its time (fetch it, for instance).

    Args:
        locate: where it raises, the failure is told, a fallback serves, and it is asked again.
        open_folder: checks it and opens it.
        follow: where the one that was asked for is now, or None, and nothing is followed. It raises where a registry
            fails; the model that is served stays then.
        fallbacks: the folders to try, in this order, where ``locate`` gives none that can be opened; not where a
            registry answers that it has no such model.
        warm: whether a model computes a tile before it serves, so that no request pays for what comes first.
    """

    def __init__(
        self,
        locate: Callable[[], Path],
        open_folder: Callable[[Path], Model] = open_model,
        follow: Callable[[], Path | None] = lambda: None,
        *,
        fallbacks: Callable[[], Sequence[Path]] = lambda: (),
        warm: bool = False,
    ) -> None:
        self._locate, self._open_folder, self._follow = locate, open_folder, follow
        self._fallbacks, self.warm = fallbacks, warm
        self._lock, self._wake, self._closed = threading.Lock(), threading.Event(), False
        self._served: Served | None = None
        self._failed_at: float | None = None
        self.failure: Failure | None = None
        """What fails now."""
        self.last_failure: Failure | None = None
        """What failed last, also after it was mended."""

    @property
    def loaded(self) -> Served | None:
        """What is served, if it was opened."""
        return self._served

    def get(self) -> Model:
        """The model of :meth:`serve`."""
        return self.serve().model

    def serve(self) -> Served:
        """The model, opened on the first call; a failure is remembered for a few seconds.

        Raises:
            ModelError: it cannot be found or fails its checks.
        """
        if self._served is not None:
            return self._served
        with self._lock:
            if self._served is None:
                self._served = self._first()
                threading.Thread(
                    target=self._keep_following,
                    args=(seconds_set("DEBLUR_FOLLOW_S", FOLLOW_S, "to follow no alias"),),
                    daemon=True,
                ).start()
            return self._served

    def open_beside(self) -> None:
        """Open the model in a thread of its own, unless one is at it; failures are in the log."""

        def open_quietly() -> None:
            with suppress(ModelError):
                self.serve()

        if self._served is None and not self._lock.locked():
            threading.Thread(target=open_quietly, daemon=True).start()

    def ask_now(self) -> None:
        """Ask at once where the alias points."""
        self._wake.set()

    def close(self) -> None:
        """Follow no longer."""
        self._closed = True
        self._wake.set()

    def _first(self) -> Served:
        if self.failure and self._failed_at and time.monotonic() - self._failed_at < RETRY_AFTER_FAILURE_S:
            raise ModelError(self.failure.sentence)
        try:
            served = self._opened(self._found(self._locate))
            self.failure = None
            return served
        except ModelError as error:
            self._failed_at, failure = time.monotonic(), self.failure
            logger.error("the model cannot be used: %s", error)
            gone = isinstance(error.__cause__, NoSuchModel)  # who deleted it meant it, and who mistyped it did not
            for folder in () if gone else self._fallbacks():
                logger.error("going on with %s", folder)
                try:
                    return self._opened(folder)
                except ModelError as further:
                    logger.error("it cannot be used: %s", further)
                finally:
                    self.failure = self.last_failure = failure  # what was asked for, and not what took its place
            raise

    def _found(self, where: Callable[[], Path]) -> Path:
        try:
            return where()
        except Exception as error:
            raise self._noted("model-not-found", error) from error

    def _opened(self, folder: Path) -> Served:
        """Checked, and warm where that is wanted."""
        try:
            served = Served(self._open_folder(folder), folder)
            if self.warm:
                _warm(served)
        except Exception as error:
            raise self._noted("model-refused", error) from error
        return served

    def _noted(self, code: str, error: Exception) -> ModelError:
        """Only the sentence is kept: an exception would keep its requests alive."""
        sentence = str(error) if isinstance(error, DeblurError) else f"The model cannot be loaded: {error!r}"
        self.failure = self.last_failure = Failure(code, without_secrets(sentence))
        return ModelError(self.failure.sentence)

    def _keep_following(self, every_s: float) -> None:
        told, wait = set[str](), 1
        while True:
            self._wake.wait(min(wait * every_s, threading.TIMEOUT_MAX) or None)
            self._wake.clear()
            if self._closed:
                return
            try:
                folder = self._follow() or (self._locate() if self.failure else None)
            except Exception as error:
                failure: ModelError | None = self._noted("model-not-found", error)
            else:
                if folder is None:
                    return
                failure = self._moved_to(folder)
            if failure is None:
                told, wait, self.failure = set(), 1, None
                continue
            wait = min(2 * wait, LONGEST_WAIT)
            if str(failure) not in told:
                logger.error("the model stays as it is: %s", failure)
            told.add(str(failure))

    def _moved_to(self, folder: Path) -> ModelError | None:
        """Serve what lies in ``folder``; the reason where that cannot be."""
        if self._served and folder == self._served.folder:
            return None
        try:
            self._served = self._opened(folder)
        except ModelError as error:
            return error
        logger.info("going on with %s", self._served.model.info.label)
        return None


def _warm(served: Served) -> None:
    """Restore a grey square, one tile, twice: the first time compiles and fills caches, the second is measured."""
    restorer = served.model.restorer
    side_px = min(WARM_PX, restorer.tiling.tile_px)
    for _ in range(2):
        started = time.perf_counter()
        restorer.in_place(np.full((side_px, side_px, 3), 128, np.uint8))
    served.pace.note(side_px**2 / 1e6, time.perf_counter() - started)
