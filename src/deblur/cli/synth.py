"""``deblur synth OUT SOURCE``: save dead leaves, or pairs made from photos or from frames, as an ordinary pair folder.

A kind of set is a callable from an index to named images (:mod:`deblur.data.saved` does the rest). It holds paths and
numbers only, and imports what it needs when it is called: workers get it pickled.
"""

import os
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro
from PIL import Image
from rich.console import Console
from rich.markup import escape

from deblur.errors import DataError, SettingError
from deblur.images import OPENED, SUFFIXES, Rgb8, from_rgb8, read_rgb8, to_rgb8

console = Console(highlight=False)

Images = dict[str, Rgb8]
LEAVES = "leaves"


def synth(
    out: tyro.conf.Positional[Path],
    source: tyro.conf.Positional[str],
    count: int | None = None,
    size: int | None = None,
    seed: int | None = None,
    sharp_only: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
    average: int | None = None,
    linear: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
    stride: int | None = None,
    workers: int | None = None,
) -> int:
    """Save a synthetic set. The same command goes on after a kill, and checks a finished set.

    Args:
        out: A new or empty folder, or one that this command began.
        source: 'leaves', or a folder of sharp photos; with --average a folder of frames, or of sequences of them.
        count: Samples; by default 1000 of leaves, one a photo, or all that the frames give (fewer: spread evenly).
        size: Side of the images, px; by default 256. Frames stay whole.
        seed: Of all random decisions; by default 0.
        sharp_only: Save sharp crops alone, not blurry ones.
        average: Frames that make a blurry one, odd; the centre one is the sharp one.
        linear: Average in linear light, as a sensor does, and not the encoded values.
        stride: Frames from one average to the next; by default --average, so that none is used twice.
        workers: Processes; by default one a core.
    """
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from deblur.data.saved import save_set

    if count is not None and count < 1:
        raise SettingError(f"--count is {count}; it must be 1 or more.")
    if source != LEAVES and out.resolve().is_relative_to(Path(source).resolve()):
        raise SettingError(f"{out} lies in {source}, and would become a source of itself. Give a folder elsewhere.")
    if average is None:
        if linear or stride is not None:
            raise SettingError("--linear and --stride are about frames, and need --average.")
        make, settings, count = _crops(source, count, 256 if size is None else size, seed or 0, sharp_only)
    else:
        if size is not None or seed is not None or sharp_only:
            raise SettingError(
                "--size, --seed and --sharp-only say nothing about frames, which --average makes pairs of."
            )
        make, settings, count = _averages(Path(source), count, average, linear, average if stride is None else stride)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(escape(out.name), total=count)
        manifest = save_set(
            out,
            count,
            make,
            settings,
            (os.cpu_count() or 1) if workers is None else workers,
            lambda done, total: progress.update(task, completed=done, total=total),
        )
    sizes = ", ".join(manifest["sizes"]) if len(manifest["sizes"]) < 4 else f"{len(manifest['sizes'])} sizes"
    what = " and ".join(manifest["kinds"])
    line = f"{out}: {count} samples ({what}) of {sizes} px, fingerprint {manifest['fingerprint']}"
    console.print(line, markup=False, soft_wrap=True)
    return 0


Set = tuple[Callable[[int], Images], dict[str, Any], int]
"""What makes the samples, what it depends on, and how many there are."""


def _crops(source: str, count: int | None, size_px: int, seed: int, sharp_only: bool) -> Set:
    if size_px < 8 or seed < 0:
        raise SettingError(f"--size is {size_px} and --seed {seed}; they must be at least 8 and 0.")
    settings: dict[str, Any] = {"source": LEAVES, "size_px": size_px, "seed": seed, "sharp_only": sharp_only}
    if source == LEAVES:
        return Crops(size_px, seed, sharp_only), settings, 1000 if count is None else count
    photos = _photos_of(Path(source), size_px if sharp_only else _source_px(size_px))
    settings |= {"source": "photos", "photos": len(photos), "photos_fingerprint": _fingerprint(photos)}
    return Crops(size_px, seed, sharp_only, photos), settings, len(photos) if count is None else count


@dataclass(frozen=True)
class Crops:
    """Random crops of photos, dealt in turn, or dead leaves where there are none; blurred unless ``sharp_only``."""

    size_px: int
    seed: int
    sharp_only: bool
    photos: tuple[Path, ...] = ()

    def __call__(self, index: int) -> Images:
        """Sample ``index``: squares of ``size_px``."""
        rng = np.random.default_rng((self.seed, index))
        if self.sharp_only:
            return {"sharp": self._sharp(rng, index, self.size_px)}
        return _blurred(rng, self._sharp(rng, index, _source_px(self.size_px)), self.size_px)

    def _sharp(self, rng: np.random.Generator, index: int, side_px: int) -> Rgb8:
        if not self.photos:
            from deblur.synthesis.leaves import dead_leaves

            return dead_leaves(rng, side_px, side_px)
        from deblur.data.crops import random_corner

        photo = read_rgb8(self.photos[index % len(self.photos)])
        top, left = random_corner(rng, photo.shape, side_px)
        return photo[top : top + side_px, left : left + side_px]


