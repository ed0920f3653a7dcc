"""A teacher's answers to the blurry images of pairs, made beforehand: training needs no teacher in memory then.

    taught.json     how the teacher answered, and of every answer the digests of the blurry image and of the file
    DIGEST.png      the answer to the blurry image of this digest, whole, in 8 bit

An answer belongs to the blurry image, and is named by its digest: pairs may move, folders of one name never meet, and
a pair that was changed has none. The record is written after every answer: what a kill left is finished by making what
is missing.
"""

import hashlib
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from PIL import Image

from deblur.data.cache import cached_photos
from deblur.data.pairs import FileImage, FilePair, ImageFile, TaughtPair
from deblur.data.parallel import in_parallel
from deblur.data.sources import Source
from deblur.errors import DataError
from deblur.files import sha256_of, sole_writer, write_json, write_whole
from deblur.images import OPENED, Photo, encode, quiet
from deblur.inference.restorer import OnTile, Restorer
from deblur.inference.tiling import plan_tiles

RECORD_FILE = "taught.json"
FORMAT = 1
OnDone = Callable[[int, int, int, int], None]
"""Told (images done, images, pixels computed, pixels to compute), in all."""


@dataclass(frozen=True)
class SavedAnswers:
    """Answers in a folder, and the record of them and of how they were made."""

    folder: Path
    record: Mapping[str, Any]

    @property
    def names(self) -> dict[str, str]:
        """Files by the digest of the blurry image; the first that was made, where a version before made two."""
        return {entry["blurry"]: file for file, entry in reversed(self.record["answers"].items())}

    @property
    def sha256(self) -> str:
        """Of the record."""
        return hashlib.sha256(json.dumps(self.record, sort_keys=True).encode()).hexdigest()

    def to(self, digests: Collection[str]) -> "SavedAnswers":
        """Those to the blurry images of these digests: what a run uses, whatever else is taught into the folder."""
        used = {file for digest, file in self.names.items() if digest in digests}
        answers = {file: entry for file, entry in self.record["answers"].items() if file in used}
        return SavedAnswers(self.folder, {**self.record, "answers": answers})


def teach(
    pairs: Sequence[FilePair],
    folder: Path,
    restorer: Restorer,
    teacher_sha256: str,
    on_done: OnDone = lambda done, count, px, total_px: None,
) -> int:
    """Save the answers to all blurry images that have none yet; returns how many were made. One that is whole stays.

    Args:
        pairs: of any folders.
        folder: a new or empty one, or one with this teacher's answers.
        restorer: the teacher's.
        teacher_sha256: tells the teacher.
        on_done: told how far it is, after every tile.

    Raises:
        DataError: the folder cannot be made, or holds something else, or answers of another teacher or with other
            tiles; or a pair cannot be read.
        DiskFull: no room; what is there is whole, and the same call goes on.
        FolderInUse: another process teaches there.
    """
    tiling = restorer.tiling
    how = {"teacher_sha256": teacher_sha256, "tile_px": tiling.tile_px, "overlap_px": tiling.overlap_px}
    with sole_writer(folder, f"Another process teaches into {folder}. Wait for it, or stop it."):
        record = _begun(folder, how)
        answers, names = record["answers"], SavedAnswers(folder, record).names
        blurry = [pair.images[0] for pair in pairs]
        digests = _digests(blurry)
        wanted = {digests[image]: image for image in blurry}
        costs = {digest: _computed_px(image, restorer) for digest, image in wanted.items()}
        files = {digest: names.get(digest, f"{digest}.png") for digest in wanted}
        missing = [digest for digest, file in files.items() if not _is_there(folder / file, answers.get(file))]
        done, total_px = len(wanted) - len(missing), sum(costs.values())
        done_px = total_px - sum(costs[digest] for digest in missing)
        on_done(done, len(wanted), done_px, total_px)
        for digest in missing:

            def on_tile(tile: int, tiles: int, done: int = done, px: int = done_px, cost: int = costs[digest]) -> None:
                on_done(done, len(wanted), px + cost * tile // tiles, total_px)

            sha256 = _save_answer(folder / files[digest], wanted[digest], restorer, on_tile)
            answers[files[digest]] = {"blurry": digest, "sha256": sha256}
            write_json(folder / RECORD_FILE, record)
            done, done_px = done + 1, done_px + costs[digest]
            on_done(done, len(wanted), done_px, total_px)
    return len(missing)


def _save_answer(path: Path, blurry: FileImage, restorer: Restorer, on_tile: OnTile) -> str:
    """Write what the restorer makes of an image; returns the file's sha256."""
    rgb = blurry.load().copy()
    restorer.in_place(rgb, on_tile=on_tile)
    data = encode(Photo(rgb))
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, data)
    return hashlib.sha256(data).hexdigest()


