"""What the service tells of itself: anybody may ask, so it tells codes and versions, never a path or a reason."""

from collections.abc import Mapping
from dataclasses import asdict
from importlib import resources
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from deblur import __version__, errors, images
from deblur.serving.limits import Limits
from deblur.serving.model_store import ModelStore
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
        """Whether a photo would be restored."""
        try:
            model = await run_in_threadpool(self._models.default.get)
        except errors.ModelError as error:
            return JSONResponse({"status": "unavailable", "code": error.code, "version": __version__}, 503)
        return JSONResponse({"status": "ok", "model": model.info.label, "version": __version__})

    async def model(self, request: Request) -> Response:
        """What ``model.json`` says."""
        return JSONResponse(asdict((await run_in_threadpool(self._models.default.get)).info))

    async def models(self, request: Request) -> Response:
        """What a page or a program must know before it sends a photo."""
        told = await run_in_threadpool(_told_of, self._models.stores)
        decode = self._limits.decode
        for each in told:
            each["max_side_px"] = decode.side_px
        answer = {
            "default": told[0]["name"],
            "models": told,
            "limits": {
                "body_mb": self._limits.body_mb,
                "megapixels": decode.megapixels,
                "formats": [name.lower() for name in images.OPENED],
            },
            "seconds_per_megapixel": self._models.default.pace.seconds_per_megapixel,
            "key": self._keyed,
        }
        return JSONResponse(answer)

    async def openapi(self, request: Request) -> Response:
        """This API, for programs."""
        document = (resources.files("deblur.serving") / "openapi.json").read_bytes()
        return Response(document, media_type="application/json")


def _told_of(stores: Mapping[str, ModelStore]) -> list[dict[str, Any]]:
    """Name, label and licence of each; of a model that cannot be opened no label, and a code."""
    told: list[dict[str, Any]] = []
    for name, store in stores.items():
        try:
            info = store.get().info
        except errors.ModelError as error:
            told.append({"name": name, "model": None, "licence": None, "code": error.code})
        else:
            told.append({"name": name or info.name, "model": info.label, "licence": info.licence})
    return told
