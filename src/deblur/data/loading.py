"""Processes that load: how they are started, what their errors become, and how they end."""

import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, get_worker_info

from deblur.data.batches import Loaded, PlacedBatch, collate_placed
from deblur.data.blurred import Unblurred
from deblur.data.crops import Placed, RunOrder, Sample
from deblur.data.resident import Placing, Resident
from deblur.errors import DataError, DeblurError

SHARED_MEMORY = ("Bus error", "shared memory", "</torch_")
"""How torch's messages tell that batches found no room on their way."""


@dataclass(frozen=True)
class Feed:
    """What a run's steps are fed with: micro-batches from processes that load, in an order counted through the run.

    Args:
        loader: this process's micro-batches; its data set names samples by ``name_of``.
        order: which samples a step takes.
        accumulate: micro-batches a step.
        resident: the pixels of what the loader only places.
    """

    loader: DataLoader[Any]
    order: RunOrder
    accumulate: int = 1
    resident: Resident | None = None

    def batches(self) -> Iterator[Loaded]:
        """The rest of the epoch's, see :func:`batches_of`."""
        for batch in batches_of(self.loader):
            if isinstance(batch, PlacedBatch):
                assert self.resident
                yield self.resident.filled(batch)
            else:
                yield batch

    def names_of(self, step: int) -> list[str]:
        """What the samples of a step of this epoch are made of, of all processes."""
        return [self.loader.dataset.name_of(key) for key in self.order.keys_of(step)]  # type: ignore[attr-defined]


def feed_of(
    samples: Dataset[Any],
    order: RunOrder,
    *,
    accumulate: int,
    workers: int,
    pin_memory: bool,
    resident: Resident | None = None,
) -> Feed:
    """Load samples in that order.

    Args:
        samples: a mixture.
        order: the keys of its samples.
        accumulate: micro-batches a step.
        workers: processes that load; 0 loads in this one.
        pin_memory: for a GPU.
        resident: holds the pixels: the loader only draws.
    """
    loader = DataLoader[Any](
        Placing(samples, resident.shapes) if resident else samples,
        batch_size=order.batch_size // order.processes // accumulate,
        sampler=order,
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=pin_memory,
        generator=torch.Generator(),  # never torch's own, whose state is the run's; samples are drawn by their keys
        worker_init_fn=ignore_signals,
        collate_fn=_handed_over,
    )
    return Feed(loader, order, accumulate, resident)


def _handed_over(samples: Sequence[Sample | Unblurred | Placed]) -> Loaded | PlacedBatch:
    """A batch, in shared memory where a process loads it: here a lack of it is an error that the trainer hears of.

    Left to torch, a thread of its own would print it and lose the batch, and the trainer would wait for ever.
    """
    batch = collate_placed(samples)
    if get_worker_info() is not None:
        _share(batch)
    return batch


def _share(part: object) -> None:
    if isinstance(part, Tensor):
        part.share_memory_()  # type: ignore[no-untyped-call]
    elif isinstance(part, tuple):
        for each in part:
            _share(each)


def ignore_signals(worker: int) -> None:
    """For processes that load: Ctrl-C reaches the whole group, but only the trainer decides when to end."""
    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, signal.SIG_IGN)


def batches_of(loader: DataLoader[Any]) -> Iterator[Any]:
    """The loader's batches; an error in a worker process comes out as itself, without the worker's traceback.

    Raises:
        DataError: a process was ended from outside, or shared memory is full.
    """
    try:
        yield from loader
    except DeblurError as error:
        if not str(error).startswith("Caught "):
            raise
        raise type(error)(str(error).strip().splitlines()[-1].partition(": ")[2]) from error
    except RuntimeError as error:
        told = str(error)
        if any(sign in told for sign in SHARED_MEMORY):
            raise DataError(
                "The processes that load images have too little shared memory to hand batches over. Give the container "
                "more (docker's option shm-size, such as 2g), or lower num_workers; 0 needs none."
            ) from error
        if "DataLoader worker" not in told:
            raise
        raise DataError(
            "A process that loads images was ended from outside, most often for lack of memory. Lower num_workers."
        ) from error


def end_workers(loader: DataLoader[Any]) -> None:
    """They ignore signals, so that nothing else would end them after an error."""
    iterator = getattr(loader, "_iterator", None)
    if iterator is not None:
        iterator._shutdown_workers()
        for worker in iterator._workers:
            if worker.is_alive():
                worker.kill()
        loader._iterator = None
