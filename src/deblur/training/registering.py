"""Register what exists already: a checkpoint, or the verified model of a recorded run."""

import shutil
from collections.abc import Sequence
from pathlib import Path

from deblur import project
from deblur.data.pairs import fingerprint
from deblur.data.sources import Reading, hold_back, open_sources, validation_pairs
from deblur.errors import RegistrationError, SettingError
from deblur.evaluation.scores import EvaluationSet, Scores
from deblur.inference.model_folder import JSON_FILE
from deblur.models.checkpoint import best_name, load_checkpoint, network_from, network_of
from deblur.registry.record import FINISHED, RunRecord
from deblur.training.config import TrainConfig
from deblur.training.ending import closing
from deblur.training.exporting import export_and_verify
from deblur.training.shipping import Shipping, shipper
from deblur.training.validation import validation_metrics, verified_metrics

LAST_SHIPMENT_S = 30.0
"""How long a finished run waits for its tracker."""


def register_checkpoint(
    checkpoint: Path, name: str, test_data: Sequence[str] = (), val_images: int | None = None
) -> tuple[str, Scores]:
    """Export, verify and register an existing checkpoint; returns (version, scores).

    Args:
        checkpoint: a ``best_model_*.pth``.
        name: the registered model's name.
        test_data: sources of validation pairs; by default those it was trained with.
        val_images: how many of them, spread evenly; by default as in training.
    """
    state = load_checkpoint(checkpoint)
    settings = state.get("settings", {})
    if not test_data:
        val_images = val_images or settings.get("val_images")
    named = test_data or settings.get("test_data") or settings.get("train_data")
    if not named:
        raise SettingError("The checkpoint does not say what it was validated on. Give --test_data.")
    network = network_of(state)
    made = TrainConfig.as_trained(settings)
    sources = open_sources(named, Reading(made.blur_gamma, made.average))
    if not (test_data or settings.get("test_data")):
        _, sources = hold_back(sources)
    pairs = validation_pairs(sources, val_images, made.strength, made.ranges)
    benchmark = EvaluationSet(pairs)
    commit, dirty = project.git_state()
    tags = {
        "data_fingerprint": fingerprint(pairs),
        "git_commit": commit or "unknown",
        "git_dirty": str(dirty).lower(),
        "registered_from": checkpoint.name,
    }
    folder = checkpoint.resolve().parent / "registered" / checkpoint.stem
    record = RunRecord.begin(folder, f"register {checkpoint.stem}", {"checkpoint": str(checkpoint)} | settings, tags)
    shutil.copy2(checkpoint, folder / best_name(int(state.get("epoch", 0)), float(state.get("psnr", 0.0))))
    shipping = Shipping(record, shipper("on"))
    with closing(record, shipping) as stop:
        trained, scores = export_and_verify(
            network, record.model_folder, benchmark, made.tiling(network), name=name, check=stop.check
        )
        record.log_epoch(int(state.get("epoch", 0)), validation_metrics(trained) | verified_metrics(scores))
        record.end(FINISHED)
    shipping.finish(LAST_SHIPMENT_S)
    return register_record(record, name, shipping.run_id), scores


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
        raise SettingError(f"{folder} holds no run (no run.json). Give the --output_dir of a training.")
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
