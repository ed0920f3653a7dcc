"""Ship run records to MLflow. Shipping twice sends nothing twice: ``shipped.json`` knows how far it came, and what a
tracker took without answering is recognised: the run by the record's id, metrics by their own times, images by name.
Whether the run is still in the tracker is asked each time.
"""

import json
import logging
import os
import re
import sqlite3
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from deblur import project
from deblur.addresses import login_of, shown, without_secrets
from deblur.errors import DeblurError, FolderInUse, SettingError, TrackerError
from deblur.files import sole_user, write_json
from deblur.registry.record import EVENTS_FILE, FINISHED, RUNNING, SHIPPED_FILE, RunRecord

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

EXPERIMENT = "deblur"
EXPERIMENT_TAGS = {"mlflow.experimentKind": "custom_model_development"}  # the UI opens on runs, not on traces
RECORD_TAG = "deblur.record"
ABOUT_STARTING = ("resume", "fresh", "dry_run")
SHIP_LOCK, LOCK_TIMEOUT_S = ".ship.lock", 30
PREVIEW_SIDE_PX = 256
TIMEOUT_S, RETRIES = 10, 1  # instead of MLflow's 120 s and minutes of retries
SQLITE_LOCKED_S, STORE_TIMEOUT_S = 5, 120
REASON_LENGTH, NAME_LENGTH = 300, 500
NO_ANSWER = ("ConnectionError", "ConnectTimeout", "ReadTimeout", "RetryError")  # of requests, which is MLflow's
GONE_CODES = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")
"""Of MLflow: no such run, model or version, no such alias."""
LOGIN = ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD")

_lent: dict[str, str] = {}
"""The login that MLflow was given apart from its address, and the ``place`` that it is for."""


def require_mlflow() -> None:
    """Import mlflow, and keep it quiet: it would also report its use to its makers.

    Raises:
        SettingError: it is not installed.
    """
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    try:
        import mlflow  # noqa: F401
    except ImportError as error:
        raise SettingError(
            "mlflow is not installed. Install it, or train with tracking off: 'deblur ship OUTPUT_DIR' sends the "
            "record later."
        ) from error
    for chatty in ("mlflow", "alembic", "urllib3.connectionpool"):
        logging.getLogger(chatty).setLevel(logging.ERROR)


@contextmanager
def tracker_trouble(raised: type[DeblurError], what: str, then: str = "") -> Iterator[None]:
    """Whatever a tracker or a registry fails with becomes ``raised``: what, why in one line without secrets, what then.

    MLflow, SQL drivers, HTTP and JSON have no common error. Its own text is not kept as the cause, as it may hold
    passwords.
    """
    try:
        yield
    except DeblurError:
        raise
    except Exception as error:
        raise raised(f"{what} ({_why(error)}). {then}".strip()) from None


def _why(error: Exception) -> str:
    if any(type(cause).__name__ in NO_ANSWER for cause in (error, error.__cause__, error.__context__)):
        return f"{shown(tracker_address())} does not answer"
    words = without_secrets(str(error)).strip() or "no reason given"
    return f"{type(error).__name__}: {words.splitlines()[0][:REASON_LENGTH].rstrip(' .')}"


def connect(create: bool = True) -> "MlflowClient":
    """A client of the tracking server that ``MLFLOW_TRACKING_URI`` names, else of the checkout's own store.

    The own store is ``mlflow.db`` at the checkout's root with artifacts under ``mlruns/``: what a plain ``mlflow ui``
    there shows. A login in the address goes to MLflow apart from it, so that nothing MLflow says repeats it. Without
    ``create`` no store is made where there is none.

    Raises:
        SettingError: mlflow is not installed.
        Exception: what MLflow and the store fail with: call it inside :func:`tracker_trouble`.
    """
    require_mlflow()
    import mlflow

    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", str(RETRIES))
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", str(TIMEOUT_S))
    named, address = os.environ.get("MLFLOW_TRACKING_URI"), _without_login(tracker_address())
    if shown(address) != address:
        os.environ["MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT"] = "true"
    _check_sqlite(address, create)
    mlflow.set_tracking_uri(address)
    if create and not named:
        _create_store_once()
    return mlflow.MlflowClient()


def _without_login(address: str) -> str:
    """The address alone; MLflow finds its login in the environment, and no longer once another address is named."""
    place, user, password = login_of(address)
    if address.startswith(("http://", "https://")) and user and password:
        login = dict(zip(LOGIN, (user, password), strict=True))
        _lent.update(login, place=place)
        os.environ.update(login)
        return place
    if _lent and address != _lent["place"]:
        for name in LOGIN:
            if os.environ.get(name) == _lent[name]:
                del os.environ[name]
        _lent.clear()
    return address


