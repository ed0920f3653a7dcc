"""Weights and models that exist already: export them as a model folder, or register them. A recipe of its own, like
``recipe``."""

import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from torch import Tensor

from deblur import project
from deblur.data.batches import first_crops
from deblur.data.pairs import fingerprint
from deblur.data.sources import Source, hold_back, mixture, open_sources, prepared, validation_pairs
from deblur.errors import DataError, PhotoError, SettingError
from deblur.evaluation.card import write_card
from deblur.evaluation.scores import EvaluationSet, Scores
from deblur.export.openvino_ir import write_ir
from deblur.export.verified import Exported, Freeze, export_verified, verify_model
from deblur.inference.model_folder import JSON_FILE, ONNX_FILE, read_info, whole_info
from deblur.models.checkpoint import best_name, has_state, load_checkpoint, network_from, network_of
from deblur.registry.names import check_name
from deblur.registry.record import FINISHED, RunRecord
from deblur.synthesis.draw import BlurRanges
from deblur.training.ending import closing
from deblur.training.progress import Progress
from deblur.training.recipe import FREEZING_CROPS
from deblur.training.registering import LAST_SHIPMENT_S, describe_model, register_record
from deblur.training.resuming import DATA
from deblur.training.settings import TrainSettings
from deblur.training.shipping import Shipping, shipper
from deblur.training.validation import told, verified_metrics


def export_weights(
    source: Path,
    folder: Path,
    name: str,
    test_data: Sequence[str] = (),
    half: bool = False,
    freeze_over: Sequence[str] = (),
    openvino_ir: bool = False,
    progress: Progress = Progress(),
) -> Exported:
    """Export and, where there are pairs, verify.

    Args:
        source: a checkpoint, the output folder of a training (its newest averaged weights), or a model folder, whose
            licence and origin stay.
        folder: where ``model.onnx`` and ``model.json`` go; the tile is the one that the weights were validated with.
        name: what the model is called.
        test_data: sources of validation pairs.
        half: keep the weights in float16.
        freeze_over: sources of training crops whose statistics take GroupNorm's place.
        openvino_ir: whether to write ``model.xml`` and ``model.bin`` as well.
        progress: told what is done, and how many images are scored.

    Raises:
        ModelError: no weights there.
        SettingError: ``freeze_over`` for a network without GroupNorm, or ``openvino_ir`` without OpenVINO.
        RegistrationError: the written file scores otherwise than the weights did.
    """
    if openvino_ir and find_spec("openvino") is None:
        raise SettingError("openvino_ir needs OpenVINO, which is not installed: pip install openvino.")
    recorded: Mapping[str, Any]
    if source.is_file():
        state = load_checkpoint(source)
        network, recorded = network_of(state), state.get("settings", {})
    else:
        network, record = network_from(source), RunRecord(source)
        recorded = record.run["settings"] if record.exists else {}
    made = TrainSettings.recorded(recorded)
    model = read_info(source) if source.is_dir() and not has_state(source) else None
    sources = open_sources(test_data, made.reading)
    exported = export_verified(
        network,
        folder,
        _validation_set(made, sources, None),
        model.tiling if model else made.network.tiling(network),
        name=name,
        half=half,
        freeze="always" if freeze_over else "off",
        crops=_crops(made, open_sources(freeze_over, made.reading), lambda: None) if freeze_over else (),
        on_line=progress.on_line,
        on_work=progress.on_work,
    )
    if model and model.origin:
        write_card(folder, replace(read_info(folder), licence=model.licence, origin=model.origin))
    if openvino_ir:
        write_ir(folder)
    return exported


def register_checkpoint(
    checkpoint: Path,
    name: str,
    test_data: Sequence[str] = (),
    val_images: int | None = None,
    progress: Progress = Progress(),
) -> tuple[str, Scores]:
    """Export, verify and register an existing checkpoint; returns (version, scores).

    What trained it is known, for the card and for promotions, where the record of its run lies beside it.

    Args:
        checkpoint: a ``best_model_*.pth``.
        name: the registered model's name.
        test_data: sources of validation pairs; by default those it was trained with.
        val_images: how many of them, spread evenly; by default as in training.
        progress: told what was decided, how many images are scored, what the file scores, and what the version has
            become.

    Raises:
        SettingError: a name that cannot be registered, told before any work.
        RegistrationError: the model could not be verified or registered.
    """
    check_name(name)
    state = load_checkpoint(checkpoint)
    made, network = TrainSettings.recorded(state.get("settings", {})), network_of(state)
    images = _validation(made, test_data, val_images)
    tags = {
        DATA: fingerprint(images.pairs),
        **project.git_tags(),
        "registered_from": checkpoint.name,
    }
    beside = RunRecord(checkpoint.resolve().parent)
    datasets = beside.run.get("datasets", []) if beside.exists else []
    folder = beside.folder / "registered" / checkpoint.stem
    settings = {"checkpoint": str(checkpoint)} | state.get("settings", {})
    record = RunRecord.begin(folder, f"register {checkpoint.stem}", settings, tags)
    record.log_datasets(datasets)
    shutil.copy2(checkpoint, folder / best_name(int(state.get("epoch", 0)), float(state.get("psnr", 0.0))))
    shipping = Shipping(record, shipper("on"))
    with closing(record, shipping) as stop:
        freeze, crops = _freezing(made, network.can_freeze, stop.check, progress.on_line)
        exported = export_verified(
            network,
            record.model_folder,
            images,
            made.network.tiling(network),
            name=name,
            freeze=freeze,
            crops=crops,
            check=stop.check,
            on_line=progress.on_line,
            on_work=progress.on_work,
        )
        assert exported.trained is not None
        assert exported.scores is not None
        record.log_epoch(int(state.get("epoch", 0)), told(exported.trained) | verified_metrics(exported.scores))
        describe_model(record)
        record.end(FINISHED, {"frozen": str(exported.frozen).lower()})
    return _registered(record, name, shipping, exported.scores, progress.on_line), exported.scores


