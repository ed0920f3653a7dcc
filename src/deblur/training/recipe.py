"""READ FIRST: a run from settings to a registered version, told from top to bottom.

Settings stop here: everything below takes plain arguments.
"""

import shlex
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch

from deblur import project
from deblur.data.batches import first_crops
from deblur.data.crops import RunOrder
from deblur.data.loading import feed_of
from deblur.data.resident import Resident
from deblur.data.sources import Reading, SourceName
from deblur.data.teaching import SavedAnswers, holds_answers, read_answers
from deblur.errors import SettingError
from deblur.evaluation.scores import Scores
from deblur.export.verified import Exported, export_verified
from deblur.files import sha256_of
from deblur.losses.objective import asks_vgg, check_terms
from deblur.models import build, parameter_count
from deblur.models.checkpoint import load_checkpoint, network_from, network_of
from deblur.models.features import feature_channels
from deblur.models.network import Network
from deblur.registry.record import FINISHED, RunRecord
from deblur.training.budget import MEASURING_SHARE, Pace, epochs_within, measured
from deblur.training.data import Data, Synthesis, open_data
from deblur.training.device import pick_device, pick_precision
from deblur.training.ending import closing
from deblur.training.loop import Trainer
from deblur.training.optimization import Decay
from deblur.training.processes import Processes, joined
from deblur.training.progress import Progress
from deblur.training.registering import LAST_SHIPMENT_S, describe_model, register_record
from deblur.training.resuming import DATA, Opened, earlier_network, goes_on, open_run, sole_trainer
from deblur.training.settings import TrainSettings
from deblur.training.shipping import Shipping, shipper
from deblur.training.state import Counters, TrainingState
from deblur.training.step import AUTOCAST
from deblur.training.stopping import StopRequest, stop_signals
from deblur.training.teacher import Teacher, find_teacher, place_of
from deblur.training.validation import Validation, verified_metrics

TEACHER, VGG = "teacher_sha256", "vgg_sha256"
FEW_STEPS = 10
"""Of an epoch that is validated; fewer are told, because validation then takes most of the time."""
FREEZING_CROPS = 128
"""Twice as many changed the PSNR by less than 0.001 dB (residual) to 0.12 dB (plain, hardly trained)."""


@dataclass(frozen=True)
class Result:
    """What a run leaves behind; ``scores`` of the written file, where this call verified it."""

    record: RunRecord
    outcome: Counters | None
    scores: Scores | None
    run_id: str | None
    version: str | None


@dataclass(frozen=True)
class Job:
    """What a run is made of.

    Args:
        settings: resolved.
        data: what it trains and validates on.
        teacher: who is asked while it trains; saved answers are a part of the data.
        processes: that train together.
        progress: told how it goes.
        tags: of the run, beside its own.
        name: of the run; None: that of the model to register, or what network it is.
    """

    settings: TrainSettings
    data: Data
    teacher: Teacher | None = None
    processes: Processes = Processes()
    progress: Progress = Progress()
    tags: Mapping[str, str] = field(default_factory=dict)
    name: str | None = None


def run(
    settings: TrainSettings,
    data: Data | None = None,
    progress: Progress = Progress(),
    tags: Mapping[str, str] = MappingProxyType({}),
    name: str | None = None,
) -> Result | None:
    """Train, keep the best, export it, prove the exported file, register it.

    Of several processes that ``torchrun`` started, one does all of this and gives the result; the others help it train.

    Args:
        settings: resolved.
        data: instead of the sources in ``settings``.
        progress: told how the run goes.
        tags: of the run, beside its own.
        name: of the run; by default that of the model to register, or what network it is.

    Raises:
        DeblurError: settings, data, training or registration failed. The record on disk says how far it came, and the
            same settings go on from there.
    """
    with joined(pick_device(settings.run.device)) as processes:
        if processes.is_main:
            with sole_trainer(settings.run.output_dir):
                teacher = _teacher(settings)
                data = data or data_of(settings, progress)
                return _lead(Job(settings, data, teacher, processes, progress, tags, name))
        _follow(settings, data or data_of(settings.but(doctor="off")), processes)
    return None


