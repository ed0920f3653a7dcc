"""Processes that load: how they are started, what their errors become, and how they end."""

import signal
from collections.abc import Iterator
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from deblur.data.batches import Batch, collate
from deblur.data.crops import RunOrder
from deblur.errors import DataError, DeblurError


def loader_of(
    samples: Dataset[Any], order: RunOrder, batch_size: int, *, workers: int, pin_memory: bool, seed: int
) -> DataLoader[Batch]:
    """Batches of samples in that order.

    Args:
        samples: a mixture.
        order: the keys of its samples.
        batch_size: samples a batch.
        workers: processes that load; 0 loads in this one.
        pin_memory: for a GPU.
        seed: of torch's generators in the workers.
    """
    return DataLoader[Batch](
        samples,
        batch_size=batch_size,
        sampler=order,
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=pin_memory,
        generator=torch.Generator().manual_seed(seed),  # never torch's own, whose state is the run's
        worker_init_fn=ignore_signals,
        collate_fn=collate,
    )


def ignore_signals(worker: int) -> None:
    """For processes that load: Ctrl-C reaches the whole group, but only the trainer decides when to end."""
    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, signal.SIG_IGN)


def batches_of(loader: DataLoader[Batch]) -> Iterator[Batch]:
    """The loader's batches; an error in a worker process comes out as itself, without the worker's traceback."""
    try:
        yield from loader
    except DeblurError as error:
        if not str(error).startswith("Caught "):
            raise
        raise type(error)(str(error).strip().splitlines()[-1].partition(": ")[2]) from error
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        raise DataError(
            "A process that loads images was ended from outside, most often for lack of memory. Lower --num_workers."
        ) from error


def end_workers(loader: DataLoader[Batch]) -> None:
    """They ignore signals, so that nothing else would end them after an error."""
    iterator = getattr(loader, "_iterator", None)
    if iterator is not None:
        iterator._shutdown_workers()
        for worker in iterator._workers:
            if worker.is_alive():
                worker.kill()
        loader._iterator = None
