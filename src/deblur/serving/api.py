"""The HTTP API: POST a photo, get it back restored.

POST /api/deblur        image bytes, multipart field ``image``, or JSON {"image": base64} -> the restored image;
                        strength, format, quality, frames, metadata and model in the query, or beside the image
GET  /api/models        the models to choose from, and what a photo may cost
GET  /api/model         what ``model.json`` of the default model says
GET  /api/health        whether a photo would be restored
GET  /api/progress/ID   how far the photo is that was sent with ?progress=ID (servers of one's own only)
GET  /api/openapi.json  this, for programs
"""

import asyncio
import base64
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from urllib.parse import quote

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from deblur import errors, images
from deblur.inference.photo import Outcome, restore_photo
from deblur.inference.restorer import OnTile, ignore
from deblur.serving.about import About
from deblur.serving.body import read_body
from deblur.serving.limits import Gate, Limits, Places
from deblur.serving.model_store import ModelStore
from deblur.serving.models import Models
from deblur.serving.problems import on_any_exception, on_client_gone, on_deblur_error, on_http_exception, problem
from deblur.serving.progress import Progress
from deblur.serving.standalone import Standalone
from deblur.serving.wish import Wish, wish_of

WATCH_EVERY_S = 0.05
Endpoint = Callable[[Request], Awaitable[Response]]


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


def create_app(
    stores: ModelStore | Mapping[str, ModelStore],
    limits: Limits | None = None,
    *,
    with_post: bool = True,
    standalone: Standalone | None = None,
) -> Starlette:
    """The service.

    Args:
        stores: the models that restore, by name, the default first; or the one.
        limits: what a request may cost.
        with_post: whether photos are taken. Anonymous routes on Azure mount an app without, so that no spelling of
            the path can get around the function key.
        standalone: what an app needs that is its own host; None in a function app.
    """
    limits, models = limits or Limits(), Models(stores)
    api = _Api(models, limits, standalone)
    about = About(models, limits, keyed=not with_post or bool(standalone and standalone.key))
    table: dict[str, dict[str, Endpoint]] = {
        "/api/health": {"GET": about.health},
        "/api/model": {"GET": about.model},
        "/api/models": {"GET": about.models},
        "/api/openapi.json": {"GET": about.openapi},
    }
    if with_post:
        table["/api/deblur"] = {"POST": api.deblur}
    if standalone:
        table["/api/progress/{id}"] = {"GET": api.progress}
    handlers = {
        errors.DeblurError: on_deblur_error,
        HTTPException: on_http_exception,
        ClientDisconnect: on_client_gone,
        Exception: on_any_exception,
    }
    return Starlette(routes=[_route(*each) for each in table.items()], exception_handlers=handlers)


def _route(path: str, endpoints: dict[str, Endpoint]) -> Route:
    """GET brings HEAD with it, and OPTIONS says what there is."""
    methods = sorted({*endpoints, "OPTIONS", *(["HEAD"] if "GET" in endpoints else [])})

    async def endpoint(request: Request) -> Response:
        if request.method == "OPTIONS":
            return Response(status_code=204, headers={"Allow": ", ".join(methods)})
        return await endpoints["GET" if request.method == "HEAD" else request.method](request)

    return Route(path, endpoint, methods=methods)


class _Api:
    def __init__(self, models: Models, limits: Limits, standalone: Standalone | None) -> None:
        self._models, self._limits, self._standalone = models, limits, standalone
        self._bodies, self._gate = Places(limits.reading), Gate(limits.slots, limits.waiting)
        self._progress = Progress()

    async def deblur(self, request: Request) -> Response:
        if self._standalone and not self._standalone.admits(request):
            return problem(
                401, "key-required", "Send the key: Authorization: Bearer KEY.", {"WWW-Authenticate": "Bearer"}
            )
        asked = [pair for pair in request.query_params.multi_items() if pair[0] not in ("code", "progress")]
        wish_of(asked)  # a mistake here is told before the body is read
        ident = request.query_params.get("progress")
        on_tile = ignore if ident is None else self._progress.begin(ident)
        with self._bodies:
            sent = await read_body(request, self._limits)
        wish = wish_of(asked + sent.options)
        async with _left(request) as left, self._gate.slot(left):
            try:
                answer = await run_in_threadpool(self._restore, sent.image, wish, on_tile, partial(_stop_if, left))
            except (errors.DeblurError, ClientDisconnect):
                raise
            except Exception as error:  # answered here: Starlette raises on after its own answer, which Azure forwards
                return await on_any_exception(request, error)
        headers = {
            "X-Deblur-Model": quote(answer.outcome.model, safe="/@ "),  # headers are latin-1
            "X-Deblur-Tiles": str(answer.outcome.tiles),
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

    async def progress(self, request: Request) -> Response:
        found = self._progress.of(request.path_params["id"])
        if found is None:
            return problem(404, "progress-unknown", "No photo is known by this id; it may be long done.")
        return JSONResponse({"done": found[0], "total": found[1]})

    def _restore(self, data: bytes, wish: Wish, on_tile: OnTile, check: Callable[[], None]) -> Answer:
        """Runs in a worker thread: bytes in, bytes out. What ``check`` raises ends it, inside a tile too."""
        taken = {"first_of_many": wish.frames == "first", "private": wish.metadata == "keep"}
        limits = replace(self._limits.decode, **taken)
        store, model = self._models.named(wish.model)
        photo, outcome = restore_photo(model, data, wish.strength, limits=limits, on_tile=on_tile, check=check)
        started = time.perf_counter()
        encoded = images.encode(photo, wish.output_format, wish.quality)
        photo_format = images.OUTPUT_FORMATS[wish.output_format] if wish.output_format else photo.format
        encode_s = time.perf_counter() - started
        megapixels = outcome.height_px * outcome.width_px / 1e6
        store.pace.note(megapixels, sum(outcome.seconds.values()) + encode_s)
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
