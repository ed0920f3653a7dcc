"""READ FIRST: a run from settings to a registered version, told from top to bottom.

Settings stop here: everything below takes plain arguments.
"""

import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch

from deblur import project
from deblur.data.crops import RunOrder
from deblur.data.loading import loader_of
from deblur.data.sources import SourceName
from deblur.errors import SettingError
from deblur.evaluation.scores import Scores
from deblur.export.onnx import export_model, verify_model
from deblur.models import architecture_in, build, parameter_count
from deblur.models.checkpoint import load_checkpoint, network_from, network_of
from deblur.models.network import Network
from deblur.registry.record import FINISHED, RunRecord
from deblur.training.config import TrainConfig
from deblur.training.data import Data, data_of
from deblur.training.device import pick_device, pick_precision
from deblur.training.ending import closing
from deblur.training.freezing import frozen_if_better
from deblur.training.loop import Progress, Trainer
from deblur.training.processes import Processes, joined
from deblur.training.registering import LAST_SHIPMENT_S, register_record
from deblur.training.resuming import DATA, Opened, open_run, sole_trainer
from deblur.training.shipping import Shipping, shipper
from deblur.training.state import Counters, Schedule, TrainingState
from deblur.training.stopping import StopRequest, stop_signals
from deblur.training.validation import verified_metrics


@dataclass(frozen=True)
class Result:
    """What a run leaves behind; ``scores`` of the written file, where this call verified it."""

    record: RunRecord
    outcome: Counters | None
    scores: Scores | None
    run_id: str | None
    version: str | None


def run(config: TrainConfig, data: Data | None = None, progress: Progress = Progress()) -> Result | None:
    """Train, keep the best, export it, prove the exported file, register it.

    Of several processes that ``torchrun`` started, one does all of this and gives the result; the others help it train.

    Args:
        config: resolved settings.
        data: instead of the sources in ``config``.
        progress: told how the run goes.

    Raises:
        DeblurError: settings, data, training or registration failed. The record on disk says how far it came, and the
            same settings go on from there.
    """
    with joined(pick_device(config.device)) as processes:
        if processes.is_main:
            with sole_trainer(config.output_dir):
                return _lead(config, data or data_of(config, progress), processes, progress)
        _follow(config, data or data_of(replace(config, doctor="off")), processes)
    return None


def _lead(config: TrainConfig, data: Data, processes: Processes, progress: Progress) -> Result:
    # The network, from scratch or from earlier weights, and the tiles it will be validated and served with.
    unfilled = _architecture_of(config, RunRecord(config.output_dir))
    network = unfilled or _network(config)
    tiling = config.tiling(network)

    # The record on disk, new or gone on with; a tracker, if there is one, is fed from it.
    ship = shipper(config.tracking)
    settings = settings_of(config, data, network, processes.device)
    tags = _tags(data, processes)
    opened = open_run(config.output_dir, _run_name(config), settings, tags, resume=config.resume, fresh=config.fresh)
    record = opened.record
    known = [event.get("reason") for event in record.events]
    for trouble in data.left_out:
        progress.on_line(f"left out: {trouble}")
        if trouble not in known:
            record.log_event("left_out", reason=trouble)
    for line in opened.lines:
        progress.on_line(line)
    if unfilled and not (opened.state or opened.finished):
        network = _network(config)
    shipping = Shipping(record, ship, progress.on_line)
    shipping.wake()
    processes.told(FINISHED.encode() if opened.finished else opened.state)

    outcome, scores = None, None
    if not opened.finished:
        with closing(record, shipping) as stop:
            # Train.
            outcome = _train(config, data, network, processes, opened, stop, shipping.wake, progress)

            # Export the best, open the written file again, and score it as a user would see it.
            assert outcome.best is not None
            best = network_of(load_checkpoint(record.folder / outcome.best.file))
            psnr_db = outcome.best_psnr_db
            if config.freeze == "auto":
                best, psnr_db = frozen_if_better(
                    best, psnr_db, data, config.strength, tiling, processes.device, stop.check, progress.on_line
                )
            name, commit = config.registered_model_name or "deblur", tags["git_commit"]
            export_model(best, record.model_folder, name=name, tiling=tiling, git_commit=commit, run_id=shipping.run_id)
            scores = verify_model(record.model_folder, data.benchmark, psnr_db, stop.check)
            record.log_epoch(outcome.best_epoch, verified_metrics(scores))
            frozen = best.architecture.get("frozen", False)
            ended = {"annealed": outcome.annealed, "best_epoch": outcome.best_epoch, "frozen": frozen}
            record.end(FINISHED, {name: str(value).lower() for name, value in ended.items()})

    # From here on the run has succeeded, whatever the tracker says. Register the proved file.
    unshipped = shipping.finish(LAST_SHIPMENT_S)
    for line in closing_lines(config, record, outcome, scores, unshipped):
        progress.on_line(line)
    wished = config.registered_model_name
    if wished and record.version_of(wished) is None:
        from deblur.registry.versions import describe_version

        with stop_signals() as stop:  # the first signal waits until the registration is whole
            version = register_record(record, wished, shipping.run_id)
        progress.on_line(f"registered: {describe_version(wished, version)}")
        stop.check()
    return Result(record, outcome, scores, shipping.run_id, record.version_of(wished))


