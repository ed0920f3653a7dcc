"""The HTTP API: POST a photo, get it back restored.

POST /api/deblur          image bytes, multipart field ``image``, or JSON {"image": base64} -> the restored image;
                          strength, format, quality, frames, metadata, guard and model in the query, or beside the image
GET  /api/models          the models to choose from, and what a photo may cost
GET  /api/health          whether a photo would be restored, and by what
GET  /api/ready           whether it would be without waiting for a model
GET  /api/openapi.json    this, for programs
GET  /                    the page, for people

and on a server of one's own

GET  /api/progress/ID     how far the photo is that was sent with ?progress=ID
GET  /api/metrics         for Prometheus
POST /api/hooks/registry  MLflow's webhook: ask the registry now
"""

import asyncio
import base64
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from functools import partial
from traceback import clear_frames
from typing import Any
from urllib.parse import quote

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from deblur import errors, images
from deblur.inference.photo import Outcome, restore_photo
from deblur.inference.restorer import OnTile, ignore
from deblur.serving import conditional, hook, page
from deblur.serving.about import About
from deblur.serving.body import Sent, body_within, read_body
from deblur.serving.limits import Gate, Left, Limits, Room, told
from deblur.serving.metrics import Metrics
from deblur.serving.model_store import ModelStore, Served
from deblur.serving.models import Models
from deblur.serving.pace import Promised
from deblur.serving.problems import HANDLERS, Problem, problem_of
from deblur.serving.progress import Progress
from deblur.serving.standalone import Standalone
from deblur.serving.wish import Wish, wish_of

HOOK_MB = 0.1
STOPPING = "The service is stopping. Send the photo again in a moment."
SHOWN = ("Frames", "Guard", "Left-Out", "Model", "Tiles")
OUR_HEADERS = ("ETag", "Retry-After", "Server-Timing", *(f"X-Deblur-{name}" for name in SHOWN))
Endpoint = Callable[[Request], Awaitable[Response]]


def create_app(
    stores: ModelStore | Mapping[str, ModelStore],
    limits: Limits | None = None,
    *,
    with_post: bool = True,
    standalone: Standalone | None = None,
) -> Starlette:
    """The service. ``app.state.stop()`` ends the photos that run, with a 503.

    Args:
        stores: the models that restore, by name, the default first; or the one.
        limits: what a request may cost.
        with_post: whether photos are taken. Anonymous routes on Azure mount an app without, so that no spelling of
            the path can get around the function key.
        standalone: what an app needs that is its own host; None in a function app.
    """
    limits, models = limits or Limits(), Models(stores)
    about = About(models, limits, keyed=not with_post or bool(standalone and standalone.key))
    api = _Api(models, limits, standalone, about)
    table: dict[str, dict[str, Endpoint]] = {
        "/api/health": {"GET": about.health},
        "/api/ready": {"GET": about.ready},
        "/api/models": {"GET": about.models},
        "/api/openapi.json": {"GET": about.openapi},
        **page.ENDPOINTS,
    }
    if with_post:
        table["/api/deblur"] = {"POST": api.deblur}
    if standalone:
        table |= {"/api/progress/{id}": {"GET": api.progress}, "/api/metrics": {"GET": api.metrics}}
        if standalone.hook_secret:
            table["/api/hooks/registry"] = {"POST": api.hook}

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        for store in models.stores.values():
            if store.warm:
                store.open_beside()
        yield

    app = Starlette(
        lifespan=lifespan,
        routes=[_route(path, endpoints, api.counts) for path, endpoints in table.items()],
        exception_handlers=HANDLERS,
        middleware=_for_pages(standalone.origins if standalone else (), api.counts),
    )
    app.router.redirect_slashes = False  # a path is served or it is not
    app.state.stop = api.stop
    return app


def _for_pages(origins: tuple[str, ...], counts: Metrics) -> list[Middleware]:
    class Cors(CORSMiddleware):
        """Starlette's, where a preflight that is refused is a problem and counted, as every answer is."""

        def preflight_response(self, request_headers: Headers) -> Response:
            answer = super().preflight_response(request_headers)
            if answer.status_code == 200:
                return answer
            what = bytes(answer.body).decode().removeprefix("Disallowed CORS ")  # of origin, method, headers
            detail = f"A page of {told(request_headers['origin'])} may not send this (not allowed: {what})."
            counts.add("deblur_requests_total", path="preflight", status="403", code="origin-refused")
            return Problem(403, "origin-refused", detail, {"Vary": answer.headers["Vary"]})

    cors = Middleware(
        Cors,
        allow_origins=origins,
        allow_methods=("GET", "POST"),
        allow_headers=("Authorization", "Content-Type", "If-None-Match", "x-functions-key"),
        expose_headers=OUR_HEADERS,
    )
    return [cors] if origins else []


