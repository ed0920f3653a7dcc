"""Sets of images saved to disk: any callable from an index to named images, resumable, with a manifest that proves it.

A set of ``blur`` and ``sharp`` is an ordinary pair folder. Sample ``i`` is a function of ``i`` alone, so what a kill
left is finished by making what is missing. Workers compute and encode; only the process that was started writes: when
it is gone, nothing writes any more, and the same command can go on at once.
"""

import hashlib
import itertools
import json
import os
import shutil
import signal
import sys
import threading
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from multiprocessing import get_context, resource_tracker
from multiprocessing.connection import wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any

from deblur.errors import DataError, DiskFull, SettingError
from deblur.files import LOCK_FILE, sole_writer, write_json, write_whole
from deblur.images import Photo, Rgb8, encode

Make = Callable[[int], dict[str, Rgb8]]
"""Index -> images by kind, ``sharp`` and perhaps ``blur``, a function of the index alone; pickled to workers."""

FORMAT = 1
MANIFEST_FILE = "manifest.json"
LAW = "synthesis"
"""Setting of a set whose blur was drawn: by which law (``synthesis.kernels.SYNTHESIS``). The first was not written."""
BLOCK_BYTES = 4096
"""What a file takes up is a multiple of this."""
AHEAD = 2
"""Samples that a worker has before it, the one it makes among them: it does not wait while others are written."""
SIGNALS = (signal.SIGINT, signal.SIGTERM)


def save_set(
    folder: Path,
    count: int,
    make: Make,
    settings: dict[str, Any],
    workers: int = 1,
    on_done: Callable[[int, int], None] = lambda done, count: None,
) -> dict[str, Any]:
    """Save samples 0 to ``count - 1`` as ``KIND/NNNNNN.png``; what is there already is kept. Returns the manifest.

    A finished set is checked against its manifest, and what is missing or differs is made again.

    Args:
        folder: a new or empty one, or one that holds this set, finished or not.
        count: samples.
        make: makes one.
        settings: all that ``make`` depends on, as JSON: what the manifest says, and what must agree to go on.
        workers: processes; 1 works in this one.
        on_done: told (samples done, count).

    Raises:
        DataError: the folder holds something else, or samples come out differently now.
        DiskFull: the set will not fit, by the size of three of its samples; or the disk was full before.
        FolderInUse: another process saves into it.
    """
    if count < 1 or workers < 1:
        raise SettingError(f"{count} samples by {workers} processes; both must be 1 or more.")
    _check_own(folder)
    with sole_writer(folder, f"Another process saves into {folder}. Wait for it, or stop it."):
        manifest = _begun(folder, make, {"format": FORMAT, "settings": settings, "count": count})
        missing = _missing(folder, manifest)
        _check_room(folder, make, missing)
        on_done(count - len(missing), count)
        for kind in manifest["kinds"]:
            (folder / kind).mkdir(exist_ok=True)
        for done, (index, files) in enumerate(_made(make, missing, workers), count - len(missing) + 1):
            for kind, data in files.items():
                write_whole(folder / _file(kind, index), data)
            on_done(done, count)
        if missing or not manifest["finished"]:
            manifest = _described(folder, manifest)
            write_json(folder / MANIFEST_FILE, manifest)
    return manifest


def read_manifest(folder: Path) -> dict[str, Any]:
    """What was saved in ``folder``: format, settings, count, kinds, finished, files; if finished sizes, fingerprint.

    Raises:
        DataError: there is none, or it cannot be read.
    """
    path = folder / MANIFEST_FILE
    try:
        manifest: dict[str, Any] = json.loads(path.read_bytes())
        if manifest["format"] != FORMAT:
            raise DataError(f"{path} has format {manifest['format']}; this version reads {FORMAT}.")
    except FileNotFoundError as error:
        raise DataError(f"{folder} holds no saved set: there is no {MANIFEST_FILE} in it.") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} cannot be read ({type(error).__name__}).") from error
    return manifest


def is_saved_set(folder: Path) -> bool:
    """Whether this program saved a set in ``folder``, finished or not."""
    try:
        return (folder / MANIFEST_FILE).is_file() and {"settings", "count", "kinds"} <= read_manifest(folder).keys()
    except DataError:
        return False  # somebody else's manifest


