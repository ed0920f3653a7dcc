"""What all training sets share: the order of a pass, where a crop lies, how it is turned, how it becomes a tensor."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Sampler

from deblur.errors import SettingError
from deblur.images import Rgb8
from deblur.synthesis.degrade import Degradation

T = TypeVar("T")


class Key(int):
    """Which sample, counted through the run, how strongly its blur is drawn (0 to 1) where that is synthetic, and the
    side of its crop, px; None: as the training set has it."""

    strength: float
    side_px: int | None

    def __new__(cls, key: int, strength: float = 1.0, side_px: int | None = None) -> "Key":
        self = super().__new__(cls, key)
        self.strength, self.side_px = strength, side_px
        return self


def side_of(key: int, usual_px: int) -> int:
    """The side of sample ``key``'s crop, px; plain numbers have the usual one."""
    return getattr(key, "side_px", None) or usual_px


@dataclass(frozen=True)
class CropSizes:
    """Sides of crops that grow over a run.

    Args:
        parts: (share of the run's steps, side in px): up to that share crops have that side. The last share is 1.
    """

    parts: tuple[tuple[float, int], ...]

    @classmethod
    def parse(cls, given: int | Sequence[str]) -> "CropSizes":
        """A side, or ``["128@0.5", "192@0.8", "256"]``.

        Raises:
            SettingError: shares or sides that do not grow.
        """
        texts = [str(given)] if isinstance(given, int) else given
        try:
            split = [text.partition("@") for text in texts]
            parts = tuple((float(share) if at else 1.0, int(side)) for side, at, share in split)
        except ValueError:
            parts = ()
        shares, sides = ([part[i] for part in ((0.0, 0), *parts)] for i in (0, 1))
        if not parts or shares[-1] != 1.0 or any(sorted(set(values)) != values for values in (shares, sides)):
            raise SettingError(
                f"patch_size is {' '.join(texts)}. Write one side, or sides that grow, each up to a share of the run, "
                "the last one alone: 128@0.5 192@0.8 256."
            )
        return cls(parts)

    @property
    def last_px(self) -> int:
        """The largest."""
        return self.parts[-1][1]

    def at(self, share: float) -> int:
        """The side of crops when that share of the run's steps is done, px."""
        return next(side for until, side in self.parts if share < until)


class Sample(NamedTuple):
    """One training sample: a blurry crop and its sharp one, each ``(3, H, W)`` uint8.

    Args:
        blurry: what the network is given.
        sharp: what it should make of it.
        key: which sample, counted through the run.
        taught: what a teacher made of ``blurry``, where there is one.
    """

    blurry: Tensor
    sharp: Tensor
    key: int
    taught: Tensor | None = None


def dealt(images: Sequence[T], seed: int, key: int) -> T:
    """The image of sample ``key``: they are dealt in a fresh order each pass over them."""
    number, at = divmod(key, len(images))
    return images[_pass_order(seed, number, len(images))[at]]


@lru_cache(maxsize=16)
def _pass_order(seed: int, number: int, count: int) -> NDArray[np.int64]:
    return np.random.default_rng((seed, number, count)).permutation(count)


class Turn(NamedTuple):
    """How a crop is turned: mirrored left-right, up-down, then by quarters."""

    flip_x: bool
    flip_y: bool
    quarters: int

    @classmethod
    def drawn(cls, rng: np.random.Generator) -> "Turn":
        """Flips with probability 1/2 each, and any quarter."""
        return cls(rng.random() < 0.5, rng.random() < 0.5, int(rng.integers(4)))


class Place(NamedTuple):
    """A rectangle of an image, px."""

    top: int
    left: int
    height: int
    width: int

    @classmethod
    def drawn(cls, rng: np.random.Generator, shape: tuple[int, ...], shape_px: tuple[int, int]) -> "Place":
        """A random rectangle of ``shape_px`` in an image of ``shape``; in one too small for it, as large as fits."""
        scale = min(1.0, shape[0] / shape_px[0], shape[1] / shape_px[1])
        height, width = (max(1, int(side * scale)) for side in shape_px)
        return cls(int(rng.integers(shape[0] - height + 1)), int(rng.integers(shape[1] - width + 1)), height, width)


