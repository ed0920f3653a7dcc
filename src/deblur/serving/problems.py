"""Errors become RFC 9457 problem+json here, and nowhere else."""

import logging
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse

from deblur import errors
from deblur.serving.limits import RETRY_AFTER_S, told

logger = logging.getLogger("deblur.serving")

STATUS: dict[type[errors.DeblurError], int] = {
    errors.UnreadablePhoto: 422,
    errors.UnsupportedPhoto: 415,
    errors.PhotoTooLarge: 413,
    errors.RequestError: 400,
    errors.SlowBody: 408,
    errors.ServiceBusy: 503,
    errors.ModelError: 503,
}
TITLES = {
    400: "Bad request",
    401: "Key required",
    403: "Refused",
    404: "Not found",
    405: "Method not allowed",
    408: "Too slow",
    413: "Too large",
    415: "Unsupported",
    422: "Not a readable image",
    431: "Headers too large",
    500: "Internal error",
    503: "Not available now",
}


class Problem(JSONResponse):
    """A problem+json answer: a stable ``code`` for programs, a sentence for people."""

    media_type = "application/problem+json"

    def __init__(self, status: int, code: str, detail: str, headers: dict[str, str] | None = None) -> None:
        self.code = code
        title = TITLES.get(status, "Error")
        told = {"type": "about:blank", "title": title, "status": status, "code": code, "detail": detail}
        super().__init__(told, status, headers)


async def on_deblur_error(request: Request, error: Exception) -> Problem:
    """What went wrong, as the error itself says it. A model's trouble is told in the log, where it may name paths."""
    assert isinstance(error, errors.DeblurError)
    status = STATUS.get(type(error), 500)
    detail = str(error)
    if isinstance(error, errors.ModelError):
        detail = "The model cannot be used now. The service's log says why; GET /api/health tells when it is back."
    wait_s = getattr(error, "retry_after_s", None) or RETRY_AFTER_S
    headers = {"Retry-After": str(wait_s)} if status == 503 else None
    return Problem(status, error.code, detail, headers)


async def on_http_exception(request: Request, error: Exception) -> Problem:
    """Routing's own errors: no such path, wrong method."""
    assert isinstance(error, HTTPException)
    code = {404: "not-found", 405: "method-not-allowed"}.get(error.status_code, "http-error")
    detail = f"{request.method[:20]} {told(request.url.path)} is not served. GET /api/openapi.json lists what is."
    return Problem(error.status_code, code, detail, dict(error.headers or {}))


async def on_client_gone(request: Request, error: Exception) -> Problem:
    """The client left while it was sending; nobody reads this."""
    return Problem(400, "client-gone", "The connection ended before the body did.")


async def on_any_exception(request: Request, error: Exception) -> Problem:
    """A fault of ours: an id in the answer and in the log, and nothing else in the answer."""
    fault = uuid.uuid4().hex[:12]
    logger.error("fault %s", fault, exc_info=error)
    return Problem(
        500, "internal", f"Something went wrong here. Tell us the id {fault}; the next request is not affected."
    )


HANDLERS: dict[Any, Callable[[Request, Exception], Awaitable[Problem]]] = {
    errors.DeblurError: on_deblur_error,
    HTTPException: on_http_exception,
    ClientDisconnect: on_client_gone,
    Exception: on_any_exception,
}


async def problem_of(request: Request, error: Exception) -> Problem:
    """The answer to an error; made inside the endpoint, because Starlette raises on what is answered outside."""
    return await next(handler for kind, handler in HANDLERS.items() if isinstance(error, kind))(request, error)