def _source_px(size_px: int) -> int:
    """Side of the sharp square that :func:`_blurred` needs."""
    from deblur.data.photos import Shake

    return size_px + 2 * Shake().margin_px


def _blurred(rng: np.random.Generator, sharp: Rgb8, size_px: int) -> Images:
    """The one place where blur is made up: camera shake, as in training."""
    from deblur.data.photos import Shake, SharpPhoto, shaken
    from deblur.evaluation.panels import centre_crop

    pair = shaken(SharpPhoto("", sharp), rng, rng.uniform(*Shake().extent_px))
    return {"blur": centre_crop(pair.blurry, size_px), "sharp": centre_crop(pair.sharp, size_px)}


def _photos_of(folder: Path, side_px: int) -> tuple[Path, ...]:
    """Photos directly in ``folder`` that are large enough, by their headers."""
    photos = _images_in(folder)
    if not photos:
        raise DataError(f"{folder} holds no photos ({', '.join(SUFFIXES)}). Give a folder of them, or 'leaves'.")
    large = tuple(path for path in photos if min(_size_of(path)) >= side_px)
    if not large:
        raise DataError(f"No photo in {folder} has {side_px} px a side, which the crop and its blur need.")
    return large


def _size_of(path: Path) -> tuple[int, int]:
    try:
        with Image.open(path, formats=OPENED) as image:
            return image.size
    except (OSError, Image.DecompressionBombError) as error:
        raise DataError(f"{path} is not a photo that can be read. Mend it or take it away.") from error


def _averages(folder: Path, count: int | None, average: int, linear: bool, stride: int) -> Set:
    from deblur.data.pairs import evenly_chosen

    if average < 3 or average % 2 == 0 or stride < 1:
        raise SettingError(
            f"--average is {average} and --stride {stride}: an odd number of frames, 3 or more, has a centre, and the "
            "next average must begin later."
        )
    windows = [
        tuple(frames[start : start + average])
        for frames in sequences_in(folder)
        for start in range(0, len(frames) - average + 1, stride)
    ]
    if not windows:
        raise DataError(f"{folder} holds no sequence of {average} frames or more ({', '.join(SUFFIXES)}).")
    chosen = evenly_chosen(windows, count)
    frames = [path for window in chosen for path in window]
    settings = {"source": "frames", "average": average, "linear": linear, "stride": stride}
    settings |= {"frames": len(frames), "frames_fingerprint": _fingerprint(frames)}
    return Averages(tuple(chosen), linear), settings, len(chosen)


@dataclass(frozen=True)
class Averages:
    """Blurry: the mean of consecutive frames; sharp: the centre one."""

    windows: tuple[tuple[Path, ...], ...]
    linear: bool

    def __call__(self, index: int) -> Images:
        """Sample ``index``: whole frames."""
        window = self.windows[index]
        blurry = averaged((read_rgb8(path) for path in window), self.linear)
        return {"blur": blurry, "sharp": read_rgb8(window[len(window) // 2])}


def averaged(frames: Iterable[Rgb8], linear: bool) -> Rgb8:
    """The mean of frames of one size, ``(H, W, 3)`` uint8, of encoded values or in linear light, rounded to nearest.

    Raises:
        DataError: their sizes differ.
    """
    from deblur.synthesis.degrade import to_linear, to_srgb

    levels = from_rgb8(np.arange(256, dtype=np.uint8))
    light = to_linear(levels) if linear else levels
    total, number = np.zeros((), np.float32), 0
    for frame in frames:
        if number and frame.shape != total.shape:
            raise DataError(f"Frame {number + 1} of a sequence has another size than the first; one size is needed.")
        total, number = total + light[frame], number + 1
    mean = total / np.float32(number)
    return to_rgb8(to_srgb(mean) if linear else mean)


def sequences_in(folder: Path) -> list[list[Path]]:
    """The frames of every folder at or below ``folder`` that holds images, 2 before 10."""
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder. Give one that holds frames, or folders of frames.")
    folders = sorted({folder, *(path for path in folder.rglob("*") if path.is_dir())})
    return [frames for frames in map(_images_in, folders) if frames]


def _images_in(folder: Path) -> list[Path]:
    """Images directly in ``folder``, in the order of the numbers in their names."""

    def numbers_as_numbers(path: Path) -> list[str | int]:
        return [int(part) if i % 2 else part for i, part in enumerate(re.split(r"(\d+)", path.name))]

    paths = [path for path in folder.glob("*") if path.suffix.lower() in SUFFIXES and path.is_file()]
    return sorted(sorted(paths), key=numbers_as_numbers)


def _fingerprint(paths: Sequence[Path]) -> str:
    from deblur.data.pairs import PairFiles, fingerprint

    return fingerprint([PairFiles(path.name, path, path) for path in dict.fromkeys(paths)])
