"""What a run trains and validates on, as its settings name it: opened, examined, decoded into the cache, mixed."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch.utils.data import Dataset

from deblur.data.doctor import Finding, examine
from deblur.data.pairs import FileImage, ImageFile, PairFiles, fingerprint
from deblur.data.parallel import OnProgress
from deblur.data.sources import (
    Reading,
    Source,
    fingerprint_of,
    hold_back,
    mixture,
    open_sources,
    prepared,
    validation_pairs,
)
from deblur.errors import DataError, SettingError
from deblur.evaluation.scores import EvaluationSet
from deblur.training.config import TrainConfig
from deblur.training.device import pick_device
from deblur.training.loop import Progress

CACHE_LINE_S = 5.0
FINDINGS_TOLD = 5
BROKEN = ("unreadable", "truncated", "unsupported", "bit_depth", "size")
"""What --skip_bad leaves out."""


@dataclass(frozen=True)
class Data:
    """What a run trains and validates on. The training set names its samples by ``name_of(key)``."""

    train: Dataset[Any]
    epoch_images: int
    benchmark: EvaluationSet
    fingerprint: str
    left_out: Sequence[str] = ()


def data_of(config: TrainConfig, progress: Progress = Progress()) -> Data:
    """What the settings name.

    Raises:
        SettingError: no source is named, or no validation set can be made of what is.
        DataError: a source holds nothing usable, more broken images than --skip_bad allows, or what the doctor calls
            an error.
        DiskFull: the cache has no room.
    """
    if not config.train_data:
        raise SettingError(
            "--train_data is needed: a folder of pairs, photos:FOLDER, frames:FOLDER, or leaves, which need no data."
        )
    reading, ranges = Reading(config.blur_gamma, config.average), config.ranges
    train, validate = open_sources(config.train_data, reading), open_sources(config.test_data, reading)
    if config.doctor == "on":
        _examine(*((train, validate) if validate else hold_back(train)), config, progress)
    train, left_out = prepared(train, config.cache, config.skip_bad, _cache_progress(progress))
    if validate:
        validate, _ = prepared(validate, config.cache, 0, _cache_progress(progress))
    else:
        train, validate = hold_back(train)
    validation = validation_pairs(validate, config.val_images, config.strength, ranges)
    on_gpu = config.synthesis == "auto" and pick_device(config.device).type == "cuda"
    crops = mixture(train, config.patch_size, config.seed, ranges, on_gpu or config.synthesis == "device")
    images = sum(source.images for source in train)
    both = f"{fingerprint_of(train, ranges)}-{fingerprint(validation)}"
    return Data(crops, config.epoch_images or images, EvaluationSet(validation), both, left_out)


def _examine(train: Sequence[Source], validate: Sequence[Source], config: TrainConfig, progress: Progress) -> None:
    """The doctor's quick look: what is probably wrong is told, what surely is ends the run before it begins.

    Broken images are left to ``--skip_bad`` where they train, and a leak is no error where nobody chose the split.
    """
    sides = [_files_of(train), _files_of(validate)]
    if not any(sides):
        return
    report = examine(sides[0], sides[1], config.patch_size, quick=True)
    trains = {str(file) for source in train for file in source.files}
    errors, told = list[Finding](), report.of("warning")
    for error in report.errors:
        left_out = config.skip_bad and error.kind in BROKEN and (trains.issuperset(error.files) or not config.test_data)
        if not config.test_data and error.kind.startswith("leak"):
            told.append(error)
        elif not left_out:
            errors.append(error)
    for finding in told[:FINDINGS_TOLD]:
        progress.on_line(f"doctor: {_told(finding)}")
    if errors:
        named_apart = (train, validate) if config.test_data else (train,)  # held back, both have one name
        folders = [source.name.path for sources in named_apart for source in sources[:1] if source.name.path]
        command = f"deblur doctor {' --val '.join(map(str, folders[:2]))} --patch_size {config.patch_size}"
        named = "; ".join(map(_told, errors[:FINDINGS_TOLD]))
        raise DataError(
            f"The doctor finds {len(errors)} errors: {named}. '{command}' shows more and what to do; --doctor off "
            "trains all the same."
        )


def _files_of(sources: Sequence[Source]) -> list[PairFiles | ImageFile]:
    """What the doctor can look at: pairs, photos, and of averaged frames the sharp one."""
    images: list[PairFiles | FileImage] = []
    for source in sources:
        images += [pair if isinstance(pair, PairFiles) else pair.images[1] for pair in source.pairs]
        images += source.photos
    return [image for image in images if isinstance(image, PairFiles | ImageFile)]


def _told(finding: Finding) -> str:
    return f"{finding.kind}: {' '.join(finding.files[:2])}: {finding.text.rstrip('.')}"


def _cache_progress(progress: Progress) -> OnProgress:
    """A line every few seconds."""
    told = time.monotonic()

    def tell(what: str, done: int, total: int) -> None:
        nonlocal told
        if done == total or time.monotonic() - told > CACHE_LINE_S:
            told = time.monotonic()
            progress.on_line(f"cache: {done} of {total} images {what}")

    return tell
