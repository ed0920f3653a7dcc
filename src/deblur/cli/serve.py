"""``deblur serve``: the HTTP API on this machine."""

import ipaddress
import os
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from deblur.cli.console import complain, say
from deblur.cli.opening import Chosen, Ran, Running, by_name, opener
from deblur.errors import SettingError

if TYPE_CHECKING:
    from starlette.applications import Starlette

    from deblur.inference.model_folder import Model
    from deblur.serving.model_store import ModelStore

GRACE_S = 20
"""What photos may take once the service is told to stop."""


def serve(
    model: tuple[str, ...] = (),
    running: Ran = Running(),
    host: str = "127.0.0.1",
    port: int = 7071,
    waiting: int | None = None,
    warm: bool = True,
    key_file: Path | None = None,
    cors: tuple[str, ...] = (),
    heif: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
) -> int:
    """Serve the HTTP API on this machine: POST a photo to /api/deblur.

    If a model is named as models:/NAME@ALIAS, the service follows the alias to other versions. If DEBLUR_HOOK_SECRET is
    set, MLflow's webhook may call /api/hooks/registry, and the service follows at once.

    Args:
        model: A model folder, models:/NAME@champion, or bundled (the model of this package); or several with names, as
            a=FOLDER b=models:/NAME@champion, of which the first is the default. Without it, the one that DEBLUR_MODEL
            names, else the registry's champion if it has beaten the bundled model (deblur promote), else the bundled
            model.
        running: How the models run.
        host: Address to listen on.
        port: Port to listen on; 0 takes a free one.
        waiting: How many photos may wait while three are in work (one on a single core); by default two for each core.
            One more is told to come back later.
        warm: Open the models and compute a tile before the first request comes.
        key_file: File with the key that a request must have (Authorization: Bearer KEY); by default the key in
            DEBLUR_KEY, else none is needed.
        cors: Web sites whose pages may call the API from a browser, such as https://example.org.
        heif: Read AVIF, too, and HEIC where pillow-heif is installed; DEBLUR_HEIF=1 does the same.
    """
    from deblur.serving.api import create_app
    from deblur.serving.limits import Limits
    from deblur.serving.standalone import NO_KEY, Standalone

    if waiting is not None and waiting < 0:
        raise SettingError(f"--waiting is {waiting}; allowed are whole numbers from 0.")
    key = _key(key_file)
    if not key and not _is_loopback(host):
        complain(f"WARNING: {NO_KEY}")
    standalone = Standalone(key, cors, os.environ.get("DEBLUR_HOOK_SECRET", ""))
    stores = {name: _store(named, running, warm) for name, named in by_name(model).items()}
    with ExitStack() as closed:
        for store in stores.values():
            closed.enter_context(closing(store))
        limits = Limits()
        if heif:
            limits = replace(limits, decode=replace(limits.decode, heif=True))
        if waiting is not None:
            limits = replace(limits, waiting=waiting)
        app = create_app(stores, limits, standalone=standalone)
        return run(app, host, port, "serving on {url}  (POST /api/deblur, GET /api/health)")


def _store(named: str | None, running: Running, warm: bool) -> "ModelStore":
    from deblur.inference.locating import bundled_model, in_registry
    from deblur.library import locate_followed
    from deblur.serving.model_store import ModelStore

    wanted = named or os.environ.get("DEBLUR_MODEL")  # must be had: the store tells where it is not, and falls back
    chosen, open_folder = Chosen(wanted), opener(running)

    def open_and_tell(folder: Path) -> "Model":
        model = open_folder(folder)
        say(chosen.line(folder, model.info) or f"restoring with {model.info.label}")
        return model

    def fallbacks() -> list[Path]:
        if wanted and not in_registry(wanted):
            return []  # a folder that was named must be had
        from deblur.registry.versions import last_good

        return [folder for folder in (last_good(wanted), bundled_model()) if folder]

    return ModelStore(
        chosen.locate,
        open_and_tell,
        lambda: locate_followed(wanted),
        fallbacks=fallbacks,
        warm=warm,
    )


def _key(file: Path | None) -> str:
    from deblur.serving.standalone import checked_key

    if file is None:
        return checked_key(os.environ.get("DEBLUR_KEY", ""), "DEBLUR_KEY")
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingError(f"The key file {file} cannot be read ({type(error).__name__}).") from error
    return checked_key(text or "empty", str(file))


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def run(app: "Starlette", host: str, port: int, said: str) -> int:
    """Serve an app until it is stopped; ``said``, with the address in place of ``{url}``, is told once it listens."""
    import socket

    from deblur.serving.server import server_of

    if not 0 <= port <= 65_535:
        raise SettingError(f"--port is {port}; allowed are 0 to 65535.")
    try:
        listening = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        reason = (error.strerror or str(error)).partition(" (while")[0]
        raise SettingError(f"Nothing can listen on {host}, port {port} ({reason}). Choose another --port.") from error
    with listening:
        port = listening.getsockname()[1]
        shown = f"[{host}]" if ":" in host else host
        say(said.format(url=f"http://{shown}:{port}"))
        server_of(app, GRACE_S).run([listening])
    return 0
