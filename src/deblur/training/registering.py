"""Register the verified model of a recorded run, and send records to the tracker."""

from pathlib import Path

from deblur.errors import RegistrationError, SettingError
from deblur.inference.model_folder import JSON_FILE
from deblur.models.checkpoint import network_from
from deblur.registry.record import RunRecord

LAST_SHIPMENT_S = 30.0
"""How long a finished run waits for its tracker."""


def register_record(record: RunRecord, name: str, run_id: str | None) -> str:
    """Register a record's verified model and note it there; returns the version.

    Args:
        record: of a finished run.
        name: to register under.
        run_id: the run in the tracker; None where the tracker did not take it.

    Raises:
        RegistrationError: the tracker or the registry does not answer; the same call makes it later.
    """
    from deblur.registry.versions import register

    if run_id is None:
        raise RegistrationError(
            f"{name} is not registered: the tracker has not taken the run. The verified model is in "
            f"{record.model_folder}; "
            f"the same command, or 'deblur ship {record.folder} --name {name}', registers it later."
        )
    version = register(record.model_folder, network_from(record.model_folder), name, run_id)
    record.log_version(name, version)
    return version


def ship_record(folder: Path, name: str | None = None) -> tuple[str, str | None]:
    """Send a record to MLflow, and register its verified model; returns (run id, version).

    Args:
        folder: the output folder of a training.
        name: to register under; by default the one the training was given, where that is still to be made.
    """
    from deblur.registry.tracking import ship

    record = RunRecord(folder)
    if not record.exists:
        raise SettingError(f"{folder} holds no run (no run.json). Give the output folder of a training.")
    run_id = ship(record)
    wished = record.run["settings"].get("registered_model_name")
    has_model = (record.model_folder / JSON_FILE).is_file()
    if name is None and wished and has_model and record.version_of(wished) is None:
        name = wished
    if name is None:
        return run_id, None
    if not has_model:
        raise RegistrationError(f"{folder} holds no model; the run ended before its export ({record.run['status']}).")
    return run_id, register_record(record, name, run_id)
