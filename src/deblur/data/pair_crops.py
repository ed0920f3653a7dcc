"""Random crops of pairs, for training."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch.utils.data import Dataset

from deblur.data.crops import Key, Place, Placed, Sample, Turn, augment, pass_order, random_corner, to_tensor
from deblur.data.pairs import FileImage, FilePair, Pair, check_holds_crop


class PairCrops(Dataset[Sample]):
    """Random crops of pairs: the same crop, flips and quarter turns for both images of a pair.

    Sample ``key`` is a function of (seed, key) alone. Pairs are dealt in a fresh order each pass over them.
    """

    def __init__(self, pairs: Sequence[Pair], patch_px: int, seed: int) -> None:
        self.pairs, self.patch_px, self.seed = pairs, patch_px, seed

    def __getitem__(self, key: int) -> Sample:
        """Sample ``key``, ``patch`` px a side.

        Raises:
            DataError: the pair is smaller than that, or cannot be read.
            PhotoError: it is broken.
        """
        pair = self._pair(key)
        blurry, sharp = pair.load()
        rng = np.random.default_rng((self.seed, key))
        check_holds_crop(pair.name, sharp.shape, self.patch_px)
        top, left = random_corner(rng, sharp.shape, self.patch_px)
        window = np.s_[top : top + self.patch_px, left : left + self.patch_px]
        blurry, sharp = augment(rng, blurry[window], sharp[window])
        return Sample(to_tensor(blurry), to_tensor(sharp), int(key))

    def placed(self, key: Key, shapes: Mapping[Any, tuple[int, ...]]) -> Placed:
        """The same sample for a device that holds the images, of these shapes."""
        pair, rng, side = self._pair(key), np.random.default_rng((self.seed, key)), self.patch_px
        assert isinstance(pair, FilePair)
        shape = shapes[pair.images[1]]
        check_holds_crop(pair.name, shape, side)
        place = Place(*random_corner(rng, shape, side), side, side)
        return Placed(pair.images, place, (side, side), Turn.drawn(rng), 1.0, None, int(key))

    @property
    def images(self) -> list[FileImage]:
        """What a device can hold."""
        return [image for pair in self.pairs if isinstance(pair, FilePair) for image in pair.images]

    def name_of(self, key: int) -> str:
        """The pair that sample ``key`` is cut from."""
        return self._pair(key).name

    def _pair(self, key: int) -> Pair:
        n = len(self.pairs)
        return self.pairs[pass_order(self.seed, key // n, n)[key % n]]
