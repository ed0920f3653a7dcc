"""``deblur bench data``: crops a second that reach the network, decoding each sample and from the decoded cache.

Every round times each way once, on the same keys, so that what else the machine does falls on all alike; figures are
medians over the rounds. The files were read before: what is measured is decoding, not the disk.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from rich.console import Console
from rich.table import Table
from torch.utils.data import DataLoader, Dataset

from deblur.benchmarks.machine import describe_machine
from deblur.data.batches import collate
from deblur.data.cache import CachedImage, disk_bytes
from deblur.data.crops import Key
from deblur.data.sources import Reading, mixture, open_sources, prepared
from deblur.errors import DataError, SettingError
from deblur.files import write_json

Samples = Dataset[Any]

DECODING, CACHED = "as the files are", "from the cache"
ALONE, LOADED = "in one process", "from loader processes"
STRENGTH = 0.5
"""Of synthetic blur."""
ROUND_KEYS = 1_000_000
"""Rounds are this many samples apart."""
BATCH_SIZE = 4
"""Crops a batch of a loader; small, so that a slow one hands over enough of them."""


def bench(
    sources: Sequence[str],
    patch_px: int,
    workers: int,
    rounds: int,
    seconds: float,
    average: int | None,
    cache: Path | None,
    json_file: Path | None,
    console: Console,
) -> None:
    """Build the cache, measure, print the table, write it where asked for; see ``deblur bench data``.

    Raises:
        SettingError: nothing to measure.
        DataError: a source with nothing usable in it.
        DiskFull: no room for the cache.
    """
    if rounds < 1 or workers < 0 or seconds <= 0 or patch_px < 1:
        raise SettingError("rounds, seconds and patch_size must be above 0, workers 0 or more.")
    opened = open_sources(sources, Reading(average=average))
    with (
        nullcontext(cache) if cache else TemporaryDirectory(prefix="deblur-cache-", ignore_cleanup_errors=True) as kept
    ):
        started = time.perf_counter()
        ready, _ = prepared(opened, Path(str(kept)), 0)
        build_s = time.perf_counter() - started
        ways = {DECODING: mixture(opened, patch_px, seed=0), CACHED: mixture(ready, patch_px, seed=0)}
        if not any(source.files for source in opened):
            del ways[CACHED]  # leaves
        found = measure(ways, workers, rounds, seconds)
        on_disk = {
            DECODING: sum(file.stat().st_size for source in opened for file in source.files) / 1e6,
            CACHED: disk_bytes(i for s in ready for i in s.file_images if isinstance(i, CachedImage)) / 1e6,
        }
    images = sum(source.images for source in opened)
    figures = {
        "machine": describe_machine(),
        "sources": [str(source.name) for source in opened],
        "images": images,
        "patch_px": patch_px,
        "workers": workers,
        "rounds": rounds,
        "crops_per_s": found,
        "mb": on_disk,
        "build_s": build_s,
    }
    table = Table("crops/s", "one process", f"{workers} loader processes", "MB on disk")
    for way, rates in found.items():
        loaded = f"{rates[LOADED]:.0f}" if LOADED in rates else ""
        table.add_row(way, f"{rates[ALONE]:.0f}", loaded, f"{on_disk[way]:.0f}")
    console.print(f"{' '.join(sources)}: {images} images, crops of {patch_px} px", soft_wrap=True, markup=False)
    console.print(table)
    if CACHED in found:
        speedup = figures["speedup"] = found[CACHED][ALONE] / found[DECODING][ALONE]
        console.print(f"the cache is {speedup:.0f} times as fast; built in {build_s:.1f} s")
    console.print(f"medians of {rounds}; {figures['machine']}", soft_wrap=True, markup=False)
    if json_file:
        write_json(json_file, figures)


def measure(ways: Mapping[str, Samples], workers: int, rounds: int, seconds: float) -> dict[str, dict[str, float]]:
    """Crops a second of every data set, in this process and through a loader, in turns: medians.

    Args:
        ways: name -> data set that gives a sample for any key from 0.
        workers: loader processes; 0 leaves the loader out.
        rounds: timings of each.
        seconds: what a timing takes.
    """
    rates: dict[str, dict[str, list[float]]] = {name: {ALONE: [], LOADED: []} for name in ways}
    for samples in ways.values():
        samples[Key(0, STRENGTH)]  # what happens once does not count
    for round_number in range(rounds):
        for name, samples in ways.items():
            keys = range(round_number * ROUND_KEYS, (round_number + 1) * ROUND_KEYS)
            rates[name][ALONE].append(_per_second((samples[Key(key, STRENGTH)] for key in keys), seconds))
            if workers:
                batches = _batches(samples, keys, workers)
                rates[name][LOADED].append(BATCH_SIZE * _per_second(batches, seconds))
    return {name: {how: median(each) for how, each in by.items() if each} for name, by in rates.items()}


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
