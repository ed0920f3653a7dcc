"""Several processes train one network: ``torchrun`` starts them, each takes its part of every step, one of them writes.

Gradients are averaged by torch's DistributedDataParallel. What else the processes must agree on goes through here; for
a single process every call is free.
"""

import os
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed.nn  # here, before there is a group: its defaults would hold it until Python has ended
from torch import Tensor, distributed, nn

PATIENCE = timedelta(hours=24)  # the others wait while one validates; torchrun ends them all when one fails


@dataclass(frozen=True)
class Processes:
    """This process among all that train together."""

    rank: int = 0
    count: int = 1
    device: torch.device = torch.device("cpu")

    @property
    def is_main(self) -> bool:
        """Whether this is the process that validates, logs and saves."""
        return self.rank == 0

    def mean(self, values: Tensor) -> Tensor:
        """The mean over processes; a value that is not a number anywhere is not a number everywhere."""
        if self.count > 1:
            distributed.all_reduce(values)
            values /= self.count
        return values

    def any(self, *flags: bool) -> list[bool]:
        """For each flag, whether it is up in any process."""
        if self.count == 1:
            return list(flags)
        ups = torch.tensor([float(flag) for flag in flags], device=self.device)
        distributed.all_reduce(ups)
        return [up > 0 for up in ups.tolist()]

    def told(self, data: bytes) -> bytes:
        """The main process's ``data``, in every process."""
        if self.count == 1:
            return data
        size = torch.tensor([len(data)], device=self.device)
        distributed.broadcast(size, 0)
        if not int(size):
            return b""
        payload = torch.empty(int(size), dtype=torch.uint8, device=self.device)
        if self.is_main:
            payload.copy_(torch.frombuffer(bytearray(data), dtype=torch.uint8))
        distributed.broadcast(payload, 0)
        return payload.cpu().numpy().tobytes()

    def averaging(self, module: nn.Module, changing: bool = False) -> nn.Module:
        """The same module, its gradients averaged over processes; ``changing``: not all parameters have one always."""
        return (
            module if self.count == 1 else nn.parallel.DistributedDataParallel(module, find_unused_parameters=changing)
        )


def is_first() -> bool:
    """Whether this process is the only one, or the first of those that ``torchrun`` started; before they join, too."""
    return os.environ.get("RANK", "0") == "0"


@contextmanager
def joined(device: torch.device) -> Iterator[Processes]:
    """This process's place among those that ``torchrun`` started; alone where it did not."""
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        yield Processes(device=device)
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=PATIENCE)
    try:
        yield Processes(distributed.get_rank(), count, device)
    except BaseException as error:
        traceback.clear_frames(error.__traceback__)  # they hold the network, and it the group
        raise
    finally:  # its threads end with its last holder; one that asks for Python's lock while Python ends would abort it
        distributed.destroy_process_group()
