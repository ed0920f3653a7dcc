"""A page to look at models: choose a picture, degrade it, restore it, and drag a divider between before and after.

GET  /         the page
GET  /choices  what there is to choose from
POST /images   an image's bytes, ?name=NAME -> one more picture to choose
GET  /compare  ?image&x&y&kernel&noise&model&strength -> before, after and their difference as PNG in data URLs, with
               PSNR and milliseconds

For one person at this machine: it is bound to loopback, and refuses requests that were made for another host (DNS
rebinding) or by the page of another one. Models are opened once, one picture is restored at a time.
"""

import asyncio
import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib import resources
from itertools import count
from typing import Any

import numpy as np
from numpy.typing import NDArray
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, QueryParams
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from deblur.data.photos import SharpPhoto
from deblur.errors import DeblurError, RequestError
from deblur.evaluation.ways import Restore
from deblur.image_limits import DecodeLimits
from deblur.images import Photo, Rgb8, decode, encode, from_rgb8, to_rgb8
from deblur.metrics import psnr_db
from deblur.serving.body import read_body
from deblur.serving.limits import Limits, told
from deblur.serving.problems import STATUS, Problem, on_any_exception, on_client_gone
from deblur.serving.wish import number
from deblur.synthesis.frozen import degraded, frozen_kernels

LOOPBACK = re.compile(r"(localhost|127\.0\.0\.1|\[::1\])(:\d+)?", re.IGNORECASE)
UPLOADS = Limits(body_mb=40, decode=DecodeLimits(heif=True))
UPLOADS_KEPT, CACHED = 4, 8
MOST_NOISE = 50
DIFFERENCE_GAIN = 4
PAGE_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    "img-src data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
}


@dataclass(frozen=True)
class Wanted:
    """What the sliders say: the picture's number, the square that is shown (0, 0: top left; 1, 1: bottom right), the
    frozen kernel that blurs it or None, noise in levels of 255, what restores it, and how strongly, 0 to 1."""

    image: int
    x: float
    y: float
    kernel: int | None
    noise: float
    model: str
    strength: float


def create_app(
    images: Sequence[SharpPhoto],
    models: Mapping[str, Restore],
    kernel: int | None = None,
    noise: float = 0.0,
    crop_px: int = 512,
    uploads: Limits = UPLOADS,
) -> Starlette:
    """The page and what answers it, with at least one image and one model by name to choose from.

    It begins with ``kernel`` (None does not blur) and ``noise``, levels of 255. A square of ``crop_px`` is degraded and
    restored; ``uploads`` are the limits of a person's own picture.
    """
    live = _Live(images, models, {"kernel": kernel, "noise": min(noise, MOST_NOISE)}, crop_px, uploads)
    routes = [
        Route("/", live.page),
        Route("/choices", live.choices),
        Route("/images", live.add, methods=["POST"]),
        Route("/compare", live.compare),
    ]
    handlers = {
        DeblurError: _on_deblur_error,
        HTTPException: _on_http_exception,
        ClientDisconnect: on_client_gone,
        Exception: on_any_exception,
    }
    return Starlette(routes=routes, exception_handlers=handlers, middleware=[Middleware(_OwnMachineOnly)])