def register_folder(
    folder: Path,
    name: str,
    test_data: Sequence[str] = (),
    val_images: int | None = None,
    progress: Progress = Progress(),
) -> tuple[str, Scores]:
    """Verify and register an imported model; returns (version, scores).

    A copy is scored and registered, in ``registered/NAME`` beside the folder; the folder stays as it is.

    Args:
        folder: as ``deblur import`` writes it, of an ONNX file or of official weights.
        name: the registered model's name.
        test_data: sources of pairs.
        val_images: how many of them, spread evenly; by default all.
        progress: told how many images are scored, what the file scores, and what the version has become.

    Raises:
        SettingError: a name that cannot be registered, no pairs, or a model that this program trained.
        ModelError: no whole model folder.
        RegistrationError: the model could not be registered.
    """
    check_name(name)
    info = whole_info(folder)
    if info.origin is None:
        raise SettingError(
            f"{folder} was exported, not imported. Register its checkpoint (best_model_*.pth), or send the run: "
            "'deblur ship OUTPUT_DIR --name NAME'."
        )
    if not test_data:
        raise SettingError("test_data is needed: pairs to score the model on.")
    images = _validation(TrainSettings(), test_data, val_images)
    tags = {DATA: fingerprint(images.pairs), **project.git_tags(), "registered_from": info.origin["file"]}
    place = folder.resolve()
    settings = {"imported": info.origin["file"], "licence": info.licence, **info.architecture}
    record = RunRecord.begin(place.parent / "registered" / place.name, f"register {place.name}", settings, tags)
    shipping = Shipping(record, shipper("on"))
    with closing(record, shipping) as stop:
        record.model_folder.mkdir()
        for file in (ONNX_FILE, JSON_FILE):
            shutil.copy2(folder / file, record.model_folder / file)
        scores = verify_model(record.model_folder, images, None, stop.check, progress.on_work)
        record.log_epoch(0, told(scores) | verified_metrics(scores))
        describe_model(record)
        record.end(FINISHED)
    return _registered(record, name, shipping, scores, progress.on_line), scores


def _registered(
    record: RunRecord, name: str, shipping: Shipping, scores: Scores, on_line: Callable[[str], None]
) -> str:
    """The version, once the tracker has the run."""
    unshipped = shipping.finish(LAST_SHIPMENT_S)
    on_line(
        f"the written file scores {scores.mean('psnr_db'):.2f} dB (input {scores.mean('psnr_input_db'):.2f} dB, gain "
        f"{scores.gain_db} dB)"
    )
    return register_record(record, name, shipping.run_id, unshipped, on_line)


def _validation(made: TrainSettings, test_data: Sequence[str], val_images: int | None) -> EvaluationSet:
    """Those that were named, else those of the training."""
    if named := test_data or made.run.test_data:
        sources = open_sources(named, made.reading)
    elif made.run.train_data:
        sources = hold_back(_trained(made)).validation
    else:
        raise SettingError("The checkpoint does not say what it was validated on. Give test_data.")
    return _validation_set(made, sources, val_images or (None if test_data else made.data.val_images))


def _trained(made: TrainSettings) -> list[Source]:
    """The sources of the training, without what it left out."""
    opened = open_sources(made.run.train_data, made.reading)
    return prepared(opened, None, made.run.skip_bad, crop_px=made.data.sizes.last_px)[0]


def _validation_set(made: TrainSettings, sources: Sequence[Source], count: int | None) -> EvaluationSet:
    return EvaluationSet(*validation_pairs(sources, count, made.blur.strength, _ranges(made, sources)))


def _freezing(
    made: TrainSettings, can_freeze: bool, check: Callable[[], None], on_line: Callable[[str], None]
) -> tuple[Freeze, Iterable[Tensor]]:
    """The decision that the training made, over the same crops, where its data is still there and whole."""
    if not can_freeze or made.run.freeze == "off" or not made.run.train_data:
        return "off", ()
    try:
        trained = _trained(made)
        sources = trained if made.run.test_data else hold_back(trained).training
        return "auto", list(_crops(made, sources, check))
    except (DataError, PhotoError, SettingError) as error:
        on_line(f"exported as trained, GroupNorm is not frozen: {error}")
        return "off", ()


def _crops(made: TrainSettings, sources: Sequence[Source], check: Callable[[], None]) -> Iterator[Tensor]:
    """Training crops as the weights saw them, of other sources perhaps."""
    samples = mixture(sources, made.data.sizes.last_px, made.data.seed, _ranges(made, sources))
    return first_crops(samples, FREEZING_CROPS, made.blur.strength, check)


def _ranges(made: TrainSettings, sources: Sequence[Source]) -> BlurRanges:
    """What their blur is drawn from. Pairs need none, so the folder of measured kernels may be gone."""
    drawn = any(source.name.kind not in ("pairs", "frames") for source in sources)
    return made.ranges if drawn else BlurRanges()
