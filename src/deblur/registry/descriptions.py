"""What ``mlflow ui`` shows beside a version and its run: the model card."""

from typing import TYPE_CHECKING

from deblur.errors import TrackerError
from deblur.evaluation.card import card
from deblur.inference.model_folder import ModelInfo
from deblur.interval import Interval
from deblur.registry.tracking import connect, tracker_trouble

if TYPE_CHECKING:
    from mlflow import MlflowClient

LONGEST = 5000
"""What MLflow takes."""


def describe(info: ModelInfo) -> None:
    """The card of a fetched version becomes the description of version and run; its gains become tags of the version.

    Raises:
        TrackerError: it is no version of a registry, or the registry fails.
    """
    if info.version is None:
        raise TrackerError(f"{info.name} is no version of a registry. Name models:/NAME/VERSION.")
    with tracker_trouble(TrackerError, f"{info.label} could not be described in MLflow"):
        with_card(connect(), info.name, info.version, info)


def described(info: ModelInfo) -> str:
    """What stands beside a fetched version now; empty where nothing does.

    Raises:
        TrackerError: the registry fails.
    """
    with tracker_trouble(TrackerError, f"{info.label} could not be looked up in MLflow"):
        return str(connect(create=False).get_model_version(info.name, str(info.version)).description or "")


def with_card(client: "MlflowClient", name: str, version: str, info: ModelInfo) -> None:
    """The same with a client; fails as MLflow does."""
    text = card(info)
    text = text if len(text) <= LONGEST else f"{text[: LONGEST - 4]} ..."
    client.update_model_version(name, version, text)
    for each in (info.reported or {}).get("summaries", ()):
        key = "".join(c if c.isalnum() or c in "_-. /" else "-" for c in f"gain_db {each['set']}")
        client.set_model_version_tag(name, version, key, str(Interval.read(each["gain_db"])))
    run_id = client.get_model_version(name, version).run_id
    if run_id:
        client.set_tag(run_id, "mlflow.note.content", text)