def _lead(job: Job) -> Result:
    # Begin a run in the output folder, or go on with the one that is there. A tracker, if there is one, is fed from
    # the record on disk by a thread of its own.
    ship = shipper(job.settings.run.tracking)
    job = _budgeted(job)
    settings, progress = job.settings, job.progress
    network, opened = _begun(job)
    record = opened.record
    for line in opened.lines:
        progress.on_line(line)
    shipping = Shipping(record, ship, progress.on_line)
    shipping.wake()

    def on_epoch() -> None:
        progress.on_epoch()
        shipping.wake()

    job = replace(job, progress=replace(progress, on_epoch=on_epoch))
    job.processes.told(FINISHED.encode() if opened.finished else opened.state)

    # Train; export the best, open the written file again, and score it as a user would see it.
    outcome, scores = None, None
    if not opened.finished:
        for line in opening_lines(job, network):
            progress.on_line(line)
        with closing(record, shipping, progress.on_line) as stop:
            outcome = _trainer(job, network, opened, stop).fit()
            exported = _export(job, record, outcome, shipping.run_id, stop)
            scores = exported.scores
            assert scores is not None
            record.log_epoch(outcome.best_epoch, verified_metrics(scores))
            describe_model(record)
            record.end(FINISHED, _ended_tags(settings, outcome, exported))

    # From here on the run has succeeded, whatever the tracker says. Register the proved file.
    unshipped = shipping.finish(LAST_SHIPMENT_S)
    for line in closing_lines(settings, record, outcome, scores, unshipped):
        progress.on_line(line)
    # What the record says of an earlier registration is not believed: this registry is asked.
    wished, version = settings.run.registered_model_name, None
    if wished:
        # The first signal waits until the registration is whole.
        with stop_signals(partial(progress.on_line, "stopping once the model is registered")) as stop:
            version = register_record(record, wished, shipping.run_id, unshipped, progress.on_line)
        stop.check()
    return Result(record, outcome, scores, shipping.run_id, version)


def _follow(settings: TrainSettings, data: Data, processes: Processes) -> None:
    """What the other processes do: the same steps on their own part of the samples; they write nothing."""
    told = processes.told(b"")
    if told == FINISHED.encode():
        return
    with stop_signals() as stop:
        job = Job(settings, data, _teacher(settings), processes)  # the teacher first, as the main process has it
        network = build(load_checkpoint(told)["architecture"]) if told else _network(settings)
        _trainer(job, network, Opened(RunRecord(settings.run.output_dir), told), stop).fit()


def _begun(job: Job) -> tuple[Network, Opened]:
    """The network, from scratch or from earlier weights, and the run that is begun or gone on with."""
    settings, data = job.settings, job.data
    where, fresh = settings.run.output_dir, settings.run.fresh
    # What cannot work is refused before an earlier run is set aside.
    settings.new_objective(channels=(1, 1))  # reads the weights of VGG-19, if a term needs them
    unfilled = None if fresh else earlier_network(RunRecord(where), settings.network.init)
    network = unfilled or _network(settings)
    settings.network.tiling(network)
    _order(job)
    resolved, tags, decisive = _identity(job, network)
    opened = open_run(
        where,
        job.name or settings.run.registered_model_name or _run_name(settings, network),
        resolved,
        tags,
        decisive,
        resume=settings.run.resume,
        fresh=fresh,
        left_out=data.left_out,
    )
    if not opened.finished:
        opened.record.log_datasets(data.datasets)
    if unfilled and not (opened.state or opened.finished):
        network = _network(settings)
    return network, opened


