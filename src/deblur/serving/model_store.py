"""The model that is served: opened at the first request, kept, and asked for again after a failure.

Where an alias of a registry was asked for, the alias is followed: a thread asks where it points now, opens what is new
there, checks it as always, and puts it in the old one's place. Requests end on the model that they began with.
"""

import logging
import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from deblur.addresses import without_secrets
from deblur.errors import DeblurError, ModelError
from deblur.inference.model_folder import Model, open_model
from deblur.serving.pace import Pace

logger = logging.getLogger("deblur.serving")

RETRY_AFTER_FAILURE_S = 5.0
FOLLOW_S = 60.0
"""How often an alias is asked for; the environment variable ``DEBLUR_FOLLOW_S`` says otherwise, 0 for never."""
LONGEST_WAIT = 16
"""After each failure twice as long is waited, up to so many times."""


class ModelStore:
    """Opens the model lazily. ``locate`` says where its folder is, and may take its time (fetch it, for instance).

    Args:
        locate: may give another model where the one that was asked for is not to be had.
        open_folder: checks it and opens it.
        follow: where the one that was asked for is now, or None, and nothing is followed. It raises where a registry
            fails; the model that is served stays then.
    """

    def __init__(
        self,
        locate: Callable[[], Path],
        open_folder: Callable[[Path], Model] = open_model,
        follow: Callable[[], Path | None] = lambda: None,
    ) -> None:
        self._locate, self._open_folder, self._follow = locate, open_folder, follow
        self._lock, self._closed = threading.Lock(), threading.Event()
        self._folder: Path | None = None
        self._model: Model | None = None
        self._failure: tuple[float, str] | None = None
        self.pace = Pace()

    @property
    def loaded(self) -> Model | None:
        """The model, if a request has opened it."""
        return self._model

    def get(self) -> Model:
        """The model, opened on the first call; a failure is remembered for a few seconds.

        Raises:
            ModelError: it cannot be found or fails its checks.
        """
        if self._model is not None:
            return self._model
        with self._lock:
            if self._model is None:
                self._model = self._open()
                every_s = _follow_s()
                if every_s > 0:
                    threading.Thread(target=self._keep_following, args=(every_s,), daemon=True).start()
            return self._model

    def close(self) -> None:
        """Follow no longer."""
        self._closed.set()

    def _open(self) -> Model:
        if self._failure and time.monotonic() - self._failure[0] < RETRY_AFTER_FAILURE_S:
            raise ModelError(self._failure[1])
        try:
            self._folder = self._locate()
            return self._open_folder(self._folder)
        except Exception as error:
            failure = _told(error)
            self._failure = (time.monotonic(), failure)  # the sentence only: an exception would keep its requests alive
            logger.error("the model cannot be used: %s", failure)
            raise ModelError(failure) from error

    def _keep_following(self, every_s: float) -> None:
        told, wait = set[str](), 1
        while not self._closed.wait(wait * every_s):
            try:
                folder = self._follow()
                if folder is None:
                    return
                if folder != self._folder:
                    model = self._open_folder(folder)
                    self._folder, self._model = folder, model
                    logger.info("going on with %s", model.info.label)
            except Exception as error:
                failure, wait = _told(error), min(2 * wait, LONGEST_WAIT)
                if failure not in told:
                    logger.error("the model stays as it is: %s", failure)
                told.add(failure)
            else:
                told, wait = set(), 1


def _told(error: Exception) -> str:
    """Why a model cannot be used, without secrets."""
    return without_secrets(str(error) if isinstance(error, DeblurError) else f"The model cannot be loaded: {error!r}")


def _follow_s() -> float:
    text = os.environ.get("DEBLUR_FOLLOW_S") or str(FOLLOW_S)
    with suppress(ValueError):
        if (seconds := float(text)) >= 0:
            return seconds
    logger.error(
        "DEBLUR_FOLLOW_S is %s; it must be seconds, or 0 to follow no alias. Going on with %g.", text, FOLLOW_S
    )
    return FOLLOW_S
