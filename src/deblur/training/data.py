"""What a run trains and validates on, as its settings name it: opened, examined, decoded into the cache, mixed."""

import shlex
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch.utils.data import Dataset

from deblur.data.doctor import Finding, examine
from deblur.data.film_leaks import film_leaks
from deblur.data.frames import FramePair
from deblur.data.licences import licence_of
from deblur.data.pairs import ImageFile, PairFiles, fingerprint
from deblur.data.parallel import OnProgress
from deblur.data.resident import Resident
from deblur.data.scenes import split_scenes
from deblur.data.sources import (
    Parts,
    Reading,
    Source,
    fingerprint_of,
    hold_back,
    mixture,
    open_sources,
    prepared,
    validation_pairs,
)
from deblur.data.teaching import SavedAnswers, with_answers
from deblur.errors import DataError, SettingError
from deblur.evaluation.scores import EvaluationSet
from deblur.registry.record import unicode_text
from deblur.synthesis.draw import BlurRanges
from deblur.training.progress import Progress

CACHE_LINE_S = 5.0
FINDINGS_TOLD, SCENES_TOLD = 5, 20
BROKEN = ("unreadable", "truncated", "unsupported", "bit_depth", "size", "too_small")
"""What skip_bad leaves out. Of pairs that train, each ends the run when it is drawn."""
TOLD_NOTES = ("assumed_partners", "older_synthesis")


@dataclass(frozen=True)
class Data:
    """What a run trains and validates on. The training set names its samples by ``name_of(key)``.

    ``datasets``: every source for the record: name, source, digest, context, images (0: generated), licence.
    ``split``: how scenes were split, in words; empty where none were.
    ``resident``: holds the training images on the device that trains.
    ``answers_sha256``: of a teacher's saved answers to what trains.
    ``told``: what trains, in words: ``47 pairs and dead leaves``.
    """

    train: Dataset[Any]
    epoch_images: int
    validation: EvaluationSet
    fingerprint: str
    left_out: Sequence[str] = ()
    datasets: Sequence[dict[str, Any]] = ()
    split: str = ""
    resident: Resident | None = None
    answers_sha256: str | None = None
    told: str = "images"


@dataclass(frozen=True)
class Synthesis:
    """How sharp pictures are blurred: drawn from ``ranges``, 0 to 1 strong, by loaders or on the device."""

    ranges: BlurRanges = BlurRanges()
    strength: float = 1.0
    on_device: bool = False


def open_data(
    train_data: Sequence[str],
    test_data: Sequence[str],
    reading: Reading,
    synthesis: Synthesis,
    *,
    patch_px: int,
    seed: int,
    epoch_images: int | None = None,
    val_images: int | None = None,
    cache: Path | None = None,
    skip_bad: int = 0,
    examined: bool = True,
    answers: SavedAnswers | None = None,
    progress: Progress = Progress(),
) -> Data:
    """Open what the sources name, look it over, decode it into the cache, mix it.

    Args:
        train_data, test_data, epoch_images, val_images, cache, skip_bad, seed: what the settings of these names say.
        reading: how sources are read.
        synthesis: how sharp pictures are blurred.
        patch_px: side of a crop.
        examined: whether the doctor looks first.
        answers: a teacher's, to the blurry images that train.
        progress: told what was found.

    Raises:
        SettingError: no source is named, or no validation set can be made of what is.
        DataError: a source holds nothing usable, more broken images than ``skip_bad`` allows, or what the doctor calls
            an error.
        DiskFull: the cache has no room.
    """
    if not train_data:
        raise SettingError(
            "train_data is needed: a folder of pairs, photos:FOLDER, frames:FOLDER, film:FILE, or leaves, which need "
            "no data."
        )

    def on_line(line: str) -> None:
        progress.on_line(f"film: {line}")

    train, validate = (open_sources(named, reading, on_line) for named in (train_data, test_data))
    if examined:
        _examine(train, validate, reading, patch_px, skip_bad, progress)
    train, left_out = prepared(train, cache, skip_bad, _cache_progress(progress), patch_px)
    if validate:
        validate, _ = prepared(validate, cache, 0, _cache_progress(progress))
        parts = Parts(train, validate, [])
    else:
        parts = hold_back(train)
    for source in parts.promotion:
        progress.on_line(_split_line(source))
    validation = EvaluationSet(*validation_pairs(parts.validation, val_images, synthesis.strength, synthesis.ranges))
    digest = None
    if answers:
        taught, used = with_answers(parts.training, answers, cache)
        parts, digest = parts._replace(training=taught), used.sha256
    crops = mixture(parts.training, patch_px, seed, synthesis.ranges, synthesis.on_device)
    images = sum(source.images for source in parts.training)
    both = f"{fingerprint_of(parts.training, synthesis.ranges)}-{fingerprint(validation.pairs)}"
    split = unicode_text("; ".join(map(_split_named, parts.promotion)))
    return Data(
        crops,
        epoch_images or images,
        validation,
        both,
        left_out,
        _datasets(parts),
        split,
        answers_sha256=digest,
        told=" and ".join(map(_images_of, parts.training)),
    )


