"""What a loader hands over: a batch of samples, or of sharp sources whose blur is left to the device that trains."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from deblur.data.blurred import Unblurred
from deblur.data.crops import Key, Placed, Sample, Turn, to_float, turned
from deblur.images import Rgb8
from deblur.synthesis.leaf_pictures import pictures
from deblur.synthesis.leaves import Leaves
from deblur.synthesis.on_device import BlurNumbers, degrade_batch, numbers_of, zoomed_there


class Batch(NamedTuple):
    """Samples side by side. A tuple, whose tensors a loader pins by itself.

    Args:
        blurry: ``(B, 3, H, W)`` uint8, or float32 in ``[0, 1]``.
        sharp: the same.
        taught: the same, what a teacher made of ``blurry``; None without a teacher.
        keys: ``(B,)`` int64, which samples they are; None where nobody asks.
        features: of student and teacher, ``(B, C, h, w)`` each, float; None unless a term asks for them.
    """

    blurry: Tensor
    sharp: Tensor
    taught: Tensor | None = None
    keys: Tensor | None = None
    features: tuple[Tensor, Tensor] | None = None

    def on(self, device: torch.device) -> "Batch":
        """The same on ``device``, pixels as float32 in ``[0, 1]``."""

        def pixels(part: Tensor) -> Tensor:
            return to_float(part.to(device, non_blocking=True))

        taught = None if self.taught is None else pixels(self.taught)
        keys = None if self.keys is None else self.keys.to(device)
        return Batch(pixels(self.blurry), pixels(self.sharp), taught, keys)


class UnblurredBatch(NamedTuple):
    """Sharp sources with what is to be done to them, and the samples of other kinds.

    Args:
        sources: ``(n, S, S, 3)`` uint8, or None.
        leaves: how they fell, turn and zoom of each sample of dead leaves.
        numbers: of the samples of ``sources``, then of ``leaves``.
        keys: the same.
        ready: samples that are not blurred here.
    """

    sources: Tensor | None
    leaves: Sequence[tuple[Leaves, Turn, float]]
    numbers: BlurNumbers
    keys: Tensor
    ready: "Loaded | None"

    def on(self, device: torch.device) -> Batch:
        """All samples, drawn and blurred on ``device``; those that were ready come last."""
        sources = [] if self.sources is None else [self.sources.to(device, non_blocking=device.type == "cuda")]
        if self.leaves:
            sources.append(torch.stack(self._drawn_on(device)))
        blurred = degrade_batch(torch.cat(sources).permute(0, 3, 1, 2), self.numbers)
        made = Batch(*blurred, None, self.keys.to(device))
        return made if self.ready is None else joined(made, self.ready.on(device))

    def _drawn_on(self, device: torch.device) -> list[Tensor]:
        side_px = self.numbers.shape_px[0] + 2 * self.numbers.margin_px
        images = pictures([leaves for leaves, _, _ in self.leaves], device)
        ways = [(turn, zoom) for _, turn, zoom in self.leaves]
        return [
            zoomed_there(turned(image, turn), zoom, side_px) for image, (turn, zoom) in zip(images, ways, strict=True)
        ]


Loaded = Batch | UnblurredBatch


class PlacedBatch(NamedTuple):
    """Samples whose pixels lie on the device, and all others; ``numbers``: of photos that it blurs together."""

    placed: tuple[Placed, ...]
    numbers: BlurNumbers | None
    rest: "Loaded | PlacedBatch | None"


def joined(one: Batch, other: Batch) -> Batch:
    """Both, on one device."""
    assert other.taught is None, "what the device makes has no teacher's answer"

    def both(name: str) -> Tensor:
        return torch.cat([getattr(one, name), getattr(other, name)])

    return Batch(both("blurry"), both("sharp"), keys=both("keys"))


def collate(samples: Sequence[Sample | Unblurred]) -> Loaded:
    """Samples of a mixture -> a batch; their order in it means nothing."""
    ready = [sample for sample in samples if isinstance(sample, Sample)]
    unblurred = [sample for sample in samples if isinstance(sample, Unblurred)]
    batch = _stacked(ready) if ready else None
    if not unblurred:
        assert batch is not None
        return batch
    pixels, leaves = list[Rgb8](), list[tuple[Leaves, Turn, float]]()
    unblurred.sort(key=lambda sample: isinstance(sample.source, Leaves))
    for sample in unblurred:
        if isinstance(sample.source, Leaves):
            leaves.append((sample.source, sample.turn, sample.degradation.zoom))
        else:
            pixels.append(sample.source)
    sources = torch.from_numpy(np.stack(pixels)) if pixels else None
    numbers = numbers_of([sample.degradation for sample in unblurred])
    return UnblurredBatch(sources, leaves, numbers, keys_of(unblurred), batch)


def collate_placed(samples: Sequence[Sample | Unblurred | Placed]) -> Loaded | PlacedBatch:
    """The same, of samples some of which the device holds the pixels of."""
    rest = [sample for sample in samples if not isinstance(sample, Placed)]
    batch: Loaded | PlacedBatch | None = collate(rest) if rest else None
    placed = [sample for sample in samples if isinstance(sample, Placed)]
    if alone := tuple(sample for sample in placed if not sample.batched):
        batch = PlacedBatch(alone, None, batch)
    if photos := [sample for sample in placed if sample.batched]:
        numbers = numbers_of([sample.degradation for sample in photos if sample.degradation])
        batch = PlacedBatch(tuple(replace(sample, degradation=None) for sample in photos), numbers, batch)
    assert batch is not None
    return batch


def first_crops(
    samples: Dataset[Any], count: int, strength: float, check: Callable[[], None] = lambda: None
) -> Iterator[Tensor]:
    """The blurry sides of a training set's first samples: batches of eight ``(8, 3, H, W)`` in ``[0, 1]``, on the CPU.

    Args:
        samples: a training set.
        count: how many, a multiple of eight.
        strength: of their synthetic blur, 0 to 1.
        check: called before each batch; an exception it raises stops the work.
    """
    for first in range(0, count, 8):
        check()
        batch = collate([samples[Key(first + i, strength)] for i in range(8)])
        yield batch.on(torch.device("cpu")).blurry


def _stacked(samples: Sequence[Sample]) -> Batch:
    blurry, sharp = (torch.stack([getattr(sample, side) for sample in samples]) for side in ("blurry", "sharp"))
    taught = [sample.taught for sample in samples if sample.taught is not None]
    assert len(taught) in (0, len(samples)), "all samples of a batch have a teacher's answer, or none has"
    return Batch(blurry, sharp, torch.stack(taught) if taught else None, keys_of(samples))


def keys_of(samples: Sequence[Sample | Unblurred | Placed]) -> Tensor:
    """``(B,)`` int64."""
    return torch.tensor([sample.key for sample in samples])
