"""What the service tells of itself, to anybody: codes and versions, never a path or a reason; those are in the log."""

from collections.abc import Mapping
from datetime import UTC, datetime
from importlib import resources
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from deblur import __version__, errors, images
from deblur.inference.engine import precision_of
from deblur.serving.limits import Limits
from deblur.serving.metrics import Sample
from deblur.serving.model_store import Failure, ModelStore
from deblur.serving.models import Models


class About:
    """The endpoints that only tell.

    Args:
        models: that are served.
        limits: of a request.
        keyed: whether a photo needs a key.
    """

    def __init__(self, models: Models, limits: Limits, *, keyed: bool) -> None:
        self._models, self._limits, self._keyed = models, limits, keyed

    async def health(self, request: Request) -> Response:
        """Whether a photo would be restored, by what, from where, since when; what fails now, and what failed last."""
        told: dict[str, Any] = {"status": "ok", "version": __version__}
        try:
            told["model"] = (await run_in_threadpool(self._models.default.get)).info.label
        except errors.ModelError as error:
            told |= {"status": "unavailable", "code": error.code}
        told["models"] = [_state(name, store) for name, store in self._models.stores.items()]
        return JSONResponse(told, 200 if told["status"] == "ok" else 503)

    async def ready(self, request: Request) -> Response:
        """Whether a photo would be restored without waiting for a model; answers at once."""
        if self._models.default.loaded:
            return JSONResponse({"status": "ready", "version": __version__})
        self._models.default.open_beside()
        return JSONResponse({"status": "starting", "version": __version__}, 503)

    async def models(self, request: Request) -> Response:
        """What a page or a program must know before it sends a photo."""
        decode = self._limits.decode
        told = await run_in_threadpool(_choice, self._models.stores, decode.side_px)
        served = self._models.default.loaded
        limits = {
            "body_mb": self._limits.body_mb,
            "megapixels": decode.megapixels,
            "formats": [name.lower() for name in images.OPENED],
        }
        pace = {"seconds_per_megapixel": served.pace.seconds_per_megapixel if served else None}
        return JSONResponse({"default": told[0]["name"], "models": told, "limits": limits, **pace, "key": self._keyed})

    async def openapi(self, request: Request) -> Response:
        """This API, for programs."""
        document = (resources.files("deblur.serving") / "openapi.json").read_bytes()
        return Response(document, media_type="application/json")

    def gauges(self) -> list[Sample]:
        """Of every open model: its age, and this machine's pace with it."""
        samples: list[Sample] = []
        for name, store in self._models.stores.items():
            if served := store.loaded:
                label = {"name": name or served.model.info.name, "model": served.model.info.label}
                age_s = (datetime.now(UTC) - served.since).total_seconds()
                samples.append(("deblur_model_age_seconds", label | {"source": served.source}, age_s))
                if pace := served.pace.seconds_per_megapixel:
                    samples.append(("deblur_seconds_per_megapixel", label, pace))
        return samples


def _state(name: str, store: ModelStore) -> dict[str, Any]:
    served = store.loaded
    told: dict[str, Any] = {"name": name or (served.model.info.name if served else None), "model": None}
    told |= {"failed": _failed(store.failure), "last_failure": _failed(store.last_failure)}
    if served:
        told |= {"model": served.model.info.label, "source": served.source, "since": _time(served.since)}
        told |= {"precision": precision_of(served.model.restorer.engine), "bf16_refused": served.model.bf16_refused}
    return told


def _failed(failure: Failure | None) -> dict[str, str] | None:
    return {"code": failure.code, "at": _time(failure.at)} if failure else None


def _time(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")


def _choice(stores: Mapping[str, ModelStore], max_side_px: float) -> list[dict[str, Any]]:
    """Name, label and licence of each; of a model that cannot be opened no label, and a code."""
    told: list[dict[str, Any]] = []
    for name, store in stores.items():
        each: dict[str, Any] = {"name": name, "model": None, "licence": None, "max_side_px": max_side_px}
        try:
            info = store.get().info
            each |= {"name": name or info.name, "model": info.label, "licence": info.licence}
        except errors.ModelError as error:
            each["code"] = error.code
        told.append(each)
    return told
