"""The model that is served: opened at the first request, kept, and asked for again after a failure."""

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path

from deblur.addresses import without_secrets
from deblur.errors import DeblurError, ModelError
from deblur.inference.model_folder import Model, open_model

logger = logging.getLogger("deblur.serving")

RETRY_AFTER_FAILURE_S = 5.0


class ModelStore:
    """Opens the model lazily. ``locate`` says where its folder is, and may take its time (fetch it, for instance)."""

    def __init__(self, locate: Callable[[], Path], open_folder: Callable[[Path], Model] = open_model) -> None:
        self._locate, self._open_folder = locate, open_folder
        self._lock = threading.Lock()
        self._model: Model | None = None
        self._failure: tuple[float, str] | None = None

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
            return self._model

    def _open(self) -> Model:
        if self._failure and time.monotonic() - self._failure[0] < RETRY_AFTER_FAILURE_S:
            raise ModelError(self._failure[1])
        try:
            return self._open_folder(self._locate())
        except Exception as error:
            told = str(error) if isinstance(error, DeblurError) else f"The model cannot be loaded: {error!r}"
            failure = without_secrets(told)
            self._failure = (time.monotonic(), failure)  # the sentence only: an exception would keep its requests alive
            logger.error("the model cannot be used: %s", failure)
            raise ModelError(failure) from error
