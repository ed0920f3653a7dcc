"""Model versions: register a verified model folder, and fetch what an alias or a version number names."""

import hashlib
import json
import logging
import os
import shlex
import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from deblur.addresses import shown
from deblur.errors import DeblurError, ModelError, NoSuchModel, RegistrationError
from deblur.files import passing_folder, write_json
from deblur.inference.locating import bundled_model, parse_model_uri
from deblur.inference.model_folder import (
    CARD_FILE,
    JSON_FILE,
    ONNX_FILE,
    ModelInfo,
    is_whole,
    open_model,
    read_info,
    stamp_version,
)
from deblur.inference.onnx_runtime import OnnxEngine
from deblur.registry.descriptions import with_card
from deblur.registry.tracking import GONE_CODES, connect, local_store, tracker_address, tracker_trouble
from deblur.serving.registry_client import KEPT, fetch_over_http

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from deblur.models.network import Network

logger = logging.getLogger("deblur.registry")

CHALLENGER, CHAMPION = "challenger", "champion"
SHA256 = "sha256"
"""A version's last tag: with it the version is complete, and aliases that a person moved since stay where they are."""
BEATS_BUNDLED = "beats_bundled"
"""The tag of a champion that surely restored a set better than the bundled model: that one's sha256."""
LOADED_WITH, ONNX_LOADED_WITH = ("torch", "numpy"), ("onnx", "onnxruntime", "numpy")
FILES = (ONNX_FILE, JSON_FILE, CARD_FILE)
TOLD = 10
"""Models of a registry that are told where another one was asked for."""


def register(folder: Path, network: "Network | None", name: str, run_id: str) -> str:
    """Register a verified model folder as the next version of ``name``; returns the version number.

    The version carries the network as pt2 (``torch.export``, no pickle), or, of a folder that has none (``network``
    None), as ONNX, and the folder's ``model.onnx`` and ``model.json``. It becomes ``challenger``; it becomes
    ``champion`` by itself only where there is none yet and its gain over the blurry input is surely above 0. The
    registry is asked first: a version that the run has already is that version, completed where an earlier call did
    not come that far.

    Raises:
        ModelError: a file was altered after its export.
        RegistrationError: the folder was never verified, or the registry refused or did not answer.
    """
    info = open_model(folder, OnnxEngine).info  # checked again: what is registered is what was verified
    if info.psnr_db is None:
        raise RegistrationError(f"{folder} was exported but never verified; nothing unverified is registered.")
    with tracker_trouble(RegistrationError, f"{name} could not be registered", registered_later(folder, name)):
        client = connect()
        run = client.get_run(run_id).info
        try:
            version = _version_of(client, name, run_id) or _log_version(folder, network, name, run_id)
        finally:  # logging a model opens the run again
            client.set_terminated(run_id, run.status, run.end_time)
        if SHA256 not in client.get_model_version(name, version).tags:
            _complete(client, name, version, info)
    return version


def registered_later(folder: Path, name: str) -> str:
    """What to do where the verified model in ``folder`` could not be registered."""
    command = f"deblur ship {shlex.quote(str(folder.parent))} --name {shlex.quote(name)}"
    return f"The verified model is in {folder}; '{command}' registers it later."


def _log_version(folder: Path, network: "Network | None", name: str, run_id: str) -> str:
    import mlflow
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec

    tensor = Schema([TensorSpec(np.dtype(np.float32), (-1, 3, -1, -1))])
    common: dict[str, Any] = {
        "name": "model",
        "signature": ModelSignature(inputs=tensor, outputs=tensor),
        "extra_files": [str(folder / file) for file in FILES if (folder / file).is_file()],
        "registered_model_name": name,
    }
    with mlflow.start_run(run_id=run_id):
        if network is None:
            import onnx

            logged = mlflow.onnx.log_model(
                onnx.load(folder / ONNX_FILE),
                save_as_external_data=False,
                pip_requirements=_pinned(ONNX_LOADED_WITH),
                **common,
            )
        else:
            step = network.size_rule.multiple_of
            logged = mlflow.pytorch.log_model(
                network.eval().cpu(),
                input_example=np.random.default_rng(0).random((2, 3, 4 * step, 6 * step), dtype=np.float32),
                serialization_format="pt2",
                pip_requirements=_pinned(LOADED_WITH),
                **common,
            )
    return str(logged.registered_model_version)


def _version_of(client: "MlflowClient", name: str, run_id: str) -> str | None:
    found = [v for v in client.search_model_versions(f"run_id='{run_id}'") if v.name == name]
    return str(found[0].version) if found else None


