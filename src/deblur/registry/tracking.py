"""Ship run records to MLflow. Shipping twice sends nothing twice: ``shipped.json`` knows how far it came, and what a
tracker took without answering is recognised: the run by the record's id, metrics by their own times, images by name.
"""

import json
import logging
import os
import uuid
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from deblur import project
from deblur.errors import SettingError, TrackerError
from deblur.files import write_json
from deblur.registry.record import EVENTS_FILE, FINISHED, RUNNING, SHIPPED_FILE, RunRecord

if TYPE_CHECKING:
    from mlflow import MlflowClient

EXPERIMENT = "deblur"
EXPERIMENT_TAGS = {"mlflow.experimentKind": "custom_model_development"}  # the UI opens on runs, not on traces
RECORD_TAG = "deblur.record"
ABOUT_STARTING = ("resume", "fresh", "dry_run")
SHIP_LOCK, LOCK_TIMEOUT_S = ".ship.lock", 30
PREVIEW_SIDE_PX = 256
TIMEOUT_S, RETRIES = 10, 1  # instead of MLflow's 120 s and minutes of retries


def require_mlflow() -> None:
    """Import mlflow, and keep it quiet.

    Raises:
        SettingError: it is not installed.
    """
    try:
        import mlflow  # noqa: F401
    except ImportError as error:
        raise SettingError(
            "mlflow is not installed. Install it, or train with tracking off: 'deblur ship OUTPUT_DIR' sends the "
            "record later."
        ) from error
    for chatty in ("mlflow", "alembic", "urllib3.connectionpool"):
        logging.getLogger(chatty).setLevel(logging.ERROR)


def connect() -> "MlflowClient":
    """A client of the tracking server that ``MLFLOW_TRACKING_URI`` names, else of the checkout's own store.

    The own store is ``mlflow.db`` at the checkout's root with artifacts under ``mlruns/``: what a plain ``mlflow ui``
    there shows.
    """
    require_mlflow()
    import mlflow

    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", str(RETRIES))
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", str(TIMEOUT_S))
    named = os.environ.get("MLFLOW_TRACKING_URI")
    mlflow.set_tracking_uri(named or f"sqlite:///{local_store().as_posix()}")
    if not named:
        _create_store_once()
    return mlflow.MlflowClient()


def experiment_id(client: "MlflowClient", artifacts: str | None = None) -> str:
    """The product's experiment, created where there is none; ``artifacts`` is where that one then keeps its files."""
    found = client.get_experiment_by_name(EXPERIMENT)
    if found:
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
    client = connect()
    from filelock import FileLock, Timeout
    from mlflow.exceptions import MlflowException

    try:
        with FileLock(record.folder / SHIP_LOCK, timeout=LOCK_TIMEOUT_S):
            return _ship(client, record)
    except Timeout as error:
        raise TrackerError(f"Another process is sending {record.folder}. Try again when it is done.") from error
    except (MlflowException, OSError) as error:  # failed uploads come as requests' exceptions, which are OSErrors
        raise TrackerError(
            f"The run could not be sent to MLflow: {error} The record is in {record.folder}; "
            f"'deblur ship {record.folder}' sends it later."
        ) from error


def _ship(client: "MlflowClient", record: RunRecord) -> str:
    from mlflow.entities import Param

    run, path = record.run, record.folder / SHIPPED_FILE
    shipped: dict[str, Any] = {"epochs": 0, "panels": [], "event_bytes": 0, "status": RUNNING}
    with suppress(OSError, ValueError):  # not there, or broken: everything is sent again, which is safe
        earlier = json.loads(path.read_text(encoding="utf-8"))
        shipped = earlier if earlier["tracker"] == client.tracking_uri else shipped

    def note(**progress: Any) -> None:
        shipped.update(progress)
        write_json(path, shipped)

    if "run_id" not in shipped:
        note(tracker=client.tracking_uri, run_id=_find_run(client, run) or _create_run(client, run))
    run_id = str(shipped["run_id"])
    if not shipped.get("params"):
        there = client.get_run(run_id).data.params
        missing = {
            key: value for key, value in run["settings"].items() if key not in there and key not in ABOUT_STARTING
        }
        client.log_batch(run_id, params=[Param(key, str(value)) for key, value in missing.items()])
        note(params=True)
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


def _find_run(client: "MlflowClient", run: dict[str, Any]) -> str | None:
    """The run that an earlier shipment created, if the tracker took it and its answer was lost."""
    found = client.search_runs([experiment_id(client)], f"tags.`{RECORD_TAG}` = '{run['id']}'", max_results=1)
    return str(found[0].info.run_id) if found else None


def _create_run(client: "MlflowClient", run: dict[str, Any]) -> str:
    tags = {
        RECORD_TAG: run["id"],
        "mlflow.source.name": "deblur train",
        "mlflow.source.type": "LOCAL",
        "mlflow.source.git.commit": run["tags"]["git_commit"],
    }
    created = client.create_run(experiment_id(client), run["started_ms"], run_name=run["name"], tags=run["tags"] | tags)
    return str(created.info.run_id)


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
    from filelock import FileLock
    from mlflow import MlflowClient

    root = project.root()
    artifacts = root / "mlruns" / EXPERIMENT
    with FileLock(root / "mlruns" / ".lock"):
        experiment_id(MlflowClient(), artifacts.as_uri())
