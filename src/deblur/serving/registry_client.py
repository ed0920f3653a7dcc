"""Fetch a registered model from an MLflow server with plain HTTP: the deployed part has no mlflow.

Two kinds of GET: which version an alias names, and the files of that version. It logs in as MLflow's own client does:
with user and password of the address, else ``MLFLOW_TRACKING_USERNAME`` and ``MLFLOW_TRACKING_PASSWORD``, else
``MLFLOW_TRACKING_TOKEN``. No other host is sent a login, wherever the server redirects to.
"""

import base64
import http.client
import json
import os
import shutil
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import IO, Any, BinaryIO

from deblur.addresses import login_of
from deblur.errors import ModelError
from deblur.files import passing_folder
from deblur.inference.locating import parse_model_uri
from deblur.inference.model_folder import JSON_FILE, ONNX_FILE, is_whole, stamp_version, whole_info

TIMEOUT_S = 30
FILE_MB, JSON_MB = 512, 1
CHUNK = 1 << 20
USUAL_PORT = {"http": 80, "https": 443}

KEPT = 8
"""Fetched versions, here of a name; of more, the one that was not asked for longest is deleted."""

_fetching = Lock()
_fetched: dict[tuple[str, ...], Path] = {}
"""(server, name, version, run) -> the folder that this process has fetched; the one asked for last at the end."""


def fetch_over_http(uri: str, tracking_uri: str | None = None) -> Path:
    """``models:/NAME@ALIAS`` or ``models:/NAME/VERSION`` -> a model folder in the temporary directory.

    A process fetches a version once, as long as its folder is whole.

    Args:
        uri: the model.
        tracking_uri: the server's ``http(s)://`` address; by default ``MLFLOW_TRACKING_URI``.

    Raises:
        ModelError: no server is named, it does not answer, it refuses the login, it has no such model, it answers
            something else than a registry does, or its file was altered.
    """
    server = tracking_uri or os.environ.get("MLFLOW_TRACKING_URI", "")
    if not server.startswith(("http://", "https://")):
        raise ModelError(f"{uri} needs MLFLOW_TRACKING_URI, the http(s) address of an MLflow server.")
    if os.environ.get("MLFLOW_TRACKING_INSECURE_TLS", "").lower() in ("true", "1"):
        raise ModelError(
            "MLFLOW_TRACKING_INSECURE_TLS is set, and certificates are always checked here: a model decides what users "
            "get. Unset it; SSL_CERT_FILE names the certificate of an authority of your own."
        )
    with _told_without_address():
        name, version, run_id = _resolve(server, uri)
        key = (server, name, version, run_id or "")
        with _fetching:
            folder = _fetched.get(key)
            if folder is None or not is_whole(folder):
                folder = _fetch(server, name, version, run_id)
            _fetched.pop(key, None)
            _fetched[key] = folder
            for earlier in [each for each in _fetched if each[:2] == key[:2]][:-KEPT]:
                shutil.rmtree(_fetched.pop(earlier), ignore_errors=True)
            return folder


@contextmanager
def _told_without_address() -> Iterator[None]:
    """The network's own words may hold the address, and the address a password."""
    try:
        yield
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise ModelError(f"The registry cannot be reached ({type(error).__name__}).") from None


def _fetch(server: str, name: str, version: str, run_id: str | None) -> Path:
    folder = passing_folder("deblur-model-")
    try:
        for file, limit_mb in ((ONNX_FILE, FILE_MB), (JSON_FILE, JSON_MB)):
            query = {"path": f"extra_files/{file}", "name": name, "version": version}
            with _get(server, "/model-versions/get-artifact", query) as answer, (folder / file).open("wb") as target:
                _copy(answer, target, f"The registry's {file}", limit_mb)
        whole_info(folder)
        stamp_version(folder, name, version, run_id)
    except BaseException as error:
        shutil.rmtree(folder, ignore_errors=True)
        if isinstance(error, ModelError):  # the folder is gone
            raise ModelError(str(error).replace(str(folder), f"{name} version {version}")) from None
        raise
    return folder


def _copy(answer: IO[bytes], target: BinaryIO, what: str, limit_mb: int) -> None:
    size = 0
    while chunk := answer.read(CHUNK):
        size += len(chunk)
        if size > limit_mb * 1e6:
            raise ModelError(f"{what} has more than {limit_mb} MB.")
        target.write(chunk)


def _resolve(server: str, uri: str) -> tuple[str, str, str | None]:
    """-> (name, version, run id)."""
    name, alias, number = parse_model_uri(uri)
    if alias:
        answer = _get_json(server, "/api/2.0/mlflow/registered-models/alias", {"name": name, "alias": alias})
    else:
        answer = _get_json(server, "/api/2.0/mlflow/model-versions/get", {"name": name, "version": number})
    try:
        found = answer["model_version"]
        return name, str(found["version"]), found.get("run_id") or None
    except (KeyError, TypeError, AttributeError):
        raise ModelError(f"The registry's answer names no version of {name}. Is MLFLOW_TRACKING_URI right?") from None


def _get_json(server: str, path: str, query: dict[str, str]) -> Any:
    with _get(server, path, query) as answer:
        text = answer.read(int(JSON_MB * 1e6) + 1)
    if len(text) > JSON_MB * 1e6:
        raise ModelError(f"The registry's answer has more than {JSON_MB} MB.")
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise ModelError(
            "The registry answered with something else than JSON, a login page perhaps. Is MLFLOW_TRACKING_URI right?"
        ) from None


def _get(server: str, path: str, query: dict[str, str]) -> Any:
    place, user, password = login_of(server)
    request = urllib.request.Request(f"{place.rstrip('/')}{path}?{urllib.parse.urlencode(query)}")
    login = _login(user, password)
    if login:
        request.add_unredirected_header("Authorization", login)
    try:
        return urllib.request.build_opener(_SameHost()).open(request, timeout=TIMEOUT_S)
    except urllib.error.HTTPError as error:
        if error.code not in (401, 403):
            raise ModelError(f"The registry answered {error.code} for {query['name']}.") from None
        raise ModelError(
            f"The registry refuses the login (it answered {error.code}). Set MLFLOW_TRACKING_USERNAME and "
            "MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN."
        ) from None


def _login(user: str, password: str) -> str | None:
    """The header ``Authorization``, of the address's login or the environment's."""
    if not (user or password):
        user, password = (os.environ.get(f"MLFLOW_TRACKING_{name}", "") for name in ("USERNAME", "PASSWORD"))
        token = os.environ.get("MLFLOW_TRACKING_TOKEN")
        if not (user and password):
            return f"Bearer {token}" if token else None
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode("ascii")


class _SameHost(urllib.request.HTTPRedirectHandler):
    """Takes the login along to the same host only; a step from http to https is the same host."""

    def redirect_request(
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        """The next request, as urllib makes it: without the login, which is added where it may go."""
        following = super().redirect_request(req, fp, code, msg, headers, newurl)
        login = req.get_header("Authorization")
        if following and login and _same_host(req.full_url, newurl):
            following.add_unredirected_header("Authorization", login)
        return following


def _same_host(before: str, after: str) -> bool:
    old, new = urllib.parse.urlsplit(before), urllib.parse.urlsplit(after)
    ports = [part.port or USUAL_PORT.get(part.scheme) for part in (old, new)]
    upgraded = (old.scheme, new.scheme, *ports) == ("http", "https", 80, 443)
    return old.hostname == new.hostname and (upgraded or (old.scheme == new.scheme and ports[0] == ports[1]))