def law_of(folder: Path) -> int | None:
    """By which law the blur of the set saved in ``folder`` was drawn; None where it holds no set with drawn blur."""
    if not is_saved_set(folder):
        return None
    settings = read_manifest(folder)["settings"]
    drawn = "severity" in settings and not settings.get("sharp_only")
    return int(settings.get(LAW, 1)) if drawn else None


def _check_own(folder: Path) -> None:
    """Refuse one without a manifest that holds what a kill at the very beginning would not have left."""
    if not folder.is_dir() or (folder / MANIFEST_FILE).is_file():
        return
    foreign = sorted(path.name for path in folder.iterdir() if path.name not in (LOCK_FILE, f"{MANIFEST_FILE}.part"))
    if foreign:
        raise DataError(
            f"{folder} holds other files ({', '.join(foreign[:3])}); nothing is written over them. Give a new or empty "
            "folder."
        )


def _begun(folder: Path, make: Make, wanted: dict[str, Any]) -> dict[str, Any]:
    """The set's manifest, written if there is none. Sample 0 is made again: it must come out as when the set was begun.

    Settings do not say everything: another version of this program, of numpy or of Pillow may make other pixels.
    """
    first = _encoded(make, 0)
    digests = {_file(kind, 0): hashlib.sha256(data).hexdigest() for kind, data in first.items()}
    if not (folder / MANIFEST_FILE).exists():
        manifest = {**wanted, "kinds": sorted(first), "finished": False, "files": digests}
        write_json(folder / MANIFEST_FILE, manifest)
        return manifest
    manifest = read_manifest(folder)
    there, here = ({"count": of["count"], **of["settings"]} for of in (manifest, wanted))
    other = [
        f"{name} {there.get(name, 'not said')} there, {here.get(name, 'not said')} asked for"
        for name in {**there, **here}
        if there.get(name) != here.get(name)
    ]
    if other:
        raise DataError(f"{folder} holds a set with other settings: {'; '.join(other)}. Give those, or another folder.")
    if any(manifest["files"].get(name) != digest for name, digest in digests.items()):
        raise DataError(
            f"{folder} was made by another version of this program, numpy or Pillow: its sample 0 would come out "
            "differently now. Use it as it is, or begin anew in another folder."
        )
    return manifest


def _missing(folder: Path, manifest: dict[str, Any]) -> list[int]:
    """Samples to make: those that lack a file, or have one that is not what the manifest says."""
    wrong = _differing(folder, manifest["files"])
    there = {kind: {path.name for path in (folder / kind).glob("*")} for kind in manifest["kinds"]}
    return [
        index
        for index in range(manifest["count"])
        if any(f"{index:06}.png" not in there[kind] or _file(kind, index) in wrong for kind in manifest["kinds"])
    ]