def tracker_address() -> str:
    """Where runs and versions are, as MLflow takes it; it may hold a password."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{local_store().as_posix()}"


def _check_sqlite(address: str, create: bool) -> None:
    """Fail in seconds on a sqlite file that MLflow would try again for minutes: locked, damaged, a folder, missing."""
    found = re.match(r"sqlite(?:\+\w+)?:///([^?]+)", address)
    if not found or found[1].startswith((":memory:", "file:")):
        return
    file = Path(found[1])
    if file.is_dir():
        raise IsADirectoryError(f"{file} is a folder; MLFLOW_TRACKING_URI must name a sqlite file")
    if not file.exists():
        if create and file.parent.is_dir():
            return
        raise FileNotFoundError(f"there is no {'folder' if create else 'file'} {file.parent if create else file}")
    with closing(sqlite3.connect(file, timeout=SQLITE_LOCKED_S)) as database:
        database.execute("SELECT count(*) FROM sqlite_master").fetchone()


def experiment_id(client: "MlflowClient", artifacts: str | None = None) -> str:
    """The product's experiment, created where there is none; ``artifacts`` is where that one then keeps its files.

    One that was deleted is restored: MLflow keeps its name taken.
    """
    found = client.get_experiment_by_name(EXPERIMENT)
    if found:
        if found.lifecycle_stage != "active":
            client.restore_experiment(found.experiment_id)
        return str(found.experiment_id)
    return str(client.create_experiment(EXPERIMENT, artifact_location=artifacts, tags=EXPERIMENT_TAGS))


def local_store() -> Path:
    """The sqlite file that holds runs and versions when no tracking server is named."""
    return project.root() / "mlflow.db"


def ship(record: RunRecord) -> str:
    """Send what the tracker does not have yet of a record; returns the run's id.

    Raises:
        TrackerError: the tracker refused or did not answer; call again, nothing is sent twice.
    """
    busy = f"Another process is sending {record.folder}. Try again when it is done."
    try:
        with (
            tracker_trouble(TrackerError, f"The run in {record.folder} could not be sent to MLflow"),
            sole_user(record.folder, busy, SHIP_LOCK, LOCK_TIMEOUT_S),
        ):
            return _ship(connect(), record)
    except FolderInUse as error:
        raise TrackerError(str(error)) from error


def group_run(name: str, known: str | None) -> str:
    """The id of a run that others belong to: ``known``, if the tracker still has it, or a new one of that name.

    Raises:
        TrackerError: the tracker refused or did not answer.
    """
    with tracker_trouble(TrackerError, f"{name} could not be begun in MLflow"):
        client = connect()
        if known and _active_run(client, known):
            return known
        run = client.create_run(experiment_id(client), run_name=name)
        client.set_terminated(run.info.run_id)
        return str(run.info.run_id)


def _ship(client: "MlflowClient", record: RunRecord) -> str:
    from mlflow.entities import Param

    run, path, tracker = record.run, record.folder / SHIPPED_FILE, shown(client.tracking_uri)
    experiment = experiment_id(client)
    shipped: dict[str, Any] = {"tracker": tracker, "epochs": 0, "panels": [], "event_bytes": 0, "status": RUNNING}
    earlier = _shipped_before(path)
    if shown(str(earlier.get("tracker"))) == tracker and _has_run(client, earlier.get("run_id"), run["id"]):
        shipped = earlier | {"tracker": tracker}

    def note(**progress: Any) -> None:
        shipped.update(progress)
        write_json(path, shipped)

    if "run_id" not in shipped:
        note(run_id=_find_run(client, experiment, run) or _create_run(client, experiment, run))
    elif shipped != earlier:  # an earlier version kept the address with its password
        note()
    run_id = str(shipped["run_id"])
    if not shipped.get("params"):
        there = client.get_run(run_id).data.params
        missing = {
            key: value for key, value in run["settings"].items() if key not in there and key not in ABOUT_STARTING
        }
        client.log_batch(run_id, params=[Param(key, str(value)) for key, value in missing.items()])
        note(params=True)
    if run.get("datasets", []) != shipped.get("datasets", []):
        _ship_datasets(client, run_id, run["datasets"])
        note(datasets=run["datasets"])
    if run["status"] == RUNNING != shipped["status"]:  # resumed
        client.update_run(run_id, RUNNING)
        note(status=RUNNING)
    epochs = record.epochs
    if len(epochs) > shipped["epochs"]:
        _ship_metrics(client, run_id, epochs[shipped["epochs"] :])
        note(epochs=len(epochs))
    for photo, epoch, file in record.panels():
        name = f"{photo}/{epoch}"
        if name not in shipped["panels"]:
            _ship_panel(client, run_id, run["id"], photo, epoch, file)
            note(panels=[*shipped["panels"], name])
    events = record.folder / EVENTS_FILE
    if events.is_file() and events.stat().st_size != shipped["event_bytes"]:
        size = events.stat().st_size
        client.log_artifact(run_id, str(events))
        note(event_bytes=size)
    if run["status"] != shipped["status"]:
        if run["status"] == FINISHED and record.best_checkpoint:
            client.log_artifact(run_id, str(record.best_checkpoint), "checkpoints")
        for key, value in run["tags"].items():
            client.set_tag(run_id, key, value)
        client.set_terminated(run_id, run["status"], run["ended_ms"])
        note(status=run["status"])
    return run_id


def _shipped_before(path: Path) -> dict[str, Any]:
    """What ``shipped.json`` says; nothing where it is missing or broken: all is sent again then, which is safe."""
    usual = {"epochs": int, "panels": list, "event_bytes": int, "status": str}
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    whole = isinstance(values, dict) and all(isinstance(values.get(name), kind) for name, kind in usual.items())
    return values if whole else {}


def _has_run(client: "MlflowClient", run_id: str | None, record_id: str) -> bool:
    """Whether the tracker still has the record's run; it may be another tracker at the same address."""
    found = _active_run(client, run_id)
    return found is not None and found.data.tags.get(RECORD_TAG) == record_id