def _follow(config: TrainConfig, data: Data, processes: Processes) -> None:
    """What the other processes do: the same steps on their own part of the samples; they write nothing."""
    told = processes.told(b"")
    if told == FINISHED.encode():
        return
    with stop_signals() as stop:
        opened = Opened(RunRecord(config.output_dir), told)
        network = build(load_checkpoint(told)["architecture"]) if told else _network(config)
        _train(config, data, network, processes, opened, stop, lambda: None, Progress())


def _train(
    config: TrainConfig,
    data: Data,
    network: Network,
    processes: Processes,
    opened: Opened,
    stop: StopRequest,
    on_epoch: Callable[[], None],
    progress: Progress,
) -> Counters:
    order = RunOrder(data.epoch_images, config.batch_size, processes.rank, processes.count)
    if not order.steps:
        raise SettingError(
            f"An epoch has {data.epoch_images} crops, less than one batch of {config.batch_size}. "
            f"Raise --epoch_images or lower --batch_size."
        )
    schedule = Schedule(**{field.name: getattr(config, field.name) for field in fields(Schedule)})
    precision = pick_precision(config.precision, processes.device)
    state = TrainingState(network, schedule, schedule.num_epochs * order.steps, processes.device, precision)
    if opened.state:
        state.load_state_dict(load_checkpoint(opened.state))
    if opened.best_lost:
        state.counters.best = None
    if config.compile:
        network.compile()  # the average, which is validated, was copied before
    loader = loader_of(
        data.train,
        order,
        config.batch_size // processes.count // config.accumulate,
        workers=config.num_workers or 0,
        pin_memory=processes.device.type == "cuda",
        seed=config.seed,
    )
    trainer = Trainer(
        state,
        processes.averaging(network),
        loader,
        order,
        data.benchmark,
        config.tiling(network),
        schedule,
        opened.record,
        accumulate=config.accumulate,
        processes=processes,
        stop=stop,
        on_epoch=on_epoch,
        progress=progress,
    )
    return trainer.fit()


def settings_of(config: TrainConfig, data: Data, network: Network, device: torch.device) -> dict[str, Any]:
    """Every setting as it comes out: what the data, --init and this machine decide is filled in."""
    architecture = dict(network.architecture)
    return asdict(config) | {
        "network": architecture.pop("name"),
        **architecture,
        "epoch_images": data.epoch_images,
        "device": str(device),
        "precision": pick_precision(config.precision, device),
        "parameters": parameter_count(network),
        "validation_pairs": len(data.benchmark.pairs),
    }


def resolve(config: TrainConfig) -> dict[str, Any]:
    """What ``--dry_run`` prints. Data folders that are not there yet leave the settings they decide open."""
    device = pick_device(config.device)
    named = [SourceName.parse(text) for text in (*config.train_data, *config.test_data)]
    if not named or not all(name.path is None or name.path.is_dir() for name in named):
        return asdict(config) | {"device": str(device)}
    quickly = replace(config, doctor="off", cache=None, skip_bad=0)
    return settings_of(config, data_of(quickly), _network(config), device)


def closing_lines(
    config: TrainConfig, record: RunRecord, outcome: Counters | None, scores: Scores | None, unshipped: str | None
) -> Iterator[str]:
    """The last lines of a run."""
    if scores:
        yield (
            f"exported {record.model_folder}; its file scores {scores.mean('psnr_db'):.3f} dB (input "
            f"{scores.mean('psnr_input_db'):.3f} dB)"
        )
    if outcome:
        yield f"best: {outcome.best_psnr_db:.2f} dB at epoch {outcome.best_epoch}, {record.best_checkpoint}"
    if outcome and outcome.skipped_steps:
        yield f"skipped: {outcome.skipped_steps} steps whose loss or gradients were not finite"
    if outcome and not outcome.annealed:
        yield (
            f"never annealed: stopped at epoch {outcome.epoch} of {config.num_epochs}, {config.patience} epochs after "
            f"the best, before the cosine had come down. A run with --num_epochs {outcome.best_epoch} would anneal."
        )
    if unshipped:
        yield (
            f"not all of the run is in the tracker ({record.unshipped}; {unshipped}). Nothing is lost: "
            f"'deblur ship {record.folder}' sends what is missing."
        )


def _network(config: TrainConfig) -> Network:
    """Fresh, or with the weights that --init names."""
    torch.manual_seed(config.seed)
    if config.init is None:
        return build(config.architecture)
    if config.init.startswith("models:/"):
        from deblur.registry.versions import fetch

        return network_from(fetch(config.init))
    return network_from(Path(config.init))


def _architecture_of(config: TrainConfig, earlier: RunRecord) -> Network | None:
    """The network, without its weights, of an earlier run with the same --init.

    It may go on from its own state, and what --init named may be gone by now.
    """
    if config.init is None or config.fresh or not earlier.exists:
        return None
    settings = earlier.run["settings"]
    if settings.get("init") != config.init:
        return None
    return build(architecture_in({"network": config.network} | settings))


def _tags(data: Data, processes: Processes) -> dict[str, str]:
    """What a run was made with, besides its settings."""
    commit, dirty = project.git_state()
    return {
        DATA: data.fingerprint,
        "git_commit": commit or "unknown",
        "git_dirty": str(dirty).lower(),
        "python": sys.version.split()[0],
        "torch": torch.__version__,
        "threads": str(torch.get_num_threads()),
        "processes": str(processes.count),
        "device": str(processes.device),
    }


def _run_name(config: TrainConfig) -> str:
    return config.registered_model_name or f"{config.preset} width {config.width}"