def _complete(client: "MlflowClient", name: str, version: str, info: ModelInfo) -> None:
    client.set_registered_model_alias(name, CHALLENGER, version)
    if _surely_gains(info) and CHAMPION not in client.get_registered_model(name).aliases:
        client.set_registered_model_alias(name, CHAMPION, version)
    figures = {"psnr_db": f"{info.psnr_db:.3f}", "psnr_input_db": f"{info.psnr_input_db:.3f}"}
    with_card(client, name, version, info)
    for key, value in {**figures, SHA256: info.sha256}.items():
        client.set_model_version_tag(name, version, key, value)


def _surely_gains(info: ModelInfo) -> bool:
    return info.gain_db is not None and info.gain_db.above_zero


def describe_version(name: str, version: str, info: ModelInfo) -> str:
    """``NAME version 3 (challenger, champion)``, for people; without aliases where the registry does not answer.

    Where the model has no champion, why this version is none: ``info`` is its ``model.json``.
    """
    try:
        with tracker_trouble(RegistrationError, name):
            aliases = connect().get_registered_model(name).aliases
    except RegistrationError:
        return f"{name} version {version}"
    own = ", ".join(sorted(alias for alias, target in aliases.items() if str(target) == version)) or "no alias"
    told = f"{name} version {version} ({own})"
    if CHAMPION in aliases or _surely_gains(info):
        return told
    gain = f", {info.gain_db} dB, is not surely above 0" if info.gain_db else " has no interval"
    return f"{told}; not champion: its gain over the input{gain}"


def local_champion(on_passed_over: Callable[[str, str], None] = lambda name, version: None) -> str | None:
    """The URI of the champion registered last that has beaten the bundled model, or None; looks only where there is a
    registry.

    Where no model is bundled, any champion counts. Where the registry cannot be asked, the folder of the last good copy
    of a champion, by the same rule, or None. The log says so. ``on_passed_over`` is told name and version of the
    champion registered last, where none counts.
    """
    if not (os.environ.get("MLFLOW_TRACKING_URI") or local_store().is_file()):
        return None
    try:
        with tracker_trouble(ModelError, "The registry cannot be asked for its champion"):
            client = connect(create=False)
            found = [model for model in client.search_registered_models() if CHAMPION in model.aliases]
            found.sort(key=lambda model: model.last_updated_timestamp or 0, reverse=True)
            for model in found:
                if _counts(client.get_model_version_by_alias(model.name, CHAMPION).tags.get(BEATS_BUNDLED)):
                    return f"models:/{model.name}@{CHAMPION}"
            for model in found[:1]:
                on_passed_over(model.name, str(model.aliases[CHAMPION]))
            return None
    except DeblurError as error:
        copy = last_good(None)
        logger.warning("%s Going on with %s.", error, copy or "the model that comes with the package")
        return str(copy) if copy else None


def _counts(beaten: str | None) -> bool:
    """Whether a champion that has beaten this sha256 restores where no model is named."""
    bundled = bundled_model()
    return bundled is None or read_info(bundled).sha256 == beaten


def fetch(uri: str) -> Path:
    """Copy the model folder of ``models:/NAME@ALIAS`` or ``models:/NAME/VERSION`` into a cache; returns the copy.

    Where the registry fails, the last good copy; the log says so. Not where it answers that there is no such model: who
    deleted an alias meant it.

    Raises:
        ModelError: no such model, alias or version, a version without a model folder, or a registry that fails, and
            there is no copy.
    """
    try:
        return fetch_now(uri)
    except DeblurError as error:
        earlier = None if isinstance(error, NoSuchModel) else last_good(uri)
        if earlier is None:
            raise
        logger.warning("%s Going on with the last good copy, %s.", error, earlier)
        return earlier


def fetch_now(uri: str) -> Path:
    """As :func:`fetch`, and never an earlier copy in the place of what the registry has now.

    Without mlflow, from a server by plain HTTP, as a deployed app does.

    Raises:
        ModelError: as there, and whenever the registry fails.
    """
    if find_spec("mlflow") is None:
        return fetch_over_http(uri)
    with tracker_trouble(ModelError, f"{uri} cannot be fetched from the registry"):
        copy = _fetch(uri)
    _note_good(uri, copy)
    return copy


def _fetch(uri: str) -> Path:
    client = connect(create=False)
    import mlflow

    try:
        name, version = _resolve(client, uri)
        found = client.get_model_version(name, version)
    except mlflow.MlflowException as error:
        if error.error_code in GONE_CODES:
            raise NoSuchModel(f"{uri} cannot be fetched: {_what_there_is(client, uri)}") from None
        raise
    with tempfile.TemporaryDirectory() as scratch:

        def download(file: str) -> None:
            mlflow.artifacts.download_artifacts(f"models:/{name}/{version}/extra_files/{file}", dst_path=scratch)

        folder = Path(scratch) / "extra_files"
        download(JSON_FILE)
        stamp_version(folder, name, version, found.run_id)
        info = (folder / JSON_FILE).read_bytes()
        cached = _cache() / hashlib.sha256(info).hexdigest()[:32]
        if not is_whole(cached):
            download(ONNX_FILE)
            _move_into_cache(folder, cached)
        _note_beaten(cached, found.tags.get(BEATS_BUNDLED, ""))
        os.utime(cached)
        _forget_earlier(cached.parent)
        return cached


