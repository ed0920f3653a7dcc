"""The sets that figures are reported on: pairs, or sharp photographs, with their scenes and a fingerprint."""

import hashlib
import itertools
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from deblur.data.film_leaks import FilmMark
from deblur.data.pairs import FileImage, Pair, fingerprint
from deblur.data.scenes import looked_up, read_scenes, scene_of, scenes_of
from deblur.errors import DataError, PhotoError, SettingError
from deblur.images import Rgb8, centre_crop
from deblur.synthesis.frozen import degraded, frozen_kernel

SMALLEST_PX = 11
"""What SSIM's window needs."""
MOST_TOLD = 20


@dataclass(frozen=True)
class PhotoPair:
    """A sharp photograph beside itself, or beside what a frozen kernel and noise make of it.

    Args:
        photo: the photograph.
        side_px: its middle, at most so many px a side; None takes all of it.
        kernel: number of a frozen kernel.
        noise_levels: standard deviation, in levels of 255.
        seed: of the noise.
    """

    photo: FileImage
    side_px: int | None = None
    kernel: int | None = None
    noise_levels: float = 0.0
    seed: int = 0

    @property
    def name(self) -> str:
        """The photograph's."""
        return self.photo.name

    @property
    def degradation(self) -> str:
        """In words; "" where nothing is done."""
        said = [f"kernel {self.kernel}"] * (self.kernel is not None)
        said += [f"noise {self.noise_levels:g}"] * (self.noise_levels > 0)
        return ", ".join(said + [f"{self.side_px} px"] * (self.side_px is not None))

    def load(self) -> tuple[Rgb8, Rgb8]:
        """(degraded, sharp)"""
        sharp = self.photo.load()
        if self.side_px is not None:
            sharp = centre_crop(sharp, self.side_px)
        return degraded(sharp, self.kernel, self.noise_levels, self.seed), sharp


@dataclass(frozen=True)
class ReportSet:
    """A fixed set of pairs.

    Args:
        name: short, as tables show it.
        pairs: in their order.
        scenes: of each pair.
        sharp: whether both pictures of a pair are one sharp photograph, which a model should leave as it is.
        folder: whose images it holds, all of them; None where it is a part.
        origin: where its images are from: scenes of one name and origin are one scene, in whatever set.
        films: that its pairs are made of.
    """

    name: str
    pairs: Sequence[Pair]
    scenes: Sequence[str]
    sharp: bool = False
    folder: Path | None = None
    origin: str = ""
    films: Sequence[FilmMark] = ()

    @cached_property
    def fingerprint(self) -> str:
        """16 hex digits that change with any image, and with what is done to it."""
        images = fingerprint([pair.photo if isinstance(pair, PhotoPair) else pair for pair in self.pairs])
        said = {pair.degradation for pair in self.pairs if isinstance(pair, PhotoPair)} - {""}
        return hashlib.sha256(" ".join([images, *sorted(said)]).encode()).hexdigest()[:16] if said else images


def open_report_sets(
    sources: Sequence[str], scenes_file: Path | None = None, cache: Path | None = None
) -> list[ReportSet]:
    """What a command line names: folders of pairs or frames, and ``photos:FOLDER``, which are sharp.

    Args:
        sources: as in :meth:`SourceName.parse`.
        scenes_file: a table of ``NAME,SCENE`` lines, else ``scenes.csv`` in the folder; without one the names tell
            the scenes.
        cache: of a training, where frames and flows of films are; None takes the user's.

    Raises:
        SettingError: no source, or one that holds no fixed images.
        DataError: a source that cannot be opened, images that are broken, too small, or of two sizes, all by name, or a
            name that the table of scenes lacks.
    """
    if not sources:
        raise SettingError("data is needed: folders of pairs, or photos:FOLDER for sharp photographs.")
    table = read_scenes(scenes_file) if scenes_file else None
    sets = [_opened(text, table, cache) for text in sources]
    short = Counter(each.name for each in sets)
    long = [
        replace(each, name=text) if short[each.name] > 1 else each for each, text in zip(sets, sources, strict=True)
    ]
    first: dict[str, str] = {}
    for text, each in zip(sources, long, strict=True):
        if each.fingerprint in first:
            raise SettingError(
                f"{first[each.fingerprint]} and {text} hold the same images, which would count twice. Name one of them."
            )
        first[each.fingerprint] = text
    images = Counter((each.origin, pair.name) for each in long for pair in each.pairs)
    if twice := [name for (_, name), count in images.items() if count > 1]:
        raise SettingError(f"{twice[0]} and {len(twice) - 1} others are in two sets, and would count twice. Name one.")
    _check_images(long)
    return long


