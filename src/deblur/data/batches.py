"""What a loader hands over: pairs, or sharp sources whose blur is drawn and left to the device that trains."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import default_collate

from deblur.data.blurred import Sample, Undegraded
from deblur.data.crops import to_float
from deblur.synthesis.on_device import BlurNumbers, degrade_batch, numbers_of

Pairs = tuple[Tensor, Tensor]
"""(blurry, sharp), each ``(B, 3, H, W)``, uint8, or float32 in ``[0, 1]``."""


class UnblurredBatch(NamedTuple):
    """Sharp sources ``(B, S, S, 3)`` uint8 with what is to be done to them, and the pairs among them that are ready.

    A tuple, whose tensors a loader pins by itself.
    """

    sources: Tensor
    numbers: BlurNumbers
    ready: Pairs | None

    def on(self, device: torch.device) -> Pairs:
        """All pairs, blurred on ``device``."""
        sources = self.sources.to(device, non_blocking=device.type == "cuda").permute(0, 3, 1, 2)
        made = degrade_batch(sources, self.numbers)
        if self.ready is None:
            return made
        there = [to_float(part.to(device, non_blocking=True)) for part in self.ready]
        return torch.cat([made[0], there[0]]), torch.cat([made[1], there[1]])


Batch = Pairs | UnblurredBatch


def pairs_on(batch: Batch, device: torch.device) -> Pairs:
    """A batch's pairs as float32 on ``device``, blurred there where that is still to be done."""
    pairs = batch.on(device) if isinstance(batch, UnblurredBatch) else batch
    blurry, sharp = (to_float(part.to(device, non_blocking=True)) for part in pairs)
    return blurry, sharp


def collate(samples: Sequence[Sample]) -> Batch:
    """Samples of a mixture -> a batch; their order in it means nothing."""
    ready = [sample for sample in samples if not isinstance(sample, Undegraded)]
    unblurred = [sample for sample in samples if isinstance(sample, Undegraded)]
    pairs: Pairs | None = tuple(default_collate(ready)) if ready else None
    if not unblurred:
        assert pairs is not None
        return pairs
    sources = torch.from_numpy(np.stack([sample.source for sample in unblurred]))
    return UnblurredBatch(sources, numbers_of([sample.degradation for sample in unblurred]), pairs)
