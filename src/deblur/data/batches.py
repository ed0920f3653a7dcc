"""What a loader hands over: pairs, or sharp sources whose blur is drawn and left to the device that trains."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.utils.data import default_collate

from deblur.data.blurred import Sample, Undegraded
from deblur.data.crops import to_float
from deblur.synthesis.degrade import Degradation

Pairs = tuple[Tensor, Tensor]
"""(blurry, sharp), each ``(B, 3, H, W)``, uint8, or float32 in ``[0, 1]``."""


@dataclass(frozen=True)
class UnblurredBatch:
    """Sharp sources ``(B, 3, S, S)`` uint8 with what is to be done to each, and the pairs among them that are ready."""

    sources: Tensor
    degradations: Sequence[Degradation]
    ready: Pairs | None

    def pin_memory(self) -> "UnblurredBatch":
        """For the loader: memory that a GPU copies from while it computes."""
        ready = self.ready and (self.ready[0].pin_memory(), self.ready[1].pin_memory())
        return replace(self, sources=self.sources.pin_memory(), ready=ready)

    def on(self, device: torch.device) -> Pairs:
        """All pairs, blurred on ``device``."""
        from deblur.synthesis.on_device import degrade_batch

        made = degrade_batch(self.sources.to(device, non_blocking=True), self.degradations)
        if self.ready is None:
            return made
        there = [to_float(part.to(device, non_blocking=True)) for part in self.ready]
        return torch.cat([made[0], there[0]]), torch.cat([made[1], there[1]])


Batch = Pairs | UnblurredBatch


def collate(samples: Sequence[Sample]) -> Batch:
    """Samples of a mixture -> a batch; their order in it means nothing."""
    ready = [sample for sample in samples if not isinstance(sample, Undegraded)]
    unblurred = [sample for sample in samples if isinstance(sample, Undegraded)]
    pairs: Pairs | None = tuple(default_collate(ready)) if ready else None
    if not unblurred:
        assert pairs is not None
        return pairs
    sources = torch.stack([torch.from_numpy(sample.source.transpose(2, 0, 1).copy()) for sample in unblurred])
    return UnblurredBatch(sources, [sample.degradation for sample in unblurred], pairs)
