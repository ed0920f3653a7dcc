"""Log a benchmark's figures to MLflow, beside the training runs."""

from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from deblur.errors import TrackerError
from deblur.registry.tracking import connect, experiment_id, tracker_trouble

if TYPE_CHECKING:
    from mlflow import MlflowClient


def log_benchmark(name: str, figures: dict[str, Any], files: Sequence[Path]) -> str:
    """A run with the machine and settings as parameters, the figures as metrics and the files as artifacts.

    Numbers and lists of numbers (their medians) become metrics; nested ones join their keys with a dot.

    Returns the run's id.

    Raises:
        TrackerError: the tracker refused or did not answer.
    """
    with tracker_trouble(TrackerError, "The figures could not be sent to MLflow"):
        return _log(connect(), name, figures, files)


def _log(client: "MlflowClient", name: str, figures: dict[str, Any], files: Sequence[Path]) -> str:
    from mlflow.entities import Metric, Param

    run = client.create_run(experiment_id(client), run_name=name)
    run_id, params, metrics = str(run.info.run_id), [], []
    for key, value in flattened(figures).items():
        if isinstance(value, int | float):
            metrics.append(Metric(key, float(value), run.info.start_time, 0))
        else:
            params.append(Param(key, str(value)))
    client.log_batch(run_id, metrics, params)
    for file in files:
        client.log_artifact(run_id, str(file))
    client.set_terminated(run_id)
    return run_id


def flattened(figures: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """One level of keys that MLflow takes; lists of numbers become their median, lists of other things are left out."""
    flat: dict[str, Any] = {}
    for key, value in figures.items():
        name = prefix + "".join(c if c.isalnum() or c in "_-. " else "-" for c in str(key))
        if isinstance(value, dict):
            flat |= flattened(value, f"{name}.")
        elif isinstance(value, list):
            if value and all(isinstance(item, int | float) for item in value):
                flat[name] = median(value)
        else:
            flat[name] = value
    return flat
