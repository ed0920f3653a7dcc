"""The HTTP API: POST a photo, get it back restored.

POST /api/deblur        image bytes, multipart field ``image``, or JSON {"image": base64} -> the restored image;
                        strength, format, quality, frames, metadata and guard in the query, or beside it
GET  /api/health        whether a photo would be restored
GET  /api/model         what ``model.json`` says
GET  /api/openapi.json  this, for programs
"""

import asyncio
import base64
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from importlib import resources
from urllib.parse import quote

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from deblur import __version__, errors, images
from deblur.inference.photo import Outcome, restore_photo
from deblur.serving.body import read_body
from deblur.serving.limits import Gate, Limits, Places
from deblur.serving.model_store import ModelStore
from deblur.serving.problems import on_any_exception, on_client_gone, on_deblur_error, on_http_exception
from deblur.serving.wish import Wish, wish_of

WATCH_EVERY_S = 0.05


@dataclass(frozen=True)
class Answer:
    """A restored photo, encoded, and what was done to it."""

    data: bytes
    photo_format: str
    outcome: Outcome
    encode_s: float
    left_out: bool
    frames: int

    @property
    def timing(self) -> str:
        """Milliseconds of the stages, as the header ``Server-Timing`` has them."""
        stages = self.outcome.seconds | {"encode": self.encode_s}
        return ", ".join(f"{stage};dur={1e3 * seconds:.0f}" for stage, seconds in stages.items())


def create_app(store: ModelStore, limits: Limits | None = None, *, with_post: bool = True) -> Starlette:
    """The service.

    Args:
        store: the model that restores.
        limits: what a request may cost.
        with_post: whether photos are taken. Anonymous routes on Azure mount an app without, so that no spelling of
            the path can get around the function key.
    """
    limits = limits or Limits()
    api = _Api(store, limits)
    routes = [
        Route("/api/health", api.health, methods=["GET"]),
        Route("/api/model", api.model, methods=["GET"]),
        Route("/api/openapi.json", api.openapi, methods=["GET"]),
    ]
    if with_post:
        routes.append(Route("/api/deblur", api.deblur, methods=["POST"]))
    handlers = {
        errors.DeblurError: on_deblur_error,
        HTTPException: on_http_exception,
        ClientDisconnect: on_client_gone,
        Exception: on_any_exception,
    }
    return Starlette(routes=routes, exception_handlers=handlers)


class _Api:
    def __init__(self, store: ModelStore, limits: Limits) -> None:
        self._store, self._limits = store, limits
        self._bodies, self._gate = Places(limits.reading), Gate(limits.slots, limits.waiting)

    async def deblur(self, request: Request) -> Response:
        asked = [pair for pair in request.query_params.multi_items() if pair[0] != "code"]  # the function key on Azure
        wish_of(asked)  # a mistake here is told before the body is read
        with self._bodies:
            sent = await read_body(request, self._limits)
        wish = wish_of(asked + sent.options)
        async with _left(request) as left, self._gate.slot(left):
            try:
                answer = await run_in_threadpool(self._restore, sent.image, wish, partial(_stop_if, left))
            except (errors.DeblurError, ClientDisconnect):
                raise
            except Exception as error:  # answered here: Starlette raises on after its own answer, which Azure forwards
                return await on_any_exception(request, error)
        headers = {
            "X-Deblur-Model": quote(answer.outcome.model, safe="/@ "),  # headers are latin-1
            "X-Deblur-Tiles": str(answer.outcome.tiles),
            "X-Deblur-Guard": answer.outcome.guard if wish.guard == "on" else "off",
            "Server-Timing": answer.timing,
        }
        if answer.frames > 1:
            headers["X-Deblur-Frames"] = f"1 of {answer.frames}"
        if answer.left_out:
            headers["X-Deblur-Left-Out"] = "further pictures of the file, such as a gain map"
        if sent.as_json:
            body = {
                "image": base64.b64encode(answer.data).decode("ascii"),
                "format": answer.photo_format.lower(),
                "model": answer.outcome.model,
            }
            return JSONResponse(body, headers=headers)
        return Response(answer.data, media_type=images.MEDIA_TYPES[answer.photo_format], headers=headers)

    async def health(self, request: Request) -> Response:
        try:
            model = await run_in_threadpool(self._store.get)
        except errors.ModelError as error:
            return JSONResponse({"status": "unavailable", "code": error.code, "version": __version__}, 503)
        return JSONResponse({"status": "ok", "model": model.info.label, "version": __version__})

    async def model(self, request: Request) -> Response:
        info = (await run_in_threadpool(self._store.get)).info
        return JSONResponse(asdict(info))

    async def openapi(self, request: Request) -> Response:
        document = (resources.files("deblur.serving") / "openapi.json").read_bytes()
        return Response(document, media_type="application/json")

    def _restore(self, data: bytes, wish: Wish, check: Callable[[], None]) -> Answer:
        """Runs in a worker thread: bytes in, bytes out. What ``check`` raises ends it, inside a tile too."""
        taken = {"first_of_many": wish.frames == "first", "private": wish.metadata == "keep"}
        limits = replace(self._limits.decode, **taken)
        model, guarded = self._store.get(), wish.guard == "on"
        photo, outcome = restore_photo(model, data, wish.strength, guarded=guarded, limits=limits, check=check)
        started = time.perf_counter()
        encoded = images.encode(photo, wish.output_format, wish.quality)
        photo_format = images.OUTPUT_FORMATS[wish.output_format] if wish.output_format else photo.format
        encode_s = time.perf_counter() - started
        return Answer(encoded, photo_format, outcome, encode_s, photo.said.more_pictures, photo.frames)


@asynccontextmanager
async def _left(request: Request) -> AsyncIterator[asyncio.Task[None]]:
    """A task that is done once the client has left. For requests whose body was read."""

    async def watch() -> None:
        while not await request.is_disconnected():
            await asyncio.sleep(WATCH_EVERY_S)

    watcher = asyncio.create_task(watch())
    try:
        yield watcher
    finally:
        watcher.cancel()


def _stop_if(left: asyncio.Task[None]) -> None:
    if left.done():
        raise ClientDisconnect