def _trainer(job: Job, network: Network, opened: Opened, stop: StopRequest) -> Trainer:
    settings, data, teacher, processes = job.settings, job.data, job.teacher, job.processes
    # The feed: which samples each step takes, and the processes that load them.
    order = _order(job)
    feed = feed_of(
        data.train,
        order,
        accumulate=settings.schedule.accumulate,
        workers=settings.run.num_workers or 0,
        pin_memory=processes.device.type == "cuda",
        resident=data.resident,
    )
    # The state: everything that the next step depends on, fresh or as it was saved.
    timetable, device = settings.timetable, processes.device
    precision = pick_precision(settings.schedule.precision, device)
    channels, answers = None, None
    if teacher:
        answers = teacher.answers(device, AUTOCAST[precision])
        channels = (feature_channels(network), teacher.channels) if teacher.channels else None
    state = TrainingState(
        network,
        settings.new_objective(channels),
        settings.optimization,
        timetable.num_epochs * order.steps,
        device,
        precision,
        answers,
        Decay.parse(settings.objective.teacher_decay),
    )
    if opened.state:
        state.load_state_dict(load_checkpoint(opened.state))
    if opened.best_lost:
        state.counters.best = None
    if settings.run.compile:
        network.compile()  # the average, which is validated, was copied before
    # The loop.
    validation = Validation(state, data.validation, settings.network.tiling(network), opened.record, job.progress)
    return Trainer(state, feed, validation, timetable, opened.record, processes, stop, job.progress)


def _export(job: Job, record: RunRecord, outcome: Counters, run_id: str | None, stop: StopRequest) -> Exported:
    assert outcome.best is not None
    settings, data, best = job.settings, job.data, network_of(load_checkpoint(record.folder / outcome.best.file))
    return export_verified(
        best,
        record.model_folder,
        data.validation,
        settings.network.tiling(best),
        name=settings.run.registered_model_name or "deblur",
        run_id=run_id,
        freeze=settings.run.freeze,
        crops=first_crops(data.train, FREEZING_CROPS, settings.blur.strength, stop.check),
        psnr_db=outcome.best_psnr_db,
        device=job.processes.device,
        check=stop.check,
        on_line=job.progress.on_line,
        on_work=job.progress.on_work,
    )


def opening_lines(job: Job, network: Network) -> Iterator[str]:
    """The first lines of a run that trains."""
    settings, data, steps, device = job.settings, job.data, _order(job).steps, job.processes.device
    where = "the CPU" if device.type == "cpu" else device
    precision, name = pick_precision(settings.schedule.precision, device), network.architecture["name"]
    epochs, some_steps = settings.schedule.num_epochs, f"{steps} step{'s' * (steps != 1)}"
    yield (
        f"training {name} ({parameter_count(network):,} parameters) on {data.told}, validating on "
        f"{len(data.validation.pairs)}, on {where} in {precision}: {epochs} epoch{'s' * (epochs != 1)} of "
        f"{some_steps}, into {settings.run.output_dir}"
    )
    batch = settings.schedule.batch_size
    if steps < FEW_STEPS and settings.schedule.eval_every == 1 and epochs > 1:
        yield (
            f"an epoch is {some_steps} of {batch} crops, and a validation follows each: epoch_images {100 * batch} "
            "makes it 100 steps"
        )


