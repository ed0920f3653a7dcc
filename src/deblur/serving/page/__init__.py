"""The page at ``GET /``: a photo in, the restored photo beside it. The files of this folder as they are, no build step.

index.html  what there is              page.css    how it looks
page.js     the photos and their states            viewer.js   before and after on a canvas
service.js  what it asks of the HTTP API
"""

from collections.abc import Awaitable, Callable
from functools import partial
from importlib import resources

from starlette.requests import Request
from starlette.responses import Response

FILES = {
    "index.html": "text/html",
    "page.css": "text/css",
    "page.js": "text/javascript",
    "viewer.js": "text/javascript",
    "service.js": "text/javascript",
}
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


async def _file(name: str, request: Request) -> Response:
    return Response((resources.files(__name__) / name).read_bytes(), media_type=FILES[name], headers=HEADERS)


ENDPOINTS: dict[str, dict[str, Callable[[Request], Awaitable[Response]]]] = {
    "/" if name == "index.html" else f"/{name}": {"GET": partial(_file, name)} for name in FILES
}
"""By path and method, for anyone: the page holds no secret, and a key is asked for when a photo is sent."""
