"""READ FIRST: a run from settings to a registered version, told from top to bottom.

Settings stop here: everything below takes plain arguments.
"""

import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from deblur import project
from deblur.data.crops import RunOrder
from deblur.data.pairs import PairCrops, evenly_chosen, find_pairs, fingerprint
from deblur.errors import SettingError, TrackerError
from deblur.evaluation.scores import Benchmark, Scores
from deblur.export.onnx import export_model, verify_model
from deblur.inference.tiling import Tiling
from deblur.models import build, parameter_count
from deblur.models.unet import DeblurUNet
from deblur.registry.record import FINISHED, RunRecord
from deblur.training.checkpoint import best_name, load_checkpoint, network_from, network_of
from deblur.training.config import TrainConfig
from deblur.training.ending import closing, shipper
from deblur.training.loop import Batch, Outcome, Progress, Schedule, fit, verified_metrics


@dataclass(frozen=True)
class Data:
    """What a run trains and validates on."""

    train: Dataset[tuple[Tensor, Tensor]]
    epoch_images: int
    benchmark: Benchmark
    fingerprint: str


@dataclass(frozen=True)
class Result:
    """What a run leaves behind."""

    record: RunRecord
    outcome: Outcome
    scores: Scores
    run_id: str | None
    version: str | None


def pair_data(config: TrainConfig) -> Data:
    """Pairs from the folders that the settings name.

    Raises:
        SettingError: a folder is not named.
        DataError: a folder holds no usable pairs.
    """
    if config.train_data is None or config.test_data is None:
        raise SettingError("--train_data and --test_data are both needed: folders that hold blur/ and sharp/.")
    train = find_pairs(config.train_data, config.blur_gamma)
    validation = evenly_chosen(find_pairs(config.test_data, config.blur_gamma), config.val_images)
    crops = PairCrops(train, config.patch_size, config.seed)
    both = f"{fingerprint(train)}-{fingerprint(validation)}"
    return Data(crops, config.epoch_images or len(train), Benchmark(validation), both)


def run(config: TrainConfig, data: Data | None = None, progress: Progress | None = None) -> Result:
    """Train, keep the best, export it, prove the exported file, register it.

    Args:
        config: resolved settings.
        data: instead of the pair folders in ``config``.
        progress: told how the run goes.

    Raises:
        DeblurError: settings, data, training or registration failed; the record on disk says how far it came.
    """
    progress = progress or Progress()
    torch.manual_seed(config.seed)
    device = pick_device(config.device)
    data = data or pair_data(config)
    if data.epoch_images < config.batch_size:
        raise SettingError(
            f"An epoch has {data.epoch_images} crops, less than one batch of {config.batch_size}. "
            f"Raise --epoch_images or lower --batch_size."
        )

    # The network, from scratch or from earlier weights, and the tiles it will be validated and served with.
    network = _network(config)
    tiling = Tiling(config.tile_size, config.tile_overlap, network.size_rule)

    # The record on disk; a tracker, if there is one, is fed from it.
    commit, dirty = project.git_state()
    settings = settings_of(config, data, network, device)
    tags = {
        "data_fingerprint": data.fingerprint,
        "git_commit": commit or "unknown",
        "git_dirty": str(dirty).lower(),
        "torch": torch.__version__,
        "python": sys.version.split()[0],
    }
    record = RunRecord.begin(config.output_dir, _run_name(config), settings, tags)
    ship = shipper(config.tracking)
    run_id = ship(record)  # a tracker that is not there is told now, not after a night

    def ship_epoch(record: RunRecord) -> None:
        """The record is on disk; a tracker that fails for a while costs a line, not the run."""
        try:
            ship(record)
        except TrackerError as error:
            progress.on_line(f"not shipped yet: {error}")

    # Train.
    order = RunOrder(data.epoch_images)
    loader = _loader(config, data, order, device)
    schedule = Schedule(
        config.num_epochs,
        config.learning_rate,
        config.weight_decay,
        config.clip_norm,
        config.patience,
        config.eval_every,
    )
    with closing(record, ship) as check_signals:
        outcome = fit(
            network,
            loader,
            order,
            data.benchmark,
            tiling,
            schedule,
            record,
            device,
            ship_epoch,
            progress,
            check_signals,
        )

        # Export the best, open the written file again, and score it as a user would see it.
        best = network_of(load_checkpoint(record.folder / best_name(outcome.best_epoch, outcome.best_psnr_db)))
        export_model(
            best,
            record.model_folder,
            name=config.registered_model_name or "deblur",
            tiling=tiling,
            git_commit=commit,
            run_id=run_id,
        )
        scores = verify_model(record.model_folder, data.benchmark, outcome.best_psnr_db)
        progress.on_line(
            f"exported {record.model_folder}; its file scores {scores.mean('psnr_db'):.3f} dB "
            f"(validation {outcome.best_psnr_db:.3f} dB, input {scores.mean('psnr_input_db'):.3f} dB)"
        )
        record.log_epoch(outcome.best_epoch, verified_metrics(scores))
        record.end(FINISHED, {"annealed": str(outcome.annealed).lower(), "best_epoch": str(outcome.best_epoch)})

    # Register the proved file. From here on the run has succeeded, whatever the tracker says.
    ship(record)
    version = None
    if config.registered_model_name and run_id:
        from deblur.registry.versions import register

        version = register(record.model_folder, best, config.registered_model_name, run_id)
    for line in closing_lines(config, outcome, record, version):
        progress.on_line(line)
    return Result(record, outcome, scores, run_id, version)


