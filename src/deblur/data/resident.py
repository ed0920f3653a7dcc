"""Decoded photos and pairs in the memory of the device that trains: loaders only draw, and send no pixels.

A sample is the same as a loader's: the same key draws the same decisions in the same order (:class:`Placed`), and they
are carried out on the device. Cuts and turns are equal to the bit, and scaling, by the same filter, to two codes of 255
(0.01 on average).
"""

import gc
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from deblur.data.batches import Batch, Loaded, PlacedBatch, UnblurredBatch, joined, keys_of
from deblur.data.blurred import Shapes, Unblurred
from deblur.data.cache import pixel_bytes
from deblur.data.crops import Key, Placed, Sample, to_tensor, turned
from deblur.data.parallel import in_parallel
from deblur.errors import SettingError
from deblur.image_limits import available_memory
from deblur.synthesis.degrade import degrade
from deblur.synthesis.on_device import scaled, zoomed_there

SHARE = 0.6
"""Of the memory that is free: the rest is the training's."""


class Resident:
    """The images of a training set, uint8 on ``device``; sizes are checked at once, decoding waits until it is needed.

    Raises:
        SettingError: they take more than 60 % of what is free there.
    """

    def __init__(self, samples: Any, device: torch.device) -> None:
        images = list(dict.fromkeys(samples.images))
        needed = sum(future.result() for _, future in in_parallel(pixel_bytes, [image.files[0] for image in images]))
        free = _free_bytes(device)
        if needed > SHARE * free:
            raise SettingError(
                f"data_on_device: {len(images)} images take {needed / 1e9:.2f} GB decoded, and {device} has "
                f"{free / 1e9:.2f} GB free, of which they may take {SHARE:.0%}. Leave data_on_device out and give a "
                "cache, or train on fewer images."
            )
        self.images, self.device = images, device

    @cached_property
    def pixels(self) -> dict[Any, Tensor]:
        """``(H, W, 3)`` of each image, on the device."""
        decoded = in_parallel(lambda image: image.load(), self.images)
        return {image: torch.tensor(future.result()).to(self.device) for image, future in decoded}

    @property
    def shapes(self) -> Shapes:
        """``(H, W, 3)`` of each image, which is all that drawing needs."""
        return {image: tuple(pixels.shape) for image, pixels in self.pixels.items()}

    def filled(self, batch: PlacedBatch) -> Loaded:
        """The batch with its pixels, on the device."""
        rest = self.filled(batch.rest) if isinstance(batch.rest, PlacedBatch) else batch.rest
        if batch.numbers:
            side_px = batch.numbers.shape_px[0] + 2 * batch.numbers.margin_px
            sources = [zoomed_there(self._cut(sample, 0), sample.zoom, side_px) for sample in batch.placed]
            return UnblurredBatch(torch.stack(sources), (), batch.numbers, keys_of(batch.placed), rest)
        blurry, sharp = zip(*map(self._pair, batch.placed), strict=True)
        made = Batch(torch.stack(blurry), torch.stack(sharp), None, keys_of(batch.placed))
        return made if rest is None else joined(made.on(self.device), rest.on(self.device))

    def _pair(self, sample: Placed) -> tuple[Tensor, Tensor]:
        """(blurry, sharp), each ``(3, H, W)``."""
        if sample.degradation:
            blurry, sharp = degrade(self._cut(sample, 0).numpy(), sample.degradation)
            return to_tensor(blurry), to_tensor(sharp)
        return self._cut(sample, 0).permute(2, 0, 1), self._cut(sample, 1).permute(2, 0, 1)

    def _cut(self, sample: Placed, side: int) -> Tensor:
        """``(*shape_px, 3)``, turned."""
        top, left, height, width = sample.place
        pixels = self.pixels[sample.images[side]][top : top + height, left : left + width]
        if (height, width) != sample.shape_px:
            pixels = scaled(pixels, {"size": (height, sample.shape_px[1])}, {"size": sample.shape_px})
        return turned(pixels, sample.turn)


def _free_bytes(device: torch.device) -> float:
    if device.type != "cuda":
        return available_memory()
    gc.collect()
    torch.cuda.empty_cache()  # what an earlier run of this process has left
    return torch.cuda.mem_get_info(device)[0]


class Placing(Dataset[Sample | Unblurred | Placed]):
    """What a loader draws of a training set whose images, of these shapes, lie on the device."""

    def __init__(self, samples: Any, shapes: Shapes) -> None:
        self.samples, self.shapes = samples, shapes

    def __getitem__(self, key: Key) -> Sample | Unblurred | Placed:
        """Sample ``key``; with its pixels where the device has none."""
        sample: Sample | Unblurred | Placed = self.samples.placed(key, self.shapes)
        return sample

    def name_of(self, key: int) -> str:
        """What sample ``key`` is made of."""
        return str(self.samples.name_of(key))