def _check_images(sets: Sequence[ReportSet]) -> None:
    """Decode all of them now: no work of an hour shall end at a broken one. (Films were looked through already.)"""

    def trouble(pair: Pair) -> str:
        try:
            side_px = min(pair.load()[1].shape[:2])
        except (PhotoError, DataError) as error:
            return str(error)
        return f"{pair.name}: it has a side of {side_px} px, less than {SMALLEST_PX}" * (side_px < SMALLEST_PX)

    pairs = [pair for each in sets if not each.films for pair in each.pairs]
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # decoding lets other threads run
        bad = list(filter(None, pool.map(trouble, pairs)))
    if bad:
        more = f"; and {len(bad) - MOST_TOLD} more" * (len(bad) > MOST_TOLD)
        raise DataError(
            f"{len(bad)} of {len(pairs)} images cannot be scored: {'; '.join(bad[:MOST_TOLD])}{more}. Mend or "
            "remove them; nothing was restored yet."
        )


def grid_of(sets: Sequence[ReportSet], wanted: str) -> list[ReportSet]:
    """Every combination of what ``wanted`` lists, such as ``noise=5,20 kernel=8,12 size=256``, as a set of its own.

    Args:
        sets: of sharp photographs.
        wanted: ``noise`` in levels of 255, ``kernel`` by its number, ``size`` in px.

    Raises:
        SettingError: sets of pairs, another word, no such kernel, or a value that is no number in its range.
    """
    if pairs := [each.name for each in sets if not each.sharp]:
        raise SettingError(f"degrade blurs sharp photographs; {pairs[0]} holds pairs. Give photos:FOLDER.")
    lists = _lists(wanted)
    kernels: list[int | None] = [*lists["kernel"]] or [None]
    sizes: list[int | None] = [*lists["size"]] or [None]
    return [
        _degraded(each, kernel, noise, side_px, named=len(sets) > 1)
        for kernel, noise, side_px in itertools.product(kernels, lists["noise"] or [0], sizes)
        for each in sets
    ]


def _lists(wanted: str) -> dict[str, list[int]]:
    lists: dict[str, list[int]] = {"kernel": [], "noise": [], "size": []}
    for part in wanted.split():
        key, _, values = part.partition("=")
        try:
            lists[key] += [int(value) for value in values.split(",")]
        except (KeyError, ValueError) as error:
            raise SettingError(
                f"degrade has {part!r}; give lists of whole numbers, such as noise=5,20 kernel=8,12 size=256,512."
            ) from error
    if twice := [key for key, values in lists.items() if len(set(values)) < len(values)]:
        raise SettingError(f"degrade has a {twice[0]} twice. Give each value once.")
    for kernel in lists["kernel"]:
        frozen_kernel(kernel)
    if any(noise < 0 for noise in lists["noise"]):
        raise SettingError(f"degrade has the noise {min(lists['noise'])}; the least is 0.")
    if any(size < SMALLEST_PX for size in lists["size"]):
        raise SettingError(f"degrade has the size {min(lists['size'])}; the smallest is {SMALLEST_PX} px.")
    return lists


def _degraded(photos: ReportSet, kernel: int | None, noise: int, side_px: int | None, *, named: bool) -> ReportSet:
    pairs = [
        PhotoPair(pair.photo, side_px, kernel, noise, seed)
        for seed, pair in enumerate(photos.pairs)
        if isinstance(pair, PhotoPair)
    ]
    said = pairs[0].degradation or "as they are"
    name = f"{photos.name}: {said}" if named else said
    return replace(photos, name=name, pairs=pairs, sharp=kernel is None and not noise)


def _opened(text: str, table: Mapping[str, str] | None, cache: Path | None) -> ReportSet:
    from deblur.data.sources import Reading, SourceName, open_source  # brings torch, which scoring does not need

    source = open_source(SourceName.parse(text), Reading(films=cache and cache / "films"))
    if not source.images_on_disk:
        raise SettingError(f"{text} holds no fixed images. 'deblur synth {text} FOLDER' saves a set of them.")
    pairs: list[Pair] = [*source.pairs, *(PhotoPair(photo) for photo in source.photos)]
    names, path = [pair.name for pair in pairs], source.name.path
    if table is not None:
        known: Mapping[str, str] = looked_up(table, names)
    else:
        known = source.scenes or (scenes_of(path, names) if path else {})  # photos have none of their own
    scenes = [known.get(name) or scene_of(name) for name in names]
    name = "/".join(path.parts[-2:]) if path else text
    whole = None if source.name.promotion else path
    films = [film.mark for film in source.films]
    return ReportSet(name, pairs, scenes, bool(source.photos), folder=whole, origin=str(path), films=films)
