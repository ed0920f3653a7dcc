"""Fetch a registered model from an MLflow server with plain HTTP: the deployed part has no mlflow.

Two kinds of GET: which version an alias names, and the files of that version.
"""

import json
import os
import shutil
import tempfile
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any, BinaryIO

from deblur.errors import ModelError
from deblur.inference.locating import parse_model_uri
from deblur.inference.model_folder import JSON_FILE, ONNX_FILE, stamp_version, whole_info

TIMEOUT_S = 30
FILE_MB = 512


def fetch_over_http(uri: str, tracking_uri: str | None = None) -> Path:
    """``models:/NAME@ALIAS`` or ``models:/NAME/VERSION`` -> a model folder in the temporary directory.

    Args:
        uri: the model.
        tracking_uri: the server's ``http(s)://`` address; by default ``MLFLOW_TRACKING_URI``.

    Raises:
        ModelError: no server is named, it does not answer, it has no such model, or its file was altered.
    """
    server = tracking_uri or os.environ.get("MLFLOW_TRACKING_URI", "")
    if not server.startswith(("http://", "https://")):
        raise ModelError(f"{uri} needs MLFLOW_TRACKING_URI, the http(s) address of an MLflow server.")
    name, version, run_id = _resolve(server, uri)
    folder = Path(tempfile.mkdtemp(prefix="deblur-model-"))
    try:
        for file in (ONNX_FILE, JSON_FILE):
            query = {"path": f"extra_files/{file}", "name": name, "version": version}
            with _get(server, "/model-versions/get-artifact", query) as answer, (folder / file).open("wb") as target:
                _copy(answer, target, file)
        whole_info(folder)
        stamp_version(folder, name, version, run_id)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return folder


def _copy(answer: Any, target: BinaryIO, file: str) -> None:
    size = 0
    while chunk := answer.read(1 << 20):
        size += len(chunk)
        if size > FILE_MB * 1e6:
            raise ModelError(f"The registry's {file} has more than {FILE_MB} MB.")
        target.write(chunk)


def _resolve(server: str, uri: str) -> tuple[str, str, str | None]:
    """-> (name, version, run id)."""
    name, alias, number = parse_model_uri(uri)
    if alias:
        answer = _get_json(server, "/api/2.0/mlflow/registered-models/alias", {"name": name, "alias": alias})
    else:
        answer = _get_json(server, "/api/2.0/mlflow/model-versions/get", {"name": name, "version": number})
    found = answer["model_version"]
    return name, str(found["version"]), found.get("run_id") or None


def _get_json(server: str, path: str, query: dict[str, str]) -> dict[str, Any]:
    with _get(server, path, query) as answer:
        values: dict[str, Any] = json.load(answer)
        return values


def _get(server: str, path: str, query: dict[str, str]) -> Any:
    url = f"{server.rstrip('/')}{path}?{urllib.parse.urlencode(query)}"
    try:
        return urllib.request.urlopen(url, timeout=TIMEOUT_S)
    except urllib.error.HTTPError as error:
        raise ModelError(f"The registry answered {error.code} for {query['name']}.") from error
    except (OSError, ValueError) as error:
        raise ModelError(f"The registry cannot be reached ({type(error).__name__}).") from error
