"""``deblur serve``: the HTTP API on this machine."""

from deblur.cli.console import say
from deblur.cli.opening import Opened, Opening, opener
from deblur.errors import SettingError


def serve(opening: Opened = Opening(), host: str = "127.0.0.1", port: int = 7071) -> int:
    """Serve the HTTP API: POST a photo to /api/deblur.

    Args:
        opening: Model and engine.
        host: Address to listen on.
        port: Port to listen on; 0 takes a free one.
    """
    import socket

    import uvicorn

    from deblur.library import locate
    from deblur.serving.api import create_app
    from deblur.serving.model_store import ModelStore

    if not 0 <= port <= 65_535:
        raise SettingError(f"--port is {port}; allowed are 0 to 65535.")
    app = create_app(ModelStore(lambda: locate(opening.model), opener(opening)))
    try:
        listening = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        raise SettingError(f"Nothing can listen on {host}, port {port} ({error}). Choose another --port.") from error
    with listening:
        port = listening.getsockname()[1]
        shown = f"[{host}]" if ":" in host else host
        say(f"serving on http://{shown}:{port}  (POST /api/deblur, GET /api/health)")
        uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=20)).run([listening])
    return 0
