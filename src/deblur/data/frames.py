"""High-speed frame sequences as pairs: N consecutive frames averaged are the blurry image, the centre one the sharp.

A frame every 1/240 s, averaged, is what a camera with N times the exposure would have seen (Nah et al. 2017, "Deep
multi-scale convolutional neural network for dynamic scene deblurring", the GoPro set). Vimeo-90K septuplets (Xue et
al. 2019) are sequences of seven: one pair a folder, ``im4`` the sharp one.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from deblur.data.folders import PASSED_OVER, folders_of, images_in
from deblur.data.pairs import ImageFile
from deblur.errors import DataError, SettingError
from deblur.images import SUFFIXES, Rgb8, from_rgb8, to_rgb8
from deblur.synthesis.light import to_linear, to_srgb

AVERAGE = 7
"""Frames a pair unless told otherwise: the fewest that GoPro averages (7 to 13), and all of a Vimeo-90K septuplet."""


@dataclass(frozen=True)
class MeanImage:
    """The mean of frames: of the encoded values (GoPro's ``blur``) or of the light (``blur_gamma``, real cameras)."""

    name: str
    files: tuple[Path, ...]
    linear: bool = False

    @property
    def made(self) -> str:
        """Which mean."""
        return "mean of light" if self.linear else "mean of encoded values"

    def load(self) -> Rgb8:
        """Decode the frames and average them.

        Raises:
            PhotoError: a frame is broken; its name is told.
            DataError: a frame cannot be read, or they differ in size.
        """
        return mean_of(_decoded(self.files), self.linear)


@dataclass(frozen=True)
class FramePair:
    """An odd number of consecutive frames: (their mean, the centre one)."""

    name: str
    frames: tuple[Path, ...]
    linear: bool = False

    @property
    def images(self) -> tuple[MeanImage, ImageFile]:
        """The mean and the centre frame."""
        return (
            MeanImage(self.name, self.frames, self.linear),
            ImageFile(self.name, self.frames[len(self.frames) // 2]),
        )

    def load(self) -> tuple[Rgb8, Rgb8]:
        """Decode every frame once. Raises as :class:`MeanImage` does."""
        frames = _decoded(self.frames)
        return mean_of(frames, self.linear), frames[len(frames) // 2]


def find_frames(folder: Path, average: int | None = None, linear: bool = False) -> list[FramePair]:
    """All pairs that the sequences under ``folder`` give, sorted by name; no frame is used twice.

    Frames at the end of a sequence that are too few for a pair are left out.

    Args:
        folder: a sequence, or folders of sequences, nested as deep as they like; every folder that holds images is
            one, its frames in natural order (``im2`` before ``im10``).
        average: frames a pair, odd; None takes 7.
        linear: average light instead of encoded values.

    Raises:
        SettingError: ``average`` is even or below 3.
        DataError: no such folder, no frames, or a sequence shorter than ``average``.
    """
    average = AVERAGE if average is None else average
    if average < 3 or average % 2 == 0:
        raise SettingError(f"{average} frames have no centre frame to be the sharp one; average 3, 5, 7, 9 ... frames.")
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder. Give a folder of frames, or one that holds such folders.")
    sequences = _sequences(folder)
    if not sequences:
        raise DataError(f"{folder} and the folders in it hold no frames ({', '.join(SUFFIXES)}). {PASSED_OVER}.")
    short = [f"{s[0].parent} ({len(s)})" for s in sequences if len(s) < average]
    if short:
        raise DataError(
            f"{len(short)} of {len(sequences)} sequences have fewer than the {average} frames that a pair averages: "
            f"{', '.join(short[:5])}{' ...' if len(short) > 5 else ''}. Average fewer, or move them away."
        )
    return [
        FramePair(frames[start + average // 2].relative_to(folder).as_posix(), frames[start : start + average], linear)
        for frames in sequences
        for start in range(0, len(frames) - average + 1, average)
    ]


def mean_of(frames: Sequence[Rgb8], linear: bool = False) -> Rgb8:
    """The arithmetic mean of ``(H, W, 3)`` uint8 frames of one size, of light (sRGB undone) or of encoded values.

    Rounded to nearest; an odd number of encoded values has no ties.
    """
    if linear:
        light = to_linear(from_rgb8(np.arange(256, dtype=np.uint8)))
        total = np.zeros(frames[0].shape, np.float32)
        for frame in frames:
            total += light[frame]
        return to_rgb8(to_srgb(total / np.float32(len(frames))))
    sums = np.zeros(frames[0].shape, np.uint32)
    for frame in frames:
        sums += frame
    return ((sums + np.uint32(len(frames) // 2)) // np.uint32(len(frames))).astype(np.uint8)


def _sequences(folder: Path) -> list[tuple[Path, ...]]:
    found = [tuple(sorted(images_in(each), key=lambda frame: _natural(frame.name))) for each in folders_of(folder)]
    return sorted(filter(None, found), key=lambda frames: _natural(frames[0].parent.relative_to(folder).as_posix()))


def _natural(name: str) -> tuple[list[int | str], str]:
    """Sorts numbers in names by value: digits and what is between them take turns, so like meets like."""
    parts = re.split(r"([0-9]+)", name)
    return [int(part) if i % 2 else part for i, part in enumerate(parts)], name


def _decoded(files: Sequence[Path]) -> list[Rgb8]:
    frames = [ImageFile(file.name, file).load() for file in files]
    for file, frame in zip(files, frames, strict=True):
        if frame.shape != frames[0].shape:
            sizes = " and ".join(f"{f.shape[1]} x {f.shape[0]}" for f in (frames[0], frame))
            raise DataError(f"{files[0]} and {file} differ in size ({sizes}); a sequence must have one size.")
    return frames