def _route(path: str, endpoints: dict[str, Endpoint], counts: Metrics) -> Route:
    """GET brings HEAD with it, and OPTIONS says what there is. Every answer is counted."""
    methods = sorted({*endpoints, "OPTIONS", *(["HEAD"] if "GET" in endpoints else [])})

    async def endpoint(request: Request) -> Response:
        if request.method == "OPTIONS":
            return Response(status_code=204, headers={"Allow": ", ".join(methods)})
        try:
            answer = await endpoints["GET" if request.method == "HEAD" else request.method](request)
        except Exception as error:
            answer = await problem_of(request, error)
            clear_frames(error.__traceback__)  # in circles they hold the photo until Python next collects garbage
        counts.add(
            "deblur_requests_total", path=path, status=str(answer.status_code), code=getattr(answer, "code", "none")
        )
        return answer

    return Route(path, endpoint, methods=methods)


class _Api:
    def __init__(self, models: Models, limits: Limits, standalone: Standalone | None, about: About) -> None:
        self._models, self._limits, self._standalone, self._about = models, limits, standalone, about
        self._bodies, self._gate = Room(int(limits.reading_mb * 1e6)), Gate(limits.slots, limits.waiting)
        self._promised = Promised(limits.answer_s, limits.slots)
        self._progress, self.counts = Progress(), Metrics()
        self._reading, self._inside, self._stopping = set[asyncio.Task[Any]](), set[Left](), False

    def stop(self) -> None:
        """End what runs, and take no more: who waits for a photo is told to come back. In the event loop."""
        self._stopping = True
        for task in self._reading:
            task.cancel()
        for left in self._inside:
            _end(left, errors.ServiceBusy(STOPPING))

    async def deblur(self, request: Request) -> Response:
        if not self._admits(request):
            return _key_required()
        asked = [pair for pair in request.query_params.multi_items() if pair[0] not in ("code", "progress")]
        wish_of(asked)  # a mistake here is told before the body is read
        idents = request.query_params.getlist("progress")
        on_tile = self._progress.begin(",".join(idents)) if idents else ignore  # no id has a comma: two are refused
        started = time.perf_counter()
        with self._bodies.of_one() as room, self._body():
            sent = await read_body(request, self._limits, room)
        self.counts.observe("read", time.perf_counter() - started)
        wish = wish_of(asked + sent.options)
        with self._gate.places:
            async with self._left(request) as left:
                served, tag, megapixels = await run_in_threadpool(self._chosen, sent, wish)
                if conditional.has(request, tag):
                    return Response(status_code=304, headers={"ETag": tag})
                with self._promised.photo(megapixels, served.pace):
                    asked_s = time.perf_counter()
                    async with self._gate.slot(left):
                        work = partial(self._restored, sent, wish, served, tag, left, on_tile, asked_s)
                        return await run_in_threadpool(work)

    def _chosen(self, sent: Sent, wish: Wish) -> tuple[Served, str, float]:
        """The model, the answer's tag and the photo's megapixels; what its header rules out waits for no turn."""
        served = self._models.named(wish.model)
        tag = conditional.tag_of(sent.image, served.model, wish, sent.as_json)
        return served, tag, images.megapixels(sent.image, self._limits.decode)

    def _restored(
        self, sent: Sent, wish: Wish, served: Served, tag: str, left: Left, on_tile: OnTile, asked_s: float
    ) -> Response:
        """All the work, in a worker thread. Compiling the network for new tiles counts as waiting."""
        started = time.perf_counter()
        taken = {"first_of_many": wish.frames == "first", "private": wish.metadata == "keep"}
        photo = images.decode(sent.image, replace(self._limits.decode, **taken))
        images.format_of_output(photo, wish.output_format, wish.quality)  # refuses before the work
        decoded = time.perf_counter()
        served.model.restorer.prepare(photo.rgb)
        check, guarded = partial(_stop_if, left), wish.guard == "on"
        _, outcome = restore_photo(served.model, photo, wish.strength, guarded=guarded, on_tile=on_tile, check=check)
        restored = time.perf_counter()
        data = images.encode(photo, wish.output_format, wish.quality)
        encoded = time.perf_counter()
        seconds = {"decode": decoded - started, **outcome.seconds, "encode": encoded - restored}
        outcome = replace(outcome, seconds={"wait": encoded - asked_s - sum(seconds.values()), **seconds})
        self._count(served, outcome)
        return _response(sent, wish, photo, data, outcome, tag)

    async def progress(self, request: Request) -> Response:
        found = self._progress.of(request.path_params["id"])
        if found is None:
            return Problem(404, "progress-unknown", "No photo is known by this id; it may be long done.")
        return JSONResponse({"done": found[0], "total": found[1]})

    async def metrics(self, request: Request) -> Response:
        if not self._admits(request):
            return _key_required()
        places = self._gate.places
        gauges = self._about.gauges()
        gauges += [("deblur_photos_inside", {}, places.taken), ("deblur_places", {}, places.count)]
        return PlainTextResponse(self.counts.text(gauges), media_type="text/plain; version=0.0.4")

    async def hook(self, request: Request) -> Response:
        """Not the key but the registry's own signature opens it."""
        with self._body():
            body = await body_within(request, replace(self._limits, body_mb=HOOK_MB))
        assert self._standalone is not None
        if not hook.is_signed(self._standalone.hook_secret, request.headers, body):
            return Problem(401, "signature-wrong", "The delivery is not signed with the secret, or it is old.")
        for store in self._models.stores.values():
            store.ask_now()
        return Response(status_code=202)

    def _admits(self, request: Request) -> bool:
        return self._standalone is None or self._standalone.admits(request)

    def _count(self, served: Served, outcome: Outcome) -> None:
        megapixels = outcome.height_px * outcome.width_px / 1e6
        for stage, seconds in outcome.seconds.items():
            self.counts.observe(stage, seconds)
        self.counts.add("deblur_megapixels_total", megapixels, model=outcome.model)
        self.counts.add("deblur_guarded_photos_total", int(outcome.replaced > 0), model=outcome.model)
        work_s = sum(outcome.seconds.values()) - outcome.seconds["wait"]
        served.pace.note(megapixels, work_s / self._promised.sharing)

    @contextmanager
    def _body(self) -> Iterator[None]:
        """Read a body; who still sends when the service stops is told so."""
        task = asyncio.current_task()
        assert task is not None
        self._reading.add(task)
        try:
            yield
        except asyncio.CancelledError:
            if not self._stopping:
                raise
            task.uncancel()
            raise errors.ServiceBusy(STOPPING) from None
        finally:
            self._reading.discard(task)

    @asynccontextmanager
    async def _left(self, request: Request) -> AsyncIterator[Left]:
        """Done once there is nobody to answer, or no time. For requests whose body was read."""
        left: Left = asyncio.get_running_loop().create_future()

        async def watch() -> None:
            while (await request.receive())["type"] != "http.disconnect":
                pass
            _end(left, ClientDisconnect())

        watcher = asyncio.create_task(watch())
        self._inside.add(left)
        if self._stopping:
            _end(left, errors.ServiceBusy(STOPPING))
        try:
            yield left
        finally:
            watcher.cancel()
            self._inside.discard(left)