def _active_run(client: "MlflowClient", run_id: str | None) -> "Run | None":
    """A run that was not deleted."""
    from mlflow.exceptions import MlflowException

    try:
        found = client.get_run(str(run_id))
    except MlflowException as error:
        if error.error_code in GONE_CODES:
            return None
        raise
    return found if found.info.lifecycle_stage == "active" else None


def _find_run(client: "MlflowClient", experiment: str, run: dict[str, Any]) -> str | None:
    """The run that an earlier shipment created, if the tracker took it and its answer was lost."""
    found = client.search_runs([experiment], f"tags.`{RECORD_TAG}` = '{run['id']}'", max_results=1)
    return str(found[0].info.run_id) if found else None


def _create_run(client: "MlflowClient", experiment: str, run: dict[str, Any]) -> str:
    tags = {
        RECORD_TAG: run["id"],
        "mlflow.source.name": "deblur train",
        "mlflow.source.type": "LOCAL",
        "mlflow.source.git.commit": run["tags"]["git_commit"],
    }
    created = client.create_run(experiment, run["started_ms"], run_name=run["name"], tags=run["tags"] | tags)
    return str(created.info.run_id)


def _ship_datasets(client: "MlflowClient", run_id: str, datasets: list[dict[str, Any]]) -> None:
    """MLflow takes a dataset, told by name and digest, once a run: what serves twice has both contexts in one tag."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    contexts: dict[tuple[str, str], list[str]] = {}
    for each in datasets:
        contexts.setdefault((each["name"], each["digest"]), []).append(each["context"])
    inputs = []
    for each in datasets:
        name, digest = each["name"], each["digest"]
        profile = json.dumps({key: each[key] for key in ("images", "licence")})
        dataset = Dataset(name[:NAME_LENGTH], digest, "local", json.dumps({"uri": each["source"]}), profile=profile)
        tag = InputTag("mlflow.data.context", ", ".join(dict.fromkeys(contexts[name, digest])))
        inputs.append(DatasetInput(dataset, [tag]))
    client.log_inputs(run_id, inputs)


def _ship_metrics(client: "MlflowClient", run_id: str, epochs: list[dict[str, Any]]) -> None:
    from mlflow.entities import Metric

    metrics = [
        Metric(key, value, line["time_ms"], line["epoch"]) for line in epochs for key, value in line["metrics"].items()
    ]
    for first in range(0, len(metrics), 1000):
        client.log_batch(run_id, metrics=metrics[first : first + 1000])


def _ship_panel(client: "MlflowClient", run_id: str, record_id: str, photo: str, epoch: int, file: Path) -> None:
    """What ``log_image`` does, under a name that is the same each time: sent again, a panel replaces itself."""
    from mlflow.utils.mlflow_tags import MLFLOW_LOGGED_IMAGES
    from PIL import Image

    unique = uuid.uuid5(uuid.NAMESPACE_OID, f"{record_id}/{photo}/{epoch}")
    name = f"{photo}+step+{epoch}+timestamp+{int(file.stat().st_mtime * 1000)}+{unique}"
    with TemporaryDirectory() as scratch, Image.open(file, formats=("PNG",)) as panel:
        whole, small = Path(scratch) / f"{name}.png", Path(scratch) / f"{name}+compressed.webp"
        panel.save(whole)
        panel.thumbnail((PREVIEW_SIDE_PX, PREVIEW_SIDE_PX))
        panel.save(small)
        for image in (whole, small):
            client.log_artifact(run_id, str(image), "images")
    client.set_tag(run_id, MLFLOW_LOGGED_IMAGES, "True")


def _create_store_once() -> None:
    """Create database and experiment under a lock: a fresh database dies when several processes open it at once."""
    from mlflow import MlflowClient

    root = project.root()
    artifacts = root / "mlruns" / EXPERIMENT
    artifacts.parent.mkdir(exist_ok=True)
    with sole_user(artifacts.parent, f"Another process is making {local_store()}.", timeout_s=STORE_TIMEOUT_S):
        experiment_id(MlflowClient(), artifacts.as_uri())
