"""Model versions: register a verified model folder, and fetch what an alias or a version number names."""

import logging
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import numpy as np

from deblur.errors import ModelError, RegistrationError
from deblur.files import sha256_of
from deblur.inference.locating import parse_model_uri
from deblur.inference.model_folder import JSON_FILE, ONNX_FILE, open_model, read_info, stamp_version
from deblur.inference.onnx_runtime import OnnxEngine
from deblur.registry.tracking import connect, local_store

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from deblur.models.network import Network

logger = logging.getLogger("deblur.registry")

CHALLENGER, CHAMPION = "challenger", "champion"
LOADED_WITH = ("torch", "numpy")


def register(folder: Path, network: "Network", name: str, run_id: str) -> str:
    """Register a verified model folder as the next version of ``name``; returns the version number.

    The version carries the network as pt2 (``torch.export``, no pickle) and the folder's ``model.onnx`` and
    ``model.json``. It becomes ``challenger``; it becomes ``champion`` by itself only where there is none yet and it
    beats its blurry input. A version that the run has already, from a call whose answer was lost, is completed.

    Raises:
        ModelError: a file was altered after its export.
        RegistrationError: the folder was never verified, or the registry refused or did not answer.
    """
    from mlflow.exceptions import MlflowException

    info = open_model(
        folder, OnnxEngine
    ).info  # sha256, contract and golden input: what is registered is what was verified
    if info.psnr_db is None or info.psnr_input_db is None:
        raise RegistrationError(f"{folder} was exported but never verified; nothing unverified is registered.")
    try:
        client = connect()
        run = client.get_run(run_id).info
        try:
            version = _version_of(client, name, run_id) or _log_version(folder, network, name, run_id)
        finally:  # logging a model opens the run again
            client.set_terminated(run_id, run.status, run.end_time)
        _set_aliases(client, name, version, info.psnr_db, info.psnr_input_db, info.sha256)
    except (MlflowException, OSError) as error:  # failed uploads come as requests' exceptions, which are OSErrors
        raise RegistrationError(
            f"{name} could not be registered: {error} The verified model is in {folder}; "
            f"'deblur ship {folder.parent} --name {name}' registers it later."
        ) from error
    return version


def _log_version(folder: Path, network: "Network", name: str, run_id: str) -> str:
    import mlflow
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec

    tensor = Schema([TensorSpec(np.dtype(np.float32), (-1, 3, -1, -1))])
    step = network.size_rule.multiple_of
    with mlflow.start_run(run_id=run_id):
        logged = mlflow.pytorch.log_model(
            network.eval().cpu(),
            name="model",
            signature=ModelSignature(inputs=tensor, outputs=tensor),
            input_example=np.random.default_rng(0).random((2, 3, 4 * step, 6 * step), dtype=np.float32),
            serialization_format="pt2",
            extra_files=[str(folder / ONNX_FILE), str(folder / JSON_FILE)],
            pip_requirements=_pinned(LOADED_WITH),
            registered_model_name=name,
        )
    return str(logged.registered_model_version)


def _version_of(client: "MlflowClient", name: str, run_id: str) -> str | None:
    found = [v for v in client.search_model_versions(f"run_id='{run_id}'") if v.name == name]
    return str(found[0].version) if found else None


def _set_aliases(
    client: "MlflowClient", name: str, version: str, psnr_db: float, psnr_input_db: float, sha256: str
) -> None:
    tags = {"psnr_db": f"{psnr_db:.3f}", "psnr_input_db": f"{psnr_input_db:.3f}", "sha256": sha256}
    for key, value in tags.items():
        client.set_model_version_tag(name, version, key, value)
    client.set_registered_model_alias(name, CHALLENGER, version)
    if psnr_db > psnr_input_db and CHAMPION not in client.get_registered_model(name).aliases:
        client.set_registered_model_alias(name, CHAMPION, version)


def aliases_of(name: str, version: str) -> list[str]:
    """The aliases that point at a version."""
    aliases = connect().get_registered_model(name).aliases
    return sorted(alias for alias, target in aliases.items() if str(target) == str(version))


def describe_version(name: str, version: str) -> str:
    """``NAME version 3 (challenger, champion)``, for people; without aliases where the registry does not answer."""
    from mlflow.exceptions import MlflowException

    try:
        return f"{name} version {version} ({', '.join(aliases_of(name, version)) or 'no alias'})"
    except MlflowException:
        return f"{name} version {version}"


def local_champion() -> str | None:
    """The URI of the champion registered last, or None; looks only where there is a registry."""
    if not (os.environ.get("MLFLOW_TRACKING_URI") or local_store().is_file()):
        return None
    from mlflow.exceptions import MlflowException

    try:
        champions = [m for m in connect().search_registered_models() if CHAMPION in m.aliases]
    except MlflowException as error:
        logger.warning("the registry cannot be asked for its champion: %s", error)
        return None
    newest = max(champions, key=lambda m: m.last_updated_timestamp or 0, default=None)
    return f"models:/{newest.name}@{CHAMPION}" if newest else None


def fetch(uri: str) -> Path:
    """Copy the model folder of ``models:/NAME@ALIAS`` or ``models:/NAME/VERSION`` into a cache; returns the copy.

    Raises:
        ModelError: no such model, alias or version, or a version without a model folder.
    """
    import mlflow
    from mlflow.exceptions import MlflowException

    client = connect()
    try:
        name, version = _resolve(client, uri)
        run_id = client.get_model_version(name, version).run_id
        with tempfile.TemporaryDirectory() as scratch:

            def download(file: str) -> None:
                mlflow.artifacts.download_artifacts(f"models:/{name}/{version}/extra_files/{file}", dst_path=scratch)

            folder = Path(scratch) / "extra_files"
            download(JSON_FILE)
            stamp_version(folder, name, version, run_id)
            cached = _cache_folder(name, version, read_info(folder).sha256)
            if not cached.is_dir() or sha256_of(cached / ONNX_FILE) != read_info(folder).sha256:
                download(ONNX_FILE)
                _move_into_cache(folder, cached)
            return cached
    except (MlflowException, OSError) as error:
        raise ModelError(f"{uri} cannot be fetched from the registry: {error}") from error


def _resolve(client: "MlflowClient", uri: str) -> tuple[str, str]:
    """``models:/NAME@ALIAS`` or ``models:/NAME/VERSION`` -> (name, version)."""
    name, alias, version = parse_model_uri(uri)
    return name, str(client.get_model_version_by_alias(name, alias).version) if alias else version


def _cache_folder(name: str, version: str, sha256: str) -> Path:
    return Path.home() / ".cache" / "deblur" / "models" / f"{sha256[:16]}-{quote(name, safe='')}-{version}"


def _move_into_cache(folder: Path, cached: Path) -> None:
    """Whole or not at all: copied beside, then renamed."""
    cached.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(dir=cached.parent))
    shutil.copytree(folder, part, dirs_exist_ok=True)
    shutil.rmtree(cached, ignore_errors=True)
    try:
        part.rename(cached)
    except OSError:  # another process was first; its copy is the same
        shutil.rmtree(part)


def _pinned(packages: tuple[str, ...]) -> list[str]:
    from importlib.metadata import version

    return [f"{package}=={version(package).split('+')[0]}" for package in packages]