def _check_room(folder: Path, make: Make, missing: Sequence[int]) -> None:
    """Raise DiskFull if the first, the middle and the last missing sample say that not all will fit."""
    if not missing:
        return
    tried = {missing[0], missing[len(missing) // 2], missing[-1]}
    sizes = [sum(-(-len(data) // BLOCK_BYTES) * BLOCK_BYTES for data in _encoded(make, i).values()) for i in tried]
    needed_mb = 1.1 * len(missing) * sum(sizes) / len(sizes) / 1e6
    free_mb = shutil.disk_usage(folder).free / 1e6
    if needed_mb > free_mb:
        raise DiskFull(
            f"{folder}: {len(missing)} samples need about {needed_mb:,.1f} MB, and {free_mb:,.1f} MB are free. Make "
            "room, or save fewer or smaller ones."
        )


def _made(make: Make, indices: Sequence[int], workers: int) -> Iterator[tuple[int, dict[str, bytes]]]:
    """Encoded samples as they are done, in any order; a few a worker are under way, so memory does not grow.

    Each worker has a pipe of its own and shares nothing else: it may be killed at any moment, and none is waited for.
    """
    if workers == 1 or len(indices) < 2:
        yield from ((index, _encoded(make, index)) for index in indices)
        return
    workers = min(workers, len(indices))
    first, waiting = indices[: AHEAD * workers], iter(indices[AHEAD * workers :])
    context, crew = get_context("spawn"), dict[Any, SpawnProcess]()
    try:
        for number in range(workers):
            ours, theirs = context.Pipe()
            with _signals_left_to_this_process(), theirs:
                process = context.Process(target=_work, args=(make, first[number::workers], theirs))
                process.start()
                crew[ours] = process
        left = len(indices)
        while left:
            for worker in wait(crew):
                index, made = _answer(worker, next(waiting, None))
                if isinstance(made, Exception):
                    raise made
                left -= 1
                yield index, made
    finally:
        for process in crew.values():
            process.kill()
        for process in crew.values():
            process.join()


def _answer(worker: Any, index: int | None) -> Any:
    """What a worker has made; it is given ``index`` to make, too."""
    try:
        if index is not None:
            worker.send(index)
        return worker.recv()
    except (EOFError, ConnectionError) as error:
        raise DataError(
            "A worker process ended before its work was done (out of memory?). What is saved is whole; give the same "
            "command again with fewer workers."
        ) from error


@contextmanager
def _signals_left_to_this_process() -> Iterator[None]:
    """Processes started in here never see Ctrl-C or SIGTERM, and one that comes meanwhile is obeyed at the end."""
    if os.name == "nt" or threading.current_thread() is not threading.main_thread():
        yield
        return
    resource_tracker.ensure_running()  # it would be started with the first process, and unblock what is blocked here
    came = list[int]()
    before = {each: signal.signal(each, lambda number, frame: came.append(number)) for each in SIGNALS}
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)  # what is started here inherits it
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        for each in SIGNALS:
            signal.signal(each, before[each])
        if came:
            signal.raise_signal(came[0])


def _work(make: Make, first: Sequence[int], parent: Any) -> None:
    """What a worker does until its parent kills it, or is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(1)  # a worker a core
    with suppress(EOFError, ConnectionError):
        for index in itertools.chain(first, iter(parent.recv, None)):
            parent.send((index, _encoded_or_error(make, index)))


def _encoded_or_error(make: Make, index: int) -> dict[str, bytes] | Exception:
    try:
        return _encoded(make, index)
    except Exception as error:
        error.add_note(traceback.format_exc())  # where it was; the parent only knows where it came out
        return error


def _encoded(make: Make, index: int) -> dict[str, bytes]:
    """A sample's PNGs by kind, compressed fast."""
    return {kind: encode(Photo(image)) for kind, image in make(index).items()}


def _file(kind: str, index: int) -> str:
    return f"{kind}/{index:06}.png"


def _described(folder: Path, manifest: dict[str, Any]) -> dict[str, Any]:
    """The manifest of a set that is complete, from its files."""
    names = [_file(kind, index) for kind in manifest["kinds"] for index in range(manifest["count"])]
    with ThreadPoolExecutor() as pool:
        found = list(pool.map(lambda name: _digest_and_size(folder / name), names))
    files = {name: digest for name, (digest, _) in zip(names, found, strict=True)}
    return {
        **manifest,
        "finished": True,
        "sizes": dict(sorted(Counter(size for _, size in found).items())),
        "fingerprint": hashlib.sha256(json.dumps(files).encode()).hexdigest()[:16],
        "files": files,
    }


def _digest_and_size(path: Path) -> tuple[str, str]:
    """A PNG's sha256, and its width and height from the header."""
    data = path.read_bytes()
    width, height = (int.from_bytes(data[at : at + 4]) for at in (16, 20))
    return hashlib.sha256(data).hexdigest(), f"{width} x {height}"


def _differing(folder: Path, files: dict[str, str]) -> set[str]:
    """The files that are not what the manifest says, or not there."""

    def differs(name: str) -> bool:
        try:
            return hashlib.sha256((folder / name).read_bytes()).hexdigest() != files[name]
        except FileNotFoundError:
            return True

    with ThreadPoolExecutor() as pool:
        return {name for name, wrong in zip(files, pool.map(differs, files), strict=True) if wrong}
