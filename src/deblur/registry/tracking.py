"""Ship run records to MLflow. Shipping twice sends nothing twice: ``shipped.json`` knows how far it came."""

import json
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deblur import project
from deblur.errors import SettingError, TrackerError
from deblur.registry.record import RUNNING, SHIPPED_FILE, RunRecord, write_json

if TYPE_CHECKING:
    from mlflow import MlflowClient

EXPERIMENT = "deblur"
EXPERIMENT_TAGS = {"mlflow.experimentKind": "custom_model_development"}  # the UI opens on runs, not on traces


def connect() -> "MlflowClient":
    """A client of the tracking server that ``MLFLOW_TRACKING_URI`` names, else of the checkout's own store.

    The own store is ``mlflow.db`` at the checkout's root with artifacts under ``mlruns/``: what a plain ``mlflow ui``
    there shows.
    """
    try:
        import mlflow
    except ImportError as error:
        raise SettingError(
            "mlflow is not installed. Install it, or train with --tracking off: 'deblur ship OUTPUT_DIR' sends the "
            "record later."
        ) from error
    for chatty in ("mlflow", "alembic"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")  # instead of minutes of retries
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
    named = os.environ.get("MLFLOW_TRACKING_URI")
    mlflow.set_tracking_uri(named or f"sqlite:///{local_store().as_posix()}")
    if not named:
        _create_store_once()
    return mlflow.MlflowClient()


def local_store() -> Path:
    """The sqlite file that holds runs and versions when no tracking server is named."""
    return project.root() / "mlflow.db"


def ship(record: RunRecord) -> str:
    """Send what the tracker does not have yet of a record; returns the run's id.

    Raises:
        TrackerError: the tracker refused or did not answer; call again, nothing is sent twice.
    """
    client = connect()
    from mlflow.exceptions import MlflowException

    try:
        return _ship(client, record)
    except MlflowException as error:
        raise TrackerError(
            f"The run could not be sent to MLflow: {error} The record is in {record.folder}; "
            f"'deblur ship {record.folder}' sends it later."
        ) from error


def _ship(client: "MlflowClient", record: RunRecord) -> str:
    run, path = record.run, record.folder / SHIPPED_FILE
    shipped: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {"epochs": 0, "panels": 0}
    if "run_id" not in shipped:
        shipped["run_id"] = _create_run(client, run)
        write_json(path, shipped)
    run_id = shipped["run_id"]
    _ship_metrics(client, run_id, record.epochs[shipped["epochs"] :])
    panels = record.panels()
    for photo, epoch, file in panels[shipped["panels"] :]:
        _ship_panel(client, run_id, photo, epoch, file)
    shipped |= {"epochs": len(record.epochs), "panels": len(panels)}
    if run["status"] != RUNNING and shipped.get("status") != run["status"]:
        if record.best_checkpoint:
            client.log_artifact(run_id, str(record.best_checkpoint), "checkpoints")
        for key, value in run["tags"].items():
            client.set_tag(run_id, key, value)
        client.set_terminated(run_id, run["status"], run["ended_ms"])
        shipped["status"] = run["status"]
    write_json(path, shipped)
    return str(run_id)


def _create_run(client: "MlflowClient", run: dict[str, Any]) -> str:
    from mlflow.entities import Param

    experiment = client.get_experiment_by_name(EXPERIMENT)
    experiment_id = (
        experiment.experiment_id if experiment else client.create_experiment(EXPERIMENT, tags=EXPERIMENT_TAGS)
    )
    source = {"mlflow.source.name": "deblur train", "mlflow.source.type": "LOCAL"}
    source["mlflow.source.git.commit"] = run["tags"]["git_commit"]
    created = client.create_run(experiment_id, run["started_ms"], run_name=run["name"], tags=run["tags"] | source)
    run_id = str(created.info.run_id)
    client.log_batch(run_id, params=[Param(key, str(value)) for key, value in run["settings"].items()])
    return run_id


def _ship_metrics(client: "MlflowClient", run_id: str, epochs: list[dict[str, Any]]) -> None:
    from mlflow.entities import Metric

    metrics = [
        Metric(key, value, line["time_ms"], line["epoch"]) for line in epochs for key, value in line["metrics"].items()
    ]
    for first in range(0, len(metrics), 1000):
        client.log_batch(run_id, metrics=metrics[first : first + 1000])


def _ship_panel(client: "MlflowClient", run_id: str, photo: str, epoch: int, file: Path) -> None:
    from PIL import Image

    with Image.open(file, formats=("PNG",)) as panel:
        client.log_image(run_id, panel, key=photo, step=epoch, timestamp=int(file.stat().st_mtime * 1000))


def _create_store_once() -> None:
    """Create database and experiment under a lock: a fresh database dies when several processes open it at once."""
    from filelock import FileLock
    from mlflow import MlflowClient

    root = project.root()
    artifacts = root / "mlruns" / EXPERIMENT
    with FileLock(root / "mlruns" / ".lock"):
        client = MlflowClient()
        if client.get_experiment_by_name(EXPERIMENT) is None:
            client.create_experiment(EXPERIMENT, artifact_location=artifacts.as_uri(), tags=EXPERIMENT_TAGS)