class _Live:
    def __init__(
        self,
        images: Sequence[SharpPhoto],
        models: Mapping[str, Restore],
        start: Mapping[str, float | None],
        crop_px: int,
        uploads: Limits,
    ) -> None:
        self._images = dict(enumerate(images))
        self._models, self._start, self._crop_px, self._uploads = models, start, crop_px, uploads
        self._given, self._numbers = len(images), count(len(images))
        self._one_at_a_time = asyncio.Lock()
        self._restored = lru_cache(CACHED)(self._restore)

    async def page(self, request: Request) -> Response:
        html = (resources.files("deblur.evaluation") / "live.html").read_bytes()
        return Response(html, media_type="text/html", headers=PAGE_HEADERS)

    async def choices(self, request: Request) -> Response:
        return JSONResponse(
            {
                "images": [self._told(image) for image in self._images],
                "models": list(self._models),
                "kernels": [{"name": name, "picture": _drawn(kernel)} for name, kernel in frozen_kernels().items()],
                "most_noise": MOST_NOISE,
                "crop_px": self._crop_px,
                "start": self._start,
            }
        )

    async def add(self, request: Request) -> Response:
        name = request.query_params.get("name", "your picture")[:100]
        sent = await read_body(request, self._uploads)
        async with self._one_at_a_time:
            photo = await run_in_threadpool(decode, sent.image, self._uploads.decode)
            image = next(self._numbers)
            self._images[image] = SharpPhoto(name, photo.rgb8)
            for old in list(self._images)[self._given : -UPLOADS_KEPT]:
                del self._images[old]
        return JSONResponse(self._told(image), 201)

    async def compare(self, request: Request) -> Response:
        wanted = self._wanted(request.query_params)
        async with self._one_at_a_time:
            if await request.is_disconnected():  # a slider has moved on while this waited
                raise ClientDisconnect
            compared = await run_in_threadpool(self._compare, wanted)
        return JSONResponse(compared, headers={"Cache-Control": "no-store"})

    def _told(self, image: int) -> dict[str, int | str]:
        height, width = self._images[image].pixels.shape[:2]
        return {"image": image, "name": self._images[image].name, "width": width, "height": height}

    def _wanted(self, said: QueryParams) -> Wanted:
        values = {"x": "0.5", "y": "0.5", "noise": "0", "strength": "1", "model": next(iter(self._models)), **said}
        unknown = sorted(values.keys() - Wanted.__dataclass_fields__.keys())
        if unknown:
            raise RequestError(f"Not known: {told(unknown[0])}. Allowed are {', '.join(Wanted.__dataclass_fields__)}.")
        image, model, kernel = values.get("image", ""), values["model"], values.get("kernel")
        for name, value, known in (("image", image, map(str, self._images)), ("model", model, self._models)):
            if value not in (there := list(known)):
                raise RequestError(f"{name} is {told(value)}; there are {', '.join(there)}.")
        return Wanted(
            int(image),
            number(values["x"], "x", 0, 1),
            number(values["y"], "y", 0, 1),
            None if kernel is None else int(number(kernel, "kernel", 0, len(frozen_kernels()) - 1, whole=True)),
            number(values["noise"], "noise", 0, MOST_NOISE),
            model,
            number(values["strength"], "strength", 0, 1),
        )

    def _compare(self, wanted: Wanted) -> dict[str, Any]:
        """Pictures as data URLs; PSNR is None where nothing was degraded: there is no reference then."""
        sharp, before, restored, restore_ms = self._restored(replace(wanted, strength=1.0))
        pixels = from_rgb8(before)
        after = to_rgb8(pixels + np.float32(wanted.strength) * (from_rgb8(restored) - pixels))
        has_reference = wanted.kernel is not None or wanted.noise > 0
        return {
            "before": _data_url(before),
            "after": _data_url(after),
            "difference": _data_url(difference(before, after)),
            "psnr_before_db": psnr_db(before, sharp) if has_reference else None,
            "psnr_after_db": psnr_db(after, sharp) if has_reference else None,
            "restore_ms": restore_ms,
            "width": before.shape[1],
            "height": before.shape[0],
        }

    def _restore(self, wanted: Wanted) -> tuple[Rgb8, Rgb8, Rgb8, float]:
        """The square as it is, degraded, and restored at full strength, and the milliseconds that took."""
        whole, side = self._images[wanted.image].pixels, self._crop_px
        places = zip((wanted.y, wanted.x), whole.shape[:2], strict=True)
        top, left = (round(at * max(0, length - side)) for at, length in places)
        sharp = whole[top : top + side, left : left + side]
        before = degraded(sharp, wanted.kernel, wanted.noise)
        restored, seconds = self._models[wanted.model](before)
        return sharp, before, restored, 1e3 * seconds


def difference(before: Rgb8, after: Rgb8) -> Rgb8:
    """``after - before``, four times as strong, around middle grey."""
    change = after.astype(np.int16) - before
    return np.clip(128 + DIFFERENCE_GAIN * change, 0, 255).astype(np.uint8)


def _data_url(rgb: Rgb8) -> str:
    return "data:image/png;base64," + base64.b64encode(encode(Photo(rgb))).decode("ascii")


def _drawn(kernel: NDArray[np.float32]) -> str:
    codes = np.rint(255 * (kernel / kernel.max()) ** (1 / 2.2)).astype(np.uint8)
    return _data_url(np.pad(codes, (49 - len(codes)) // 2)[..., None].repeat(3, axis=2))


class _OwnMachineOnly:
    """Refuses what was not asked of this machine by its loopback names, or was asked by a page of another host."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope) if scope["type"] == "http" else Headers({"host": "localhost"})
        host = headers.get("host", "")
        if LOOPBACK.fullmatch(host) and headers.get("origin", f"http://{host}") == f"http://{host}":
            await self._app(scope, receive, send)
        else:
            detail = f"Host is {told(host)}; this page answers localhost, 127.0.0.1 and [::1], and its own requests."
            await Problem(403, "foreign", detail)(scope, receive, send)


async def _on_deblur_error(request: Request, error: Exception) -> Response:
    """As the error says it: who asks is the person at this machine."""
    assert isinstance(error, DeblurError)
    return Problem(STATUS.get(type(error), 500), error.code, str(error))


async def _on_http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    code = {404: "not-found", 405: "method-not-allowed"}.get(error.status_code, "http-error")
    detail = f"{request.method[:20]} {told(request.url.path)} is not served. The page is at /."
    return Problem(error.status_code, code, detail, dict(error.headers or {}))
