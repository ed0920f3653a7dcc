"""``deblur bench data``: crops a second that reach the network, decoding each sample and from the decoded cache.

Every round times each way once, on the same keys, so that what else the machine does falls on all alike; figures are
medians over the rounds. The files were read before: what is measured is decoding, not the disk.
"""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from torch.utils.data import DataLoader, Dataset

from deblur.benchmarks.machine import describe_machine
from deblur.data.batches import collate
from deblur.data.cache import CachedImage, disk_bytes
from deblur.data.crops import Key
from deblur.data.parallel import OnProgress
from deblur.data.sources import Reading, mixture, open_sources, prepared
from deblur.errors import DataError, SettingError
from deblur.files import write_json

Samples = Dataset[Any]

DECODING, CACHED = "as the files are", "from the cache"
STRENGTH = 0.5
"""Of synthetic blur."""
ROUND_KEYS = 1_000_000
"""Rounds are this many samples apart."""
BATCH_SIZE = 4
"""Crops a batch of a loader; small, so that a slow one hands over enough of them."""


@dataclass(frozen=True)
class WayFigures:
    """Crops a second: medians over the rounds. ``loaded_crops_per_s`` is None without loader processes."""

    name: str
    crops_per_s: float
    loaded_crops_per_s: float | None


@dataclass(frozen=True)
class DataFigures:
    """What was measured, on what, and what the cache cost; MB are 1e6 bytes."""

    machine: dict[str, Any]
    sources: list[str]
    images: int
    patch_px: int
    workers: int
    rounds: int
    source_mb: float
    cache_mb: float
    build_s: float
    decoding: WayFigures
    cached: WayFigures | None
    eaten_images_per_s: float | None

    @property
    def speedup(self) -> float | None:
        """Crops a second from the cache over those of decoding, in one process; None where nothing lies on disk."""
        return self.cached.crops_per_s / self.decoding.crops_per_s if self.cached else None

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self) | {"speedup": self.speedup}


def bench(
    sources: Sequence[str],
    patch_px: int,
    workers: int,
    rounds: int,
    seconds: float,
    average: int | None,
    cache: Path | None,
    train_json: Path | None,
    json_file: Path | None,
    console: Console,
) -> DataFigures:
    """Build the cache, measure, print the table, write it where asked for.

    Args:
        sources: as ``train_data`` takes them.
        patch_px: side of a crop.
        workers: loader processes; 0 measures one process only.
        rounds: timings of each way.
        seconds: what a timing takes.
        average: frames a pair, for sequences.
        cache: where the cache is built and stays; None builds it in a folder that is gone afterwards.
        train_json: what ``deblur bench train --json`` wrote, for the images a second that a step eats.
        json_file: where the figures go, too.
        console: where the table goes.

    Raises:
        SettingError: nothing to measure, or ``train_json`` is not such a file.
        DataError: a source with nothing usable in it.
        DiskFull: no room for the cache.
    """
    if rounds < 1 or workers < 0 or seconds <= 0 or patch_px < 1:
        raise SettingError("rounds, seconds and patch_size must be above 0, workers 0 or more.")
    eaten = _eaten_images_per_s(train_json) if train_json else None
    opened = open_sources(sources, Reading(average=average))
    with (
        nullcontext(cache) if cache else TemporaryDirectory(prefix="deblur-cache-", ignore_cleanup_errors=True) as kept
    ):
        started = time.perf_counter()
        with shown(console) as on_progress:
            ready, _ = prepared(opened, Path(str(kept)), 0, on_progress)
        build_s = time.perf_counter() - started
        ways = {DECODING: mixture(opened, patch_px, seed=0), CACHED: mixture(ready, patch_px, seed=0)}
        if not any(source.files for source in opened):
            del ways[CACHED]  # leaves
        measured = measure(ways, workers, rounds, seconds)
        figures = DataFigures(
            machine=describe_machine(),
            sources=[str(source.name) for source in opened],
            images=sum(source.images for source in opened),
            patch_px=patch_px,
            workers=workers,
            rounds=rounds,
            source_mb=sum(file.stat().st_size for source in opened for file in source.files) / 1e6,
            cache_mb=disk_bytes(i for s in ready for i in s.file_images if isinstance(i, CachedImage)) / 1e6,
            build_s=build_s,
            decoding=measured[0],
            cached=measured[1] if len(measured) > 1 else None,
            eaten_images_per_s=eaten,
        )
    report(figures, console)
    if json_file:
        write_json(json_file, figures.as_dict())
    return figures


