"""Register the verified model of a recorded run, and send records to the tracker."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from deblur.errors import RegistrationError, SettingError, TrackerError
from deblur.evaluation.card import write_card
from deblur.inference.model_folder import JSON_FILE, read_info
from deblur.models.checkpoint import network_from
from deblur.registry.names import check_name
from deblur.registry.record import RunRecord

LAST_SHIPMENT_S = 30.0
"""How long a finished run waits for its tracker."""


def register_record(
    record: RunRecord,
    name: str,
    run_id: str | None,
    trouble: str | None = None,
    on_line: Callable[[str], None] = lambda line: None,
) -> str:
    """Register a record's verified model and note it there; returns the version, the one it has where it has one.

    Args:
        record: of a finished run.
        name: to register under.
        run_id: the run in the tracker; None where the tracker did not take it.
        trouble: why it did not, or not all of it.
        on_line: told the name, and then what the version has become.

    Raises:
        RegistrationError: the tracker or the registry does not answer; the same call makes it later.
    """
    from deblur.registry.versions import describe_version, register

    if run_id is None:
        raise _not_registered(record, name, trouble or "The run was not sent to the tracker.")
    on_line(f"registering as {name}")
    info = read_info(record.model_folder)
    network = network_from(record.model_folder) if info.has_network else None
    version = register(record.model_folder, network, name, run_id)
    record.log_version(name, version)
    on_line(f"registered: {describe_version(name, version, info)}")
    return version


def describe_model(record: RunRecord) -> None:
    """Write into a record's verified model folder what the run recorded, and the card that follows from it."""
    write_card(record.model_folder, replace(read_info(record.model_folder), trained=record.facts))


def ship_record(
    folder: Path, name: str | None = None, on_line: Callable[[str], None] = lambda line: None
) -> tuple[str, str | None]:
    """Send a record to MLflow, and register its verified model; returns (run id, version).

    Args:
        folder: the output folder of a training.
        name: to register under; by default the one the training was given, once there is a model.
        on_line: told what the version has become.

    Raises:
        SettingError: no run there, or a name that cannot be registered.
        TrackerError: the tracker did not take the run, and nothing could have been registered.
        RegistrationError: the model could not be registered.
    """
    from deblur.registry.tracking import ship

    record = RunRecord(folder)
    if not record.exists:
        raise SettingError(f"{folder} holds no run (no run.json). Give the output folder of a training.")
    has_model = (record.model_folder / JSON_FILE).is_file()
    if name is None and has_model:
        name = record.run["settings"].get("registered_model_name")
    if name is not None:
        check_name(name)
    try:
        run_id = ship(record)
    except TrackerError as error:
        if name is None or not has_model:
            raise
        raise _not_registered(record, name, str(error)) from error
    if name is None:
        return run_id, None
    if not has_model:
        raise RegistrationError(f"{folder} holds no model; the run ended before its export ({record.run['status']}).")
    return run_id, register_record(record, name, run_id, on_line=on_line)


def _not_registered(record: RunRecord, name: str, why: str) -> RegistrationError:
    from deblur.registry.versions import registered_later

    return RegistrationError(
        f"{name} is not registered. {why.rstrip('.')}. {registered_later(record.model_folder, name)}"
    )
