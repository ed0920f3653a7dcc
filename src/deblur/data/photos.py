"""Sharp photos in memory: those that come with our dependencies, a person's own, and camera shake over a whole one."""

import importlib.util
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from deblur.data.folders import images_in
from deblur.data.pairs import PairPixels, evenly_chosen
from deblur.errors import DataError
from deblur.images import SUFFIXES, Rgb8, from_rgb8, read_rgb8, to_rgb8
from deblur.synthesis.kernels import shake_kernel
from deblur.synthesis.uniform import blur

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

    def load(self) -> Rgb8:
        """The pixels."""
        return self.pixels


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
    paths = images_in(folder)
    if not paths:
        raise DataError(f"{folder} holds no photos ({', '.join(SUFFIXES)}).")
    return [SharpPhoto(path.name, shrink(read_rgb8(path), side_px)) for path in evenly_chosen(paths, at_most)]


def shaken(photo: SharpPhoto, rng: np.random.Generator, extent_px: float) -> PairPixels:
    """A whole photo and its blurred self, both cropped to where the blur saw only real pixels, rounded to 8 bit.

    The sharp one is the picture at half time, so the two may lie pixels beside each other (``evaluation.alignment``).
    """
    kernel = shake_kernel(rng, extent_px)
    margin = kernel.shape[0] // 2
    sharp = photo.pixels[margin:-margin, margin:-margin]
    return PairPixels(photo.name, to_rgb8(blur(from_rgb8(photo.pixels), kernel)), sharp)


def shrink(rgb: NDArray[np.uint8], side_px: int) -> NDArray[np.uint8]:
    """Scale ``(h, w, 3)`` uint8 down until its longer side is at most ``side_px``; smaller images stay as they are."""
    image = Image.fromarray(rgb)
    image.thumbnail((side_px, side_px), Image.Resampling.LANCZOS)
    return np.asarray(image)