def closing_lines(
    settings: TrainSettings, record: RunRecord, outcome: Counters | None, scores: Scores | None, unshipped: str | None
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
    if outcome and outcome.stopped_early and settings.optimization.anneals:
        yield (
            f"never annealed: stopped at epoch {outcome.epoch} of {settings.schedule.num_epochs}, "
            f"{settings.schedule.patience} epochs after the best, before the learning rate had come down. A run with "
            f"num_epochs {outcome.best_epoch} would anneal."
        )
    if unshipped:
        yield (
            f"not all of the run is in the tracker ({record.unshipped}; {unshipped.rstrip('.')}). Nothing is lost: "
            f"'deblur ship {shlex.quote(str(record.folder))}' sends what is missing."
        )


# What a run is made of.


def data_of(settings: TrainSettings, progress: Progress = Progress(), reading: Reading | None = None) -> Data:
    """What the settings name, opened (see :func:`~deblur.training.data.open_data`), and on the device if so wished;
    read as they say unless ``reading`` is given."""
    device, held = pick_device(settings.run.device), settings.data.data_on_device
    blurred_there = settings.blur.synthesis == "device" or (settings.blur.synthesis == "auto" and device.type == "cuda")
    data = open_data(
        settings.run.train_data,
        settings.run.test_data,
        reading or settings.reading,
        Synthesis(settings.ranges, settings.blur.strength, blurred_there or (held and device.type != "cpu")),
        patch_px=settings.data.sizes.last_px,
        seed=settings.data.seed,
        epoch_images=settings.data.epoch_images,
        val_images=settings.data.val_images,
        cache=settings.run.cache,
        skip_bad=settings.run.skip_bad,
        examined=settings.run.doctor == "on",
        answers=_saved_answers(settings),
        progress=progress,
    )
    return replace(data, resident=Resident(data.train, device)) if held else data


def _network(settings: TrainSettings) -> Network:
    """Fresh, or with the weights that ``init`` names."""
    torch.manual_seed(settings.data.seed)
    init = settings.network.init
    return network_from(place_of(init)) if init else build(settings.network.architecture)


def _teacher(settings: TrainSettings) -> Teacher | None:
    """Who is asked while the student trains; a loss that needs more of it, or of saved answers, is refused, and crops
    that it does not take."""
    name = settings.run.teacher
    if not name:
        return None
    teacher = None if holds_answers(Path(name)) else find_teacher(name)
    check_terms(settings.terms, settings.run.vgg, features=bool(teacher and teacher.channels))
    if teacher:
        teacher.check_takes(settings.data.sizes.last_px)
    return teacher


def _saved_answers(settings: TrainSettings) -> SavedAnswers | None:
    """Where the teacher that is named is a folder of them."""
    folder = Path(settings.run.teacher or "")
    if not settings.run.teacher or not holds_answers(folder):
        return None
    if settings.data.data_on_device:
        raise SettingError(
            f"data_on_device does not hold a teacher's saved answers, and {folder} has such. Leave data_on_device out "
            "and give a cache, or name the teacher itself."
        )
    return read_answers(folder)


def _order(job: Job) -> RunOrder:
    settings, processes = job.settings, job.processes
    sizes, epochs = settings.data.sizes, settings.schedule.num_epochs

    def side_at(step: int) -> int:
        return sizes.at(step / (epochs * order.steps))

    order = RunOrder(job.data.epoch_images, settings.schedule.batch_size, processes.rank, processes.count, side_at)
    if not order.steps:
        raise SettingError(
            f"An epoch has {order.epoch_images} crops, less than one batch of {order.batch_size}. "
            "Raise epoch_images or lower batch_size."
        )
    return order


# Minutes, turned into epochs.


def _budgeted(job: Job) -> Job:
    """Minutes as epochs and crops an epoch: those of the run that goes on, else measured now."""
    settings, minutes = job.settings, job.settings.schedule.minutes
    if minutes is None:
        return job
    _order(job)  # of fewer crops than a batch no number of minutes makes an epoch

    def of(epochs: int, images: int) -> Job:
        named = settings.but(num_epochs=epochs, epoch_images=images)
        return replace(job, settings=named, data=replace(job.data, epoch_images=images))

    record = RunRecord(settings.run.output_dir)
    then = record.run["settings"] if record.exists and not settings.run.fresh else {}
    if then.get("minutes") == minutes:
        known = of(then["num_epochs"], then["epoch_images"])
        network = earlier_network(record, settings.network.init) or _network(settings)
        if settings.run.resume or goes_on(record, *_identity(known, network)):
            return known
    job.progress.on_line(f"measuring the speed, for about {60 * minutes * MEASURING_SHARE:.0f} s and a validation")
    started = time.monotonic()
    pace = pace_of(job, 60 * minutes * MEASURING_SHARE)
    left_s = 60 * minutes - (time.monotonic() - started)
    epochs, images = epochs_within(left_s, pace, job.data.epoch_images, settings.schedule.batch_size)
    job.progress.on_line(
        f"{minutes:g} minutes: {1 / pace.image_s:.1f} crops/s, {pace.epoch_s:.1f} s for a validation and a save: "
        f"{epochs} epochs of {images} crops"
    )
    return of(epochs, images)


def pace_of(job: Job, seconds: float) -> Pace:
    """How fast the run would be, by steps of ``seconds`` in all, which are forgotten."""
    stopping = partial(job.progress.on_line, "stopping after this step")
    with tempfile.TemporaryDirectory() as folder, stop_signals(stopping) as stop:
        scratch = Opened(RunRecord.begin(Path(folder), "measured", {}, {}))
        endless = replace(job.data, epoch_images=job.settings.schedule.batch_size * 10**6)
        trainer = _trainer(replace(job, data=endless, progress=Progress()), _network(job.settings), scratch, stop)
        return measured(trainer, job.settings.data.sizes, seconds, stop.check)


# What the record says of a run.


def settings_of(settings: TrainSettings, data: Data, network: Network, device: torch.device) -> dict[str, Any]:
    """Every setting, resolved: what the data, init and this machine decide is filled in."""
    architecture = dict(network.architecture)
    chosen = {name: value for name, value in settings.flat().items() if name not in settings.network.options}
    return chosen | {
        "network": architecture.pop("name"),
        **architecture,
        "epoch_images": data.epoch_images,
        "device": str(device),
        "precision": pick_precision(settings.schedule.precision, device),
        "parameters": parameter_count(network),
        "validation_pairs": len(data.validation.pairs),
    }


def resolve(settings: TrainSettings) -> dict[str, Any]:
    """What a dry run prints. Data that is not there yet leaves the settings it decides open."""
    device = pick_device(settings.run.device)
    named = [SourceName.parse(text) for text in (*settings.run.train_data, *settings.run.test_data)]
    if not named or not all(name.path is None or name.path.exists() for name in named):
        return settings.flat() | {"device": str(device)}
    quickly = settings.but(doctor="off", cache=None, skip_bad=0)
    network = _network(settings)
    settings.network.tiling(network)
    measured_later = {"num_epochs": "measured", "epoch_images": "measured"} if settings.schedule.minutes else {}
    return settings_of(settings, data_of(quickly, reading=settings.reading), network, device) | measured_later


def _identity(job: Job, network: Network) -> tuple[dict[str, Any], dict[str, str], dict[str, Any]]:
    """A run's settings, its tags, and the settings that must be the same for it to go on, with what they were by
    default where an older record lacks them."""
    settings, data = job.settings, job.data
    taught_by = data.answers_sha256 or (job.teacher.sha256 if job.teacher else None)
    vgg = sha256_of(settings.run.vgg) if settings.run.vgg and asks_vgg(settings.terms) else None
    resolved = settings_of(settings, data, network, job.processes.device) | {TEACHER: taught_by, VGG: vgg}
    decisive = TrainSettings().but(network=network.architecture["name"]).decisive()
    return resolved, _tags(job), decisive | {TEACHER: None, VGG: vgg}


def _run_name(settings: TrainSettings, network: Network) -> str:
    sizes = [f"{name} {value}" for name, value in network.architecture.items() if type(value) in (int, float)]
    return " ".join([settings.run.preset, *sizes])


def _tags(job: Job) -> dict[str, str]:
    """What a run was made with, besides its settings."""
    return {
        DATA: job.data.fingerprint,
        **({"split": job.data.split} if job.data.split else {}),
        **project.git_tags(),
        "python": sys.version.split()[0],
        "torch": torch.__version__,
        "threads": str(torch.get_num_threads()),
        "processes": str(job.processes.count),
        "device": str(job.processes.device),
        **job.tags,
    }


def _ended_tags(settings: TrainSettings, outcome: Counters, exported: Exported) -> dict[str, str]:
    annealed = settings.optimization.anneals and not outcome.stopped_early
    ended = {"annealed": annealed, "best_epoch": outcome.best_epoch, "frozen": exported.frozen}
    return {name: str(value).lower() for name, value in ended.items()}