def holds_answers(folder: Path) -> bool:
    """Whether :func:`teach` wrote there."""
    return (folder / RECORD_FILE).is_file()


def read_answers(folder: Path) -> SavedAnswers:
    """What was saved in ``folder``.

    Raises:
        DataError: there is no record, or it cannot be read.
    """
    path = folder / RECORD_FILE
    try:
        record: dict[str, Any] = json.loads(path.read_bytes())
        if record["format"] != FORMAT:
            raise DataError(f"{path} has format {record['format']}; this version reads {FORMAT}.")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} cannot be read ({type(error).__name__}).") from error
    return SavedAnswers(folder, record)


def with_answers(
    sources: Sequence[Source], answers: SavedAnswers, cache: Path | None
) -> tuple[list[Source], SavedAnswers]:
    """The sources with their answers, decoded into ``cache`` if there is one, and those answers alone.

    Raises:
        DataError: a pair has no answer, or a source has no pairs that could have one.
    """
    for source in sources:
        check_teachable(source)
    digests = _digests([pair.images[0] for source in sources for pair in source.pairs])
    taught = [replace(source, pairs=_with_answers(source, answers, digests, cache)) for source in sources]
    return taught, answers.to(set(digests.values()))


def check_teachable(source: Source) -> None:
    """Refuse what has no blurry images of its own.

    Raises:
        DataError: the source's blur is drawn anew for every crop.
    """
    if source.name.kind in ("pairs", "frames"):
        return
    raise DataError(
        f"{source.name}: blur is drawn anew for every crop, so no answer can be made beforehand. Save a set first "
        "('deblur synth SET SOURCE') and teach and train with that; or let the teacher answer while the student trains."
    )


def _with_answers(
    source: Source, answers: SavedAnswers, digests: Mapping[FileImage, str], cache: Path | None
) -> list[FilePair]:
    names = answers.names
    lacking = [pair.name for pair in source.pairs if digests[pair.images[0]] not in names]
    if lacking:
        raise DataError(
            f"{source.name.path}: {len(lacking)} of {len(source.pairs)} pairs have no answer in {answers.folder} "
            f"({', '.join(lacking[:3])}{' ...' if len(lacking) > 3 else ''}). "
            "'deblur teach' makes what is missing; give it the average and blur_gamma of the training."
        )
    images: Sequence[FileImage] = [
        ImageFile(pair.name, answers.folder / names[digests[pair.images[0]]]) for pair in source.pairs
    ]
    if cache:
        images, _ = cached_photos(images, cache)
    return [TaughtPair(pair.name, pair.images, pair, answer) for pair, answer in zip(source.pairs, images, strict=True)]


def _begun(folder: Path, how: Mapping[str, Any]) -> dict[str, Any]:
    """The record, written if there is none."""
    if not holds_answers(folder):
        others = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
        if others:
            raise DataError(f"{folder} holds other files ({', '.join(others[:3])}). Give a new or empty folder.")
        write_json(folder / RECORD_FILE, {"format": FORMAT, **how, "answers": {}})
    record = dict(read_answers(folder).record)
    other = [
        f"{name} {record.get(name)} there, {value} now" for name, value in how.items() if record.get(name) != value
    ]
    if other:
        raise DataError(f"{folder} holds answers that were made otherwise: {'; '.join(other)}. Give another folder.")
    return record


def _digests(images: Sequence[FileImage]) -> dict[FileImage, str]:
    """Of what each image is made of."""
    distinct = list(dict.fromkeys(images))

    def digest(image: FileImage) -> str:
        try:
            return hashlib.sha256("\n".join([image.made, *map(sha256_of, image.files)]).encode()).hexdigest()
        except OSError as error:
            raise DataError(f"{error.filename} cannot be read ({error.strerror}).") from error

    return {image: future.result() for image, future in in_parallel(digest, distinct)}


def _is_there(path: Path, entry: Mapping[str, str] | None) -> bool:
    return entry is not None and path.is_file() and sha256_of(path) == entry["sha256"]


def _computed_px(image: FileImage, restorer: Restorer) -> int:
    """What the teacher computes for it, told by its header; 1 where that cannot be read, which decoding will say."""
    try:
        with quiet(), Image.open(image.files[0], formats=OPENED) as opened:
            return plan_tiles(opened.height, opened.width, restorer.tiling).computed_px
    except Exception:  # as many kinds as there are decoders
        return 1
