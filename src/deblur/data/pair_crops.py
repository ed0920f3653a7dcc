"""Random crops of pairs, for training."""

from collections.abc import Sequence

import numpy as np
from torch.utils.data import Dataset

from deblur.data.crops import Sample, augment, pass_order, random_corner, side_of, to_tensor
from deblur.data.pairs import Pair, TaughtPair, check_holds_crop


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
        rng = np.random.default_rng((self.seed, key))
        side_px = side_of(key, self.patch_px)
        check_holds_crop(pair.name, sharp.shape, side_px)
        top, left = random_corner(rng, sharp.shape, side_px)
        window = np.s_[top : top + side_px, left : left + side_px]
        answer = [pair.answer.load()] if isinstance(pair, TaughtPair) else []
        crops = augment(rng, *(image[window] for image in (blurry, sharp, *answer)))
        blurry_crop, sharp_crop, *taught = map(to_tensor, crops)
        return Sample(blurry_crop, sharp_crop, int(key), taught=taught[0] if taught else None)

    def name_of(self, key: int) -> str:
        """The pair that sample ``key`` is cut from."""
        return self._pair(key).name

    def _pair(self, key: int) -> Pair:
        n = len(self.pairs)
        return self.pairs[pass_order(self.seed, key // n, n)[key % n]]
