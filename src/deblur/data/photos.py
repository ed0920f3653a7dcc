"""Sharp photos as training data: crops of them, half of them replaced by dead leaves, blurred by synthetic shake.

Every second crop, of leaves too, is enlarged first: a network that never saw soft content "sharpens" what is soft in
the scene and does harm.
"""

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from deblur.data.crops import augment, pass_order, random_corner, to_tensor
from deblur.data.pairs import PairPixels, evenly_chosen
from deblur.errors import DataError
from deblur.images import SUFFIXES, from_rgb8, read_rgb8, to_rgb8
from deblur.synthesis.degrade import blur, enlarge, shrink
from deblur.synthesis.kernels import shake_kernel
from deblur.synthesis.leaves import dead_leaves

Rgb8 = NDArray[np.uint8]

HELD_BACK = ("astronaut", "coins", "coffee", "rocket", "camera", "china", "flower", "grace_hopper")
INSTALLED = {
    "skimage": {
        "data": (
            "astronaut.png coffee.png rocket.jpg camera.png coins.png chelsea.png motorcycle_left.png "
            "motorcycle_right.png hubble_deep_field.jpg retina.jpg ihc.png grass.png gravel.png brick.png moon.png "
            "page.png text.png"
        )
    },
    "sklearn": {"datasets/images": "china.jpg flower.jpg"},
    "matplotlib": {"mpl-data/sample_data": "grace_hopper.jpg"},
}
"""Photographs that come with our dependencies: package -> folder -> files (authors and licences: documentation)."""


@dataclass(frozen=True)
class SharpPhoto:
    """A named sharp image, ``(H, W, 3)`` uint8."""

    name: str
    pixels: Rgb8


@dataclass(frozen=True)
class Shake:
    """How synthetic training samples are made: what is blurred, and how far the camera moves."""

    extent_px: tuple[float, float] = (3.0, 12.0)
    leaves_share: float = 0.5
    enlarged_share: float = 0.5
    enlarged_to: float = 2.2

    @property
    def margin_px(self) -> int:
        """Real pixels needed around a crop, on each side, by the longest kernel."""
        return int(np.ceil(self.extent_px[1])) + 1


def installed_photos() -> list[SharpPhoto]:
    """The photographs that come with our dependencies, in a fixed order; those a version lacks are left out."""
    photos = []
    for package, folders in INSTALLED.items():
        spec = importlib.util.find_spec(package)
        if spec is None or spec.origin is None:
            continue
        for folder, files in folders.items():
            paths = [Path(spec.origin).parent / folder / file for file in files.split()]
            photos += [SharpPhoto(path.stem, read_rgb8(path)) for path in paths if path.is_file()]
    return photos


def photos_in(folder: Path, at_most: int = 1000, side_px: int = 16_384) -> list[SharpPhoto]:
    """Photos directly in ``folder``, sorted by name, ``at_most`` spread evenly, scaled down to ``side_px`` a side.

    Raises:
        DataError: no such folder, or none in it.
    """
    paths = sorted(p for p in folder.glob("*") if p.suffix.lower() in SUFFIXES) if folder.is_dir() else []
    if not paths:
        raise DataError(f"{folder} holds no photos ({', '.join(SUFFIXES)}).")
    return [SharpPhoto(path.name, shrink(read_rgb8(path), side_px)) for path in evenly_chosen(paths, at_most)]


def shaken(photo: SharpPhoto, rng: np.random.Generator, extent_px: float) -> PairPixels:
    """A whole photo and its blurred self, both cropped to where the blur saw only real pixels, rounded to 8 bit."""
    kernel = shake_kernel(rng, extent_px)
    margin = kernel.shape[0] // 2
    sharp = photo.pixels[margin:-margin, margin:-margin]
    return PairPixels(photo.name, to_rgb8(blur(from_rgb8(photo.pixels), kernel)), sharp)


class ShakenCrops(Dataset[tuple[Tensor, Tensor]]):
    """Crops of photos and dead leaves with synthetic camera shake; sample ``key`` is a function of (seed, key)."""

    def __init__(self, photos: Sequence[SharpPhoto], patch_px: int, seed: int, shake: Shake = Shake()) -> None:
        self.patch_px, self.seed, self.shake = patch_px, seed, shake
        self.source_px = patch_px + 2 * shake.margin_px
        self.photos = [photo for photo in photos if min(photo.pixels.shape[:2]) >= self.source_px]
        if not self.photos:
            raise DataError(f"No photo has {self.source_px} px a side, which crops of {patch_px} px and the blur need.")

    def __getitem__(self, key: int) -> tuple[Tensor, Tensor]:
        """(blurry, sharp), each ``(3, patch, patch)`` uint8."""
        rng = np.random.default_rng((self.seed, key))
        (source,) = augment(rng, self._source(rng, key))
        kernel = shake_kernel(rng, rng.uniform(*self.shake.extent_px))
        blurry = self._centre(to_rgb8(blur(from_rgb8(source), kernel)))
        return to_tensor(blurry), to_tensor(self._centre(source))

    def name_of(self, key: int) -> str:
        """What sample ``key`` is made of: the photo whose turn it is, where leaves did not take its place."""
        return f"{self._photo(key).name} or leaves (sample {key})"

    def _photo(self, key: int) -> SharpPhoto:
        n = len(self.photos)
        return self.photos[pass_order(self.seed, key // n, n)[key % n]]

    def _source(self, rng: np.random.Generator, key: int) -> Rgb8:
        """A square of sharp pixels, large enough for the crop and the blur."""
        enlarged = rng.random() < self.shake.enlarged_share
        side = int(np.ceil(self.source_px / (rng.uniform(1.0, self.shake.enlarged_to) if enlarged else 1.0)))
        crop = self._sharp_square(rng, key, side)
        return enlarge(crop, self.source_px) if enlarged else crop

    def _sharp_square(self, rng: np.random.Generator, key: int, side_px: int) -> Rgb8:
        if rng.random() < self.shake.leaves_share:
            return dead_leaves(rng, side_px, side_px)
        pixels = self._photo(key).pixels
        top, left = random_corner(rng, pixels.shape, side_px)
        return pixels[top : top + side_px, left : left + side_px]

    def _centre(self, rgb: Rgb8) -> Rgb8:
        margin = (rgb.shape[0] - self.patch_px) // 2
        return rgb[margin : margin + self.patch_px, margin : margin + self.patch_px]
