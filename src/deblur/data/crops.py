"""What all training sets share: the order of a pass, where a crop lies, how it is turned, how it becomes a tensor."""

from collections.abc import Iterator
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Sampler

from deblur.errors import DataError
from deblur.images import from_rgb8

Rgb8 = NDArray[np.uint8]


@lru_cache(maxsize=4)
def pass_order(seed: int, number: int, count: int) -> NDArray[np.int64]:
    """The order in which ``count`` images are dealt in pass ``number`` over them."""
    return np.random.default_rng((seed, number, count)).permutation(count)


def random_corner(rng: np.random.Generator, shape: tuple[int, ...], side_px: int) -> tuple[int, int]:
    """Top and left of a random square crop.

    Raises:
        DataError: the image is smaller than the crop.
    """
    height, width = shape[:2]
    if min(height, width) < side_px:
        raise DataError(f"the image is {width} x {height} px, smaller than the crop of {side_px} px (--patch_size).")
    return int(rng.integers(height - side_px + 1)), int(rng.integers(width - side_px + 1))


def augment(rng: np.random.Generator, *images: Rgb8) -> list[Rgb8]:
    """Flip left-right and up-down with probability 1/2 each and turn by quarters, all images alike."""
    flip_x, flip_y, turns = rng.random() < 0.5, rng.random() < 0.5, int(rng.integers(4))
    turned = []
    for image in images:
        image = image[:, ::-1] if flip_x else image
        image = image[::-1] if flip_y else image
        turned.append(np.rot90(image, turns))
    return turned


def to_tensor(rgb: Rgb8) -> Tensor:
    """``(H, W, 3)`` uint8 -> ``(3, H, W)`` float32 in ``[0, 1]``."""
    return torch.from_numpy(np.ascontiguousarray(from_rgb8(rgb).transpose(2, 0, 1)))


class RunOrder(Sampler[int]):
    """Hands an epoch's sample keys to the loader: ``epoch * epoch_images`` and on, counted through the whole run."""

    def __init__(self, epoch_images: int) -> None:
        self.epoch_images, self.epoch = epoch_images, 0

    def __iter__(self) -> Iterator[int]:
        first = self.epoch * self.epoch_images
        return iter(range(first, first + self.epoch_images))

    def __len__(self) -> int:
        return self.epoch_images
