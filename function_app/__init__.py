"""The Azure Functions app: routes, keys, and the API behind them. Nothing here may raise at import.

An exception at import would mean an app without functions that answers 404 to everything, so the model is opened by
the first request; if that fails, the answer is a 503 problem.
"""

import importlib.util
import os
import sys
from functools import partial
from pathlib import Path

import azure.functions as func

ROOT = Path(__file__).resolve().parents[1]
if importlib.util.find_spec("deblur") is None:  # a checkout that is not installed; a deployed app has deblur/ beside it
    sys.path.insert(0, str(ROOT / "src"))

from deblur.inference.locating import bundled_model, followed, in_registry, locate_model
from deblur.serving.api import create_app
from deblur.serving.model_store import ModelStore
from deblur.serving.registry_client import fetch_over_http

DEPLOYED_MODEL, DEPLOYED_MODELS = ROOT / "model", ROOT / "models"


def _locate() -> Path:
    """``DEBLUR_MODEL``, else the ``model/`` folder that was deployed with the app, else the bundled model."""
    wanted = os.environ.get("DEBLUR_MODEL")  # must be had: the store tells where it is not, and falls back
    return locate_model(wanted, fetch_over_http, lambda: str(DEPLOYED_MODEL) if DEPLOYED_MODEL.is_dir() else None)


def _follow() -> Path | None:
    """Where the alias that ``DEBLUR_MODEL`` names points now."""
    uri = followed(None)
    return fetch_over_http(uri) if uri else None


def _fallbacks() -> list[Path]:
    """What comes with the app, where the registry's model is not to be had, or fails its checks."""
    folder = (DEPLOYED_MODEL if DEPLOYED_MODEL.is_dir() else bundled_model()) if in_registry(None) else None
    return [folder] if folder else []


def _several() -> dict[str, ModelStore]:
    """Those that 'deblur package' staged by name, the default first; none where it staged one."""
    names = DEPLOYED_MODELS / "names.txt"
    lines = names.read_text(encoding="utf-8").splitlines() if names.is_file() else []
    return {name: ModelStore(partial(DEPLOYED_MODELS.joinpath, name)) for name in lines}


store = ModelStore(_locate, follow=_follow, fallbacks=_fallbacks)
stores = _several() or store
keyed = func.AsgiMiddleware(create_app(stores))  # type: ignore[no-untyped-call]
anonymous = func.AsgiMiddleware(create_app(stores, with_post=False))  # type: ignore[no-untyped-call]

app = func.FunctionApp(http_auth_level=func.AuthLevel.FUNCTION)


@app.function_name("deblur")
@app.route("api/deblur", methods=[func.HttpMethod.POST], auth_level=func.AuthLevel.FUNCTION)
async def deblur(req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
    """Restore a photo; needs the function key."""
    return await keyed.handle_async(req, context)


@app.function_name("about")
@app.route("{*path}", methods=[func.HttpMethod.GET, func.HttpMethod.HEAD], auth_level=func.AuthLevel.ANONYMOUS)
async def about(req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
    """The page, health, models and OpenAPI document; an app that takes no photos. AzureWebJobsDisableHomepage=true."""
    return await anonymous.handle_async(req, context)