def _end(left: Left, why: Exception) -> None:
    if not left.done():
        left.set_result(why)


def _response(sent: Sent, wish: Wish, photo: images.Photo, data: bytes, outcome: Outcome, tag: str) -> Response:
    headers = {
        "ETag": tag,
        "X-Deblur-Model": quote(outcome.model, safe="/@ "),  # headers are latin-1
        "X-Deblur-Tiles": str(outcome.tiles),
        "X-Deblur-Guard": outcome.guard if wish.guard == "on" else "off",
        "Server-Timing": ", ".join(f"{stage};dur={1e3 * seconds:.0f}" for stage, seconds in outcome.seconds.items()),
    }
    if photo.frames > 1:
        headers["X-Deblur-Frames"] = f"1 of {photo.frames}"
    if photo.said.more_pictures:
        headers["X-Deblur-Left-Out"] = "further pictures of the file, such as a gain map"
    photo_format = images.OUTPUT_FORMATS[wish.output_format] if wish.output_format else photo.format
    if not sent.as_json:
        return Response(data, media_type=images.MEDIA_TYPES[photo_format], headers=headers)
    encoded = base64.b64encode(data).decode("ascii")
    return JSONResponse({"image": encoded, "format": photo_format.lower(), "model": outcome.model}, headers=headers)


def _key_required() -> Response:
    return Problem(401, "key-required", "Send the key: Authorization: Bearer KEY.", {"WWW-Authenticate": "Bearer"})


def _stop_if(left: Left) -> None:
    if left.done():
        raise left.result()
