"""Crops of sharp images, blurred by synthesis: photos on disk or in memory, or dead leaves without end.

Sample ``key`` is a function of (seed, key, strength). All random decisions are drawn first, as values
(``synthesis.degrade.Degradation``); they are carried out here, or, batched, on the device that trains.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from PIL import Image
from torch.utils.data import Dataset

from deblur.data.crops import Key, Place, Placed, Sample, Turn, augment, dealt, side_of, to_tensor
from deblur.data.pairs import PairPixels
from deblur.images import Rgb8
from deblur.synthesis.degrade import Degradation, degrade, zoomed
from deblur.synthesis.draw import BlurRanges, draw
from deblur.synthesis.leaf_pictures import dead_leaves
from deblur.synthesis.leaves import Leaves as FallenLeaves
from deblur.synthesis.leaves import fall

VALIDATION = 2
"""Part of the random numbers' key, so that no training crop has a validation crop's."""
VISIBLE_MSE, ATTEMPTS = 6.5, 20
"""40 dB."""
Shape = tuple[int, int]
Shapes = Mapping[Any, tuple[int, ...]]
"""Of images."""


class Sharp(Protocol):
    """A named sharp photo; ``load`` gives ``(H, W, 3)`` uint8, perhaps a read-only memory map."""

    @property
    def name(self) -> str: ...

    def load(self) -> Rgb8: ...


class Photos:
    """Photos, dealt in a fresh order each pass over them."""

    def __init__(self, photos: Sequence[Sharp], seed: int) -> None:
        self.photos, self.seed = photos, seed

    def cut(self, rng: np.random.Generator, key: int, shape_px: Shape) -> Rgb8:
        """A random rectangle; where the photo is too small for it, one as large as fits, enlarged."""
        pixels = self.photo(key).load()
        top, left, height, width = Place.drawn(rng, pixels.shape, shape_px)
        rectangle = np.asarray(pixels[top : top + height, left : left + width])
        if (height, width) == shape_px:
            return rectangle
        return np.asarray(Image.fromarray(rectangle).resize(shape_px[::-1], Image.Resampling.BICUBIC))

    def name_of(self, key: int) -> str:
        """The photo's name."""
        return self.photo(key).name

    def photo(self, key: int) -> Sharp:
        """The photo that sample ``key`` is cut from."""
        return dealt(self.photos, self.seed, key)


class Leaves:
    """Dead leaves, another image for every key."""

    def cut(self, rng: np.random.Generator, key: int, shape_px: Shape) -> Rgb8:
        """A fresh image."""
        return dead_leaves(rng, *shape_px)

    def name_of(self, key: int) -> str:
        """They have numbers only."""
        return f"leaves {key}"


Cuttings = Photos | Leaves
"""Where sharp rectangles come from."""


@dataclass(frozen=True)
class Unblurred:
    """A sample that the device will blur: a sharp rectangle with its margins, and what is to be done to it.

    Args:
        source: pixels, turned and zoomed; or leaves, which the device draws, turns and zooms.
        degradation: what is done to it.
        key: which sample.
        turn: of leaves.
    """

    source: Rgb8 | FallenLeaves
    degradation: Degradation
    key: int
    turn: Turn = Turn(False, False, 0)


class BlurredCrops(Dataset[Sample | Unblurred]):
    """Crops with synthetic blur.

    Args:
        cuttings: where sharp pixels come from.
        patch_px: side of a crop.
        seed: with a key, decides everything.
        ranges: what is done to sharp pixels.
        on_device: leave the blur to the device.
    """

    def __init__(
        self, cuttings: Cuttings, patch_px: int, seed: int, ranges: BlurRanges = BlurRanges(), on_device: bool = False
    ) -> None:
        self.cuttings, self.patch_px, self.seed = cuttings, patch_px, seed
        self.ranges, self.on_device = ranges, on_device

    def __getitem__(self, key: Key) -> Sample | Unblurred:
        """Sample ``key``, as large as its key says, or ``patch`` px a side; or what the device will make it of."""
        if self.on_device and isinstance(self.cuttings, Leaves):
            rng, degradation = self._begun(key)
            leaves = fall(rng, *degradation.source_shape)
            return Unblurred(leaves, degradation, int(key), Turn.drawn(rng))
        if self.on_device:
            source, degradation = self._drawn(key)
            return Unblurred(zoomed(source, degradation), degradation, int(key))
        blurry, sharp = self.pair(key)
        return Sample(to_tensor(blurry), to_tensor(sharp), int(key))

    def placed(self, key: Key, shapes: Shapes) -> Sample | Unblurred | Placed:
        """The same sample for a device that holds the photos, of these shapes; of leaves as it is."""
        if not isinstance(self.cuttings, Photos):
            return self[key]
        (rng, d), photo = self._begun(key), self.cuttings.photo(key)
        place = Place.drawn(rng, shapes[photo], d.source_shape)
        return Placed((photo,), place, d.source_shape, Turn.drawn(rng), d.zoom, d, int(key), self.on_device)

    @property
    def images(self) -> Sequence[Sharp]:
        """What a device can hold."""
        return self.cuttings.photos if isinstance(self.cuttings, Photos) else ()

    def pair(self, key: Key) -> tuple[Rgb8, Rgb8]:
        """(blurry, sharp), each ``(side, side, 3)`` uint8."""
        return degrade(*self._drawn(key))

    def _begun(self, key: Key) -> tuple[np.random.Generator, Degradation]:
        """What draws the sample, and what it drew first."""
        rng, side_px = np.random.default_rng((self.seed, key)), side_of(key, self.patch_px)
        return rng, draw(rng, (side_px, side_px), key.strength, self.ranges)

    def _drawn(self, key: Key) -> tuple[Rgb8, Degradation]:
        rng, degradation = self._begun(key)
        (source,) = augment(rng, self.cuttings.cut(rng, key, degradation.source_shape))
        return source, degradation

    def name_of(self, key: int) -> str:
        """What sample ``key`` is made of."""
        return self.cuttings.name_of(key)


def fixed_pairs(
    cuttings: Cuttings, count: int, side_px: int, strength: float, ranges: BlurRanges, seed: int
) -> Iterator[PairPixels]:
    """A validation set that never changes: ``count`` pairs of ``side_px`` a side, the n-th a function of (seed, n).

    What blur hardly changes (a clear sky, a faint shake) says nothing about deblurring: it is drawn again.
    """
    for number in range(count):
        rng = np.random.default_rng((seed, number, VALIDATION))
        for _ in range(ATTEMPTS):
            degradation = draw(rng, (side_px, side_px), strength, ranges)
            blurry, sharp = degrade(cuttings.cut(rng, number, degradation.source_shape), degradation)
            if np.square(blurry.astype(float) - sharp).mean() > VISIBLE_MSE:
                break
        yield PairPixels(f"{number:04d} {cuttings.name_of(number)}", blurry, sharp)
