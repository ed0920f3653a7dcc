"""Random crops of pairs, for training."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch.utils.data import Dataset

from deblur.data.crops import Key, Place, Placed, Sample, Turn, augment, dealt, side_of, to_tensor
from deblur.data.pairs import FileImage, FilePair, Pair, TaughtPair, check_holds_crop


class PairCrops(Dataset[Sample]):
    """Random crops of pairs: the same crop, flips and quarter turns for both images of a pair, and a teacher's answer.

    Sample ``key`` is a function of (seed, key) alone. Pairs are dealt in a fresh order each pass over them.
    """

    def __init__(self, pairs: Sequence[Pair], patch_px: int, seed: int) -> None:
        self.pairs, self.patch_px, self.seed = pairs, patch_px, seed

    def __getitem__(self, key: int) -> Sample:
        """Sample ``key``, as large as its key says, or ``patch`` px a side.

        Raises:
            DataError: the pair is smaller than that, or cannot be read.
            PhotoError: it is broken.
        """
        pair = self._pair(key)
        blurry, sharp = pair.load()
        rng, (top, left, height, width) = self._drawn(key, sharp.shape)
        window = np.s_[top : top + height, left : left + width]
        answer = [pair.answer.load()] if isinstance(pair, TaughtPair) else []
        crops = augment(rng, *(image[window] for image in (blurry, sharp, *answer)))
        blurry_crop, sharp_crop, *taught = map(to_tensor, crops)
        return Sample(blurry_crop, sharp_crop, int(key), taught=taught[0] if taught else None)

    def placed(self, key: Key, shapes: Mapping[Any, tuple[int, ...]]) -> Placed:
        """The same sample for a device that holds the images, of these shapes."""
        pair = self._pair(key)
        assert isinstance(pair, FilePair)
        rng, place = self._drawn(key, shapes[pair.images[1]])
        return Placed(pair.images, place, place[2:], Turn.drawn(rng), 1.0, None, int(key))

    def _drawn(self, key: int, shape: tuple[int, ...]) -> tuple[np.random.Generator, Place]:
        """What draws the sample, and where it lies in an image of that shape."""
        rng, side_px = np.random.default_rng((self.seed, key)), side_of(key, self.patch_px)
        check_holds_crop(self.name_of(key), shape, side_px)
        return rng, Place.drawn(rng, shape, (side_px, side_px))

    @property
    def images(self) -> list[FileImage]:
        """What a device can hold."""
        return [image for pair in self.pairs if isinstance(pair, FilePair) for image in pair.images]

    def name_of(self, key: int) -> str:
        """The pair that sample ``key`` is cut from."""
        return self._pair(key).name

    def _pair(self, key: int) -> Pair:
        return dealt(self.pairs, self.seed, key)
