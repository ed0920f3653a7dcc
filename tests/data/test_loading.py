"""Processes that load: what becomes of their errors."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor
from torch.utils.data import Dataset

from deblur.data.crops import RunOrder, Sample
from deblur.data.loading import batches_of, end_workers, feed_of
from deblur.errors import DataError


class Failing:
    """Stands for a loader whose processes fail."""

    def __init__(self, message: str) -> None:
        self.message = message

    def __iter__(self) -> Iterator[object]:
        raise RuntimeError(self.message)


@pytest.mark.parametrize(
    "message",
    [
        "DataLoader worker (pid 7) is killed by signal: Bus error. It is possible that dataloader's workers are out of "
        "shared memory. Please try to raise your shared memory limit.",
        "Caught RuntimeError in DataLoader worker process 0.\nunable to write to file </torch_7_2_0>: No space left on "
        "device (28)",
        "unable to allocate shared memory(shm) for file </torch_7_2_0>: Success (0)",
    ],
)
def test_full_shared_memory_is_told_as_itself(message: str) -> None:
    with pytest.raises(DataError, match=r"too little shared memory .*shm-size.* lower num_workers"):
        list(batches_of(Failing(message)))  # type: ignore[arg-type]


def test_a_process_that_was_killed_is_told_without_guessing_at_shared_memory() -> None:
    with pytest.raises(DataError, match=r"ended from outside, most often for lack of memory") as told:
        list(batches_of(Failing("DataLoader worker (pid 7) is killed by signal: Killed.")))  # type: ignore[arg-type]
    assert "shared" not in str(told.value)


def test_other_errors_are_left_alone() -> None:
    with pytest.raises(RuntimeError, match="size mismatch"):
        list(batches_of(Failing("size mismatch")))  # type: ignore[arg-type]


class Crops(Dataset[Sample]):
    """Crops of one colour."""

    def __getitem__(self, key: int) -> Sample:
        return Sample(torch.zeros(3, 8, 8, dtype=torch.uint8), torch.zeros(3, 8, 8, dtype=torch.uint8), int(key))


def no_room(tensor: Tensor) -> Tensor:
    """What torch says in a container with too little of it."""
    raise RuntimeError("unable to allocate shared memory(shm) for file </torch_7_2_0>: No space left on device (28)")


def test_a_loading_process_without_shared_memory_is_heard_of(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would print a traceback and hand nothing over."""
    monkeypatch.setattr(Tensor, "share_memory_", no_room)
    feeds = [feed_of(Crops(), RunOrder(4, 2), accumulate=1, workers=n, pin_memory=False) for n in (0, 1)]
    assert len(list(batches_of(feeds[0].loader))) == 2, "nothing is handed over within one process"
    try:
        with pytest.raises(DataError, match="too little shared memory"):
            list(batches_of(feeds[1].loader))
    finally:
        end_workers(feeds[1].loader)