def measure(ways: Mapping[str, Samples], workers: int, rounds: int, seconds: float) -> list[WayFigures]:
    """Crops a second of every data set, in this process and through a loader, in turns.

    Args:
        ways: name -> data set that gives a sample for any key from 0.
        workers: loader processes; 0 leaves the loader out.
        rounds: timings of each; medians count.
        seconds: what a timing takes.
    """
    alone: dict[str, list[float]] = {name: [] for name in ways}
    loaded: dict[str, list[float]] = {name: [] for name in ways}
    for samples in ways.values():
        samples[Key(0, STRENGTH)]  # what happens once does not count
    for round_number in range(rounds):
        for name, samples in ways.items():
            keys = range(round_number * ROUND_KEYS, (round_number + 1) * ROUND_KEYS)
            alone[name].append(_per_second((samples[Key(key, STRENGTH)] for key in keys), seconds))
            if workers:
                loaded[name].append(BATCH_SIZE * _per_second(_batches(samples, keys, workers), seconds))
    return [WayFigures(name, median(alone[name]), median(loaded[name]) if workers else None) for name in ways]


@contextmanager
def shown(console: Console) -> Iterator[OnProgress]:
    """A bar for each thing that is done, while it is done."""
    with Progress(console=console, transient=True) as progress:
        tasks = {what: progress.add_task(what, total=None, visible=False) for what in ("hashed", "decoded")}

        def on_progress(what: str, done: int, total: int) -> None:
            progress.update(tasks[what], completed=done, total=total, visible=True)

        yield on_progress


def report(figures: DataFigures, console: Console) -> None:
    """The figures as a table."""
    table = Table("crops/s", "one process", f"{figures.workers} loader processes", "MB on disk")
    for way, megabytes in ((figures.decoding, figures.source_mb), (figures.cached, figures.cache_mb)):
        if way is None:
            continue
        loaded = "" if way.loaded_crops_per_s is None else f"{way.loaded_crops_per_s:.0f}"
        table.add_row(way.name, f"{way.crops_per_s:.0f}", loaded, f"{megabytes:.0f}")
    what = f"{' '.join(figures.sources)}: {figures.images} images, crops of {figures.patch_px} px"
    console.print(what, soft_wrap=True, markup=False)
    console.print(table)
    eaten = figures.eaten_images_per_s
    step = "" if eaten is None else f"; a training step eats {eaten:.0f} images/s"
    if figures.speedup:
        step = f"the cache is {figures.speedup:.0f} times as fast; built in {figures.build_s:.1f} s{step}"
    console.print(
        f"{step.removeprefix('; ')}\nmedians of {figures.rounds}; {figures.machine}",
        soft_wrap=True,
        markup=False,
    )


def _batches(samples: Samples, keys: range, workers: int) -> Iterator[Any]:
    """From a loader at full speed: what lay ready when it began is left out."""
    order = (Key(key, STRENGTH) for key in keys)
    loader = DataLoader(samples, BATCH_SIZE, sampler=order, num_workers=workers, collate_fn=collate)
    batches = iter(loader)
    for _ in range(2 * workers + 1):  # each worker loads two ahead
        next(batches)
    yield from batches


def _per_second(items: Iterator[Any], seconds: float) -> float:
    """Items a second over ``seconds``, at least one; the first is not counted, as it may start something up."""
    next(items)
    started = time.perf_counter()
    for count, _ in enumerate(items, 1):
        elapsed = time.perf_counter() - started
        if elapsed >= seconds:
            return count / elapsed
    raise DataError("The samples came to an end while they were timed.")


def _eaten_images_per_s(train_json: Path) -> float:
    try:
        return float(json.loads(train_json.read_text(encoding="utf-8"))["ours"]["images_per_s"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SettingError(f"{train_json} is not what 'deblur bench train --json {train_json}' writes.") from error
