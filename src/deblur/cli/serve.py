"""``deblur serve``: the HTTP API on this machine."""

from typing import TYPE_CHECKING

from deblur.cli.console import say
from deblur.cli.opening import Opened, Opening, opener
from deblur.errors import SettingError

if TYPE_CHECKING:
    from starlette.applications import Starlette


def serve(opening: Opened = Opening(), host: str = "127.0.0.1", port: int = 7071) -> int:
    """Serve the HTTP API: POST a photo to /api/deblur.

    Args:
        opening: Model and engine.
        host: Address to listen on.
        port: Port to listen on; 0 takes a free one.
    """
    from deblur.library import locate
    from deblur.serving.api import create_app
    from deblur.serving.model_store import ModelStore

    app = create_app(ModelStore(lambda: locate(opening.model), opener(opening)))
    return run(app, host, port, "serving on {url}  (POST /api/deblur, GET /api/health)")


def run(app: "Starlette", host: str, port: int, said: str) -> int:
    """Serve an app until it is stopped; ``said``, with the address in place of ``{url}``, is told once it listens."""
    import socket

    import uvicorn

    if not 0 <= port <= 65_535:
        raise SettingError(f"--port is {port}; allowed are 0 to 65535.")
    try:
        listening = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        raise SettingError(f"Nothing can listen on {host}, port {port} ({error}). Choose another --port.") from error
    with listening:
        port = listening.getsockname()[1]
        shown = f"[{host}]" if ":" in host else host
        say(said.format(url=f"http://{shown}:{port}"))
        uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=20)).run([listening])
    return 0