def _what_there_is(client: "MlflowClient", uri: str) -> str:
    """What the registry has in the place of a model, alias or version that it does not have."""
    import mlflow

    name, alias, version = parse_model_uri(uri)
    try:
        aliases = client.get_registered_model(name).aliases
    except mlflow.MlflowException:
        models = ", ".join(model.name for model in client.search_registered_models(max_results=TOLD))
        return f"the registry has no model {name}; it has {models or 'none'}."
    points = ", ".join(f"{each} (version {number})" for each, number in sorted(aliases.items()))
    what = f"alias {alias}" if alias else f"version {version}"
    promote = f" 'deblur promote {shlex.quote(name)} --data SET' moves {CHAMPION}." if alias == CHAMPION else ""
    return f"{name} has no {what}; it has the aliases {points or 'none'}.{promote}"


def _resolve(client: "MlflowClient", uri: str) -> tuple[str, str]:
    """``models:/NAME@ALIAS`` or ``models:/NAME/VERSION`` -> (name, version)."""
    name, alias, version = parse_model_uri(uri)
    return name, str(client.get_model_version_by_alias(name, alias).version) if alias else version


def _cache() -> Path:
    """Where copies are kept: in the home folder, or, where there is none to write to, in a temporary one."""
    with suppress(OSError, RuntimeError):
        folder = Path.home() / ".cache" / "deblur" / "models"
        folder.mkdir(parents=True, exist_ok=True)
        if os.access(folder, os.W_OK):
            return folder
    return _temporary_cache()


@cache
def _temporary_cache() -> Path:
    """The same for all of the process: what follows an alias asks every minute."""
    return passing_folder("deblur-models-")


def _forget_earlier(cache: Path) -> None:
    """Delete all copies but the last few that were asked for."""
    copies = sorted((each for each in cache.iterdir() if each.is_dir()), key=lambda each: each.stat().st_mtime)
    for copy in copies[:-KEPT]:
        shutil.rmtree(copy, ignore_errors=True)


def _copies(cache: Path) -> Path:
    """Of one tracker: JSON, URI -> the last folder that it gave and that passed its checks, the newest at the end."""
    return cache / f"{hashlib.sha256(shown(tracker_address()).encode()).hexdigest()[:32]}.json"


def _read_copies(cache: Path) -> dict[str, str]:
    with suppress(OSError, ValueError):
        values = json.loads(_copies(cache).read_text(encoding="utf-8"))
        return {str(uri): str(name) for uri, name in values.items()} if isinstance(values, dict) else {}
    return {}


def _note_good(uri: str, copy: Path) -> None:
    """Note the copy, once it has passed its checks: what is refused takes no good one's place."""
    before = list(_read_copies(copy.parent).items())
    now = [*(pair for pair in before if pair[0] != uri), (uri, copy.name)]
    with suppress(OSError, DeblurError):  # a convenience for worse days
        if now[-1] not in before:
            open_model(copy)
        if now != before:
            write_json(_copies(copy.parent), dict(now))


def last_good(uri: str | None) -> Path | None:
    """The last whole copy that ``uri`` gave and that passed its checks on this machine; where None, the newest one of a
    champion that has beaten the bundled model.
    """
    cache = _cache()
    for noted, name in reversed(_read_copies(cache).items()):
        wanted = noted == uri or (
            uri is None and noted.endswith(f"@{CHAMPION}") and _counts(_read_beaten(cache / name))
        )
        if wanted and is_whole(cache / name):
            return cache / name
    return None


def _note_beaten(copy: Path, sha256: str) -> None:
    """Keep what the version's tag says beside its copy, for when the registry does not answer."""
    if sha256 != _read_beaten(copy):
        with suppress(OSError):
            (copy / BEATS_BUNDLED).write_text(sha256, encoding="utf-8")


def _read_beaten(copy: Path) -> str:
    with suppress(OSError, ValueError):
        return (copy / BEATS_BUNDLED).read_text(encoding="utf-8")
    return ""


def _move_into_cache(folder: Path, cached: Path) -> None:
    """Whole or not at all: copied beside, then renamed."""
    part = Path(tempfile.mkdtemp(dir=cached.parent))
    shutil.copytree(folder, part, dirs_exist_ok=True)
    shutil.rmtree(cached, ignore_errors=True)
    try:
        part.rename(cached)
    except OSError:
        shutil.rmtree(part)
        if not is_whole(cached):  # another process was first; its copy is the same
            raise


def _pinned(packages: tuple[str, ...]) -> list[str]:
    from importlib.metadata import version

    return [f"{package}=={version(package).split('+')[0]}" for package in packages]