@dataclass(frozen=True)
class Placed:
    """A sample whose pixels lie on the device already (``resident``): where it is cut, and what is done to it.

    Args:
        images: (sharp,), or (blurry, sharp).
        place: of the cut.
        shape_px: (height, width) that the cut is enlarged to where the image is too small.
        turn: of the cut.
        zoom: of the turned cut.
        degradation: of a sharp image; None in a pair.
        key: which sample.
        batched: whether a batch is blurred at once, or each image alone, as loaders blur it.
    """

    images: tuple[Any, ...]
    place: Place
    shape_px: tuple[int, int]
    turn: Turn
    zoom: float
    degradation: Degradation | None
    key: int
    batched: bool = False


def augment(rng: np.random.Generator, *images: Rgb8) -> list[Rgb8]:
    """Flip left-right and up-down with probability 1/2 each and turn by quarters, all images alike."""
    turn = Turn.drawn(rng)
    turned = []
    for image in images:
        image = image[:, ::-1] if turn.flip_x else image
        image = image[::-1] if turn.flip_y else image
        turned.append(np.rot90(image, turn.quarters))
    return turned


def turned(pixels: Tensor, turn: Turn) -> Tensor:
    """``(H, W, 3)`` on any device, as :func:`augment` turns it."""
    mirrored = pixels.flip([axis for axis, flip in ((1, turn.flip_x), (0, turn.flip_y)) if flip])
    return torch.rot90(mirrored, turn.quarters)


def to_tensor(rgb: Rgb8) -> Tensor:
    """``(H, W, 3)`` uint8 -> ``(3, H, W)`` uint8: bytes travel from loaders to devices four times as fast as floats."""
    return torch.from_numpy(np.ascontiguousarray(rgb.transpose(2, 0, 1)))


def to_float(images: Tensor) -> Tensor:
    """uint8 -> float32 in ``[0, 1]``; floats stay as they are."""
    return images.float() / 255 if images.dtype == torch.uint8 else images


class RunOrder(Sampler[Key]):
    """Hands the loader the sample keys of an epoch, counted through the whole run, from the step it was left at.

    A step takes ``batch_size`` consecutive keys; of several processes each takes its own equal part of them.

    Args:
        epoch_images: crops an epoch; what does not fill a step is left to no epoch.
        batch_size: crops a step, of all processes together.
        rank: this process.
        processes: how many there are.
        side_at: gives the side of a step's crops, px, by the steps of the run before it.
    """

    def __init__(
        self,
        epoch_images: int,
        batch_size: int,
        rank: int = 0,
        processes: int = 1,
        side_at: Callable[[int], int | None] = lambda step: None,
    ) -> None:
        self.side_at = side_at
        self.epoch_images, self.batch_size, self.rank, self.processes = epoch_images, batch_size, rank, processes
        self.epoch, self.first_step, self.offset, self.strength = 0, 0, 0, 1.0

    @property
    def steps(self) -> int:
        """Steps of a whole epoch."""
        return self.epoch_images // self.batch_size

    def start(self, epoch: int, first_step: int = 0, offset: int = 0, strength: float = 1.0) -> None:
        """Where the next pass begins, and how strong its synthetic blur is.

        Args:
            epoch: from 0.
            first_step: of the epoch, from 0.
            offset: shifts to other samples.
            strength: 0 to 1.
        """
        self.epoch, self.first_step, self.offset, self.strength = epoch, first_step, offset, strength

    def keys_of(self, step: int) -> range:
        """All processes' keys of a step of this epoch."""
        first = self.offset + self.epoch * self.epoch_images + step * self.batch_size
        return range(first, first + self.batch_size)

    def __iter__(self) -> Iterator[Key]:
        share = self.batch_size // self.processes
        own = slice(self.rank * share, (self.rank + 1) * share)
        steps = range(self.first_step, self.steps)
        for step in steps:
            side_px = self.side_at(self.epoch * self.steps + step)
            yield from (Key(key, self.strength, side_px) for key in self.keys_of(step)[own])

    def __len__(self) -> int:
        return (self.steps - self.first_step) * (self.batch_size // self.processes)
