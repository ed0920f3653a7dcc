"""``deblur serve``: the HTTP API on this machine."""

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from deblur.cli.console import say
from deblur.cli.opening import Chosen, Opened, Opening, opener
from deblur.errors import SettingError

if TYPE_CHECKING:
    from starlette.applications import Starlette


def serve(
    opening: Opened = Opening(),
    host: str = "127.0.0.1",
    port: int = 7071,
    heif: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
) -> int:
    """Serve the HTTP API: POST a photo to /api/deblur.

    Where the model is models:/NAME@ALIAS, the service follows the alias.

    Args:
        opening: Model and engine.
        host: Address to listen on.
        port: Port to listen on; 0 takes a free one.
        heif: Read AVIF, too, and HEIC where pillow-heif is installed; DEBLUR_HEIF=1 does the same.
    """
    from deblur.images import DecodeLimits
    from deblur.inference.model_folder import Model
    from deblur.library import locate_followed
    from deblur.serving.api import create_app
    from deblur.serving.limits import Limits
    from deblur.serving.model_store import ModelStore

    limits = Limits(decode=DecodeLimits(heif=True)) if heif else Limits()
    chosen, open_folder = Chosen(opening), opener(opening)

    def open_and_tell(folder: Path) -> Model:
        model = open_folder(folder)
        say(chosen.line(folder, model.info) or f"restoring with {model.info.label}")
        return model

    with closing(ModelStore(chosen.locate, open_and_tell, lambda: locate_followed(opening.model))) as store:
        return run(create_app(store, limits), host, port, "serving on {url}  (POST /api/deblur, GET /api/health)")


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