def _images_of(source: Source) -> str:
    count = source.images_on_disk
    kind = "window" if source.films else "pair" if source.pairs else "photo"
    return f"{count:,} {kind}{'s' * (count != 1)}" if count else "dead leaves"


def _datasets(parts: Parts) -> list[dict[str, Any]]:
    """What the record says of every source."""
    return [
        {
            "name": unicode_text(path.name) if path else "leaves",
            "source": str(path or "generated"),
            "digest": source.fingerprint,
            "context": context,
            **({"films": [film.mark.as_record() for film in source.films]} if source.films else {}),
            "images": source.images_on_disk,
            "licence": licence_of(path) if path else "none: generated",
        }
        for context, sources in parts._asdict().items()
        for source in sources
        for path in (source.name.path,)
    ]


def _split_line(kept: Source) -> str:
    """For people; ``kept``: the part that is kept for a promotion."""
    train, validate, promote = map(len, split_scenes(kept.scenes.values()))
    named = shlex.quote(str(replace(kept.name, weight=1.0, promotion=True)))
    return (
        f"split by scene: {train} train, {validate} validate{'s' * (validate == 1)}, {promote} kept for promotion "
        f"('deblur promote NAME --data {named}')"
    )


def _split_named(kept: Source) -> str:
    """For the record, with names: ``gopro: 8 train; validation: GOPR0384; promotion: GOPR0881``."""
    train, *others = split_scenes(kept.scenes.values())
    named = [", ".join(scenes[:SCENES_TOLD]) + ", ..." * (len(scenes) > SCENES_TOLD) for scenes in others]
    return f"{kept.name.path}: {len(train)} train; validation: {named[0]}; promotion: {named[1]}"


def _examine(
    train: Sequence[Source],
    validate: Sequence[Source],
    reading: Reading,
    patch_px: int,
    skip_bad: int,
    progress: Progress,
) -> None:
    """The doctor's quick look: what is probably wrong is told, what surely is ends the run before it begins.

    Broken images are left to ``skip_bad`` where they train, and a leak is no error where nobody chose the split.
    """
    chosen = bool(validate)
    if not chosen:
        train, held_out, kept = hold_back(train)
        validate = [*held_out, *kept]
    report = examine(_examinable(train), _examinable(validate), patch_px, quick=True)
    films = [[film.mark for source in side for film in source.films] for side in (train, validate)]
    report = replace(report, findings=(*film_leaks(*films), *report.findings))
    trains = {str(file) for source in train for file in source.files}
    errors, told = list[Finding](), [f for f in report.findings if f.severity == "warning" or f.kind in TOLD_NOTES]
    for error in report.errors:
        left_out = skip_bad and error.kind in BROKEN and (trains.issuperset(error.files) or not chosen)
        if not chosen and error.kind.startswith("leak"):
            told.insert(0, error)
        elif not left_out:
            errors.append(error)
    for finding in told[:FINDINGS_TOLD]:
        progress.on_line(f"doctor: {_told(finding)}")
    if errors:
        named = [train, validate] if chosen else [[*train, *validate]]
        raise DataError(_refusal(errors, named, reading, patch_px))


def _refusal(errors: Sequence[Finding], sides: Sequence[Sequence[Source]], reading: Reading, patch_px: int) -> str:
    """What the doctor found, the command that shows it, and the way around it where there is one.

    Args:
        errors: at least one.
        sides: the sources that train, and those that validate where somebody chose them.
        reading: how sources are read.
        patch_px: side of a crop.
    """
    files = {Path(file) for error in errors for file in error.files}
    folders = [["film:" * bool(s.films) + str(s.name.path) for s in side if files & s.files][:1] for side in sides]
    arguments = [argument for folder in folders for argument in ("--val", *folder) if folder][1:]
    arguments += ["--patch_size", str(patch_px)] if folders[0] else []
    arguments += ["--blur_gamma"] if reading.blur_gamma else []
    broken = [error.kind in BROKEN for error in errors]
    if not any(broken):
        way = "with doctor off the run begins all the same"
    elif all(broken) and files <= {file for source in sides[0] for file in source.files}:
        way = f"with skip_bad {len(errors)} or more the run begins without them"
    else:
        way = "a run cannot begin with images that are broken or too small"
    named = "; ".join(map(_told, errors[:FINDINGS_TOLD]))
    command = shlex.join(["deblur", "doctor", *arguments])
    count = f"{len(errors)} error{'s' * (len(errors) > 1)}"
    return f"The doctor finds {count}: {named}. '{command}' shows more and what to do; {way}."


def _examinable(sources: Sequence[Source]) -> list[PairFiles | FramePair | ImageFile]:
    """What the doctor can look at."""
    found = [each for source in sources for each in (*source.pairs, *source.photos)]
    return [each for each in found if isinstance(each, PairFiles | FramePair | ImageFile)]


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