def settings_of(config: TrainConfig, data: Data, network: DeblurUNet, device: torch.device) -> dict[str, Any]:
    """Every setting as it comes out: what the data, --init and this machine decide is filled in."""
    return asdict(config) | {
        "width": network.width,
        "residual": network.residual,
        "epoch_images": data.epoch_images,
        "device": str(device),
        "parameters": parameter_count(network),
        "val_images": len(data.benchmark.pairs),
    }


def resolve(config: TrainConfig) -> dict[str, Any]:
    """What ``--dry_run`` prints. Data folders that are not there yet leave the settings they decide open."""
    device = pick_device(config.device)
    if not all(folder and folder.is_dir() for folder in (config.train_data, config.test_data)):
        return asdict(config) | {"device": str(device)}
    return settings_of(config, pair_data(config), _network(config), device)


def pick_device(name: str) -> torch.device:
    """``auto`` takes a GPU if there is one.

    Raises:
        SettingError: a device that this machine does not have.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
        return device
    except (RuntimeError, AssertionError) as error:
        raise SettingError(f"--device {name} is not usable here ({str(error).splitlines()[0]}). Try cpu.") from error


def closing_lines(config: TrainConfig, outcome: Outcome, record: RunRecord, version: str | None) -> Iterator[str]:
    """The last lines of a run."""
    yield f"best: {outcome.best_psnr_db:.2f} dB at epoch {outcome.best_epoch}, {record.best_checkpoint}"
    if version:
        from deblur.registry.versions import describe_version

        yield f"registered: {describe_version(config.registered_model_name or '', version)}"
    if outcome.skipped_steps:
        yield f"skipped: {outcome.skipped_steps} steps whose loss or gradients were not finite"
    if not outcome.annealed:
        yield (
            f"never annealed: stopped at epoch {outcome.epoch} of {config.num_epochs}, {config.patience} epochs after "
            f"the best, before the cosine had come down. A run with --num_epochs {outcome.best_epoch} would anneal."
        )


def _network(config: TrainConfig) -> DeblurUNet:
    if config.init is None:
        return build({"name": "DeblurUNet", "width": config.width, "residual": config.residual})
    if config.init.startswith("models:/"):
        from deblur.registry.versions import fetch

        return network_from(fetch(config.init))
    return network_from(Path(config.init))


def _loader(config: TrainConfig, data: Data, order: RunOrder, device: torch.device) -> DataLoader[Batch]:
    return DataLoader[Batch](
        data.train,
        batch_size=config.batch_size,
        sampler=order,
        num_workers=config.num_workers or 0,
        drop_last=True,
        persistent_workers=bool(config.num_workers),
        pin_memory=device.type == "cuda",
        generator=torch.Generator().manual_seed(config.seed),
    )


def _run_name(config: TrainConfig) -> str:
    return config.registered_model_name or f"{config.preset} width {config.width}"
