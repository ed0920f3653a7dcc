"""What train_data and test_data name: sources of pairs, drawn by weight.

    gopro/train            pairs: blur/ and sharp/ inside, or one such folder a sequence
    frames:vimeo           high-speed frame sequences: blurry is the mean of consecutive frames
    photos:holiday         sharp photos, also in folders below: their blur is synthesised
    leaves                 dead leaves, generated without end: their blur is synthesised
    film:holiday.mp4       a film, or a folder of films: what lies between sharp frames is interpolated and averaged
    promotion:gopro/train  of pairs or frames (promotion:frames:vimeo) the scenes that a training without test_data
                           keeps for a promotion; they never train

The kind may be left out where the folder tells. ``=WEIGHT`` behind a source says how often it is drawn beside the
others (``gopro/train=3 leaves=1``). What 'deblur synth' saved is an ordinary folder of pairs or photos.
"""

import hashlib
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np
from torch.utils.data import Dataset

from deblur.data.blurred import BlurredCrops, Cuttings, Leaves, Photos, Shapes, Unblurred, fixed_pairs
from deblur.data.cache import cached, cached_photos
from deblur.data.crops import Key, Placed, Sample
from deblur.data.film_leaks import first_alike
from deblur.data.folders import FILM_SUFFIXES, PASSED_OVER, images_below, images_in
from deblur.data.frames import find_frames
from deblur.data.layout import sides_below, sides_in_names, sides_of
from deblur.data.pair_crops import PairCrops
from deblur.data.pairs import FileImage, FilePair, ImageFile, Pair, evenly_chosen, find_pairs, fingerprint, whole
from deblur.data.parallel import OnProgress
from deblur.data.scenes import FEWEST, scenes_of, split_scenes
from deblur.errors import DataError, SettingError
from deblur.images import SUFFIXES
from deblur.synthesis.draw import BlurRanges
from deblur.synthesis.kernels import SYNTHESIS

if TYPE_CHECKING:
    from deblur.data.film import Film, FilmCrops

KINDS = ("pairs", "frames", "photos", "leaves", "film")
CROPS_A_WINDOW = 32
"""Of a film in a pass: each has another place and another exposure."""
PROMOTION = "promotion:"
LEAVES_AN_EPOCH = 1000
"""Dead leaves have no number; this many make a pass."""
FIXED_SEED, FIXED_PAIRS, FIXED_SIDE_PX = 20_261, 16, 320
"""Synthetic validation: not a setting, so that figures of different runs can be compared."""


@dataclass(frozen=True)
class SourceName:
    """A source as it is named on the command line; ``promotion``: only the scenes that are kept for a promotion."""

    kind: str
    path: Path | None
    weight: float = 1.0
    promotion: bool = False

    @classmethod
    def parse(cls, text: str) -> "SourceName":
        """``[promotion:][KIND:]PATH[=WEIGHT]`` or ``leaves[:][=WEIGHT]``, relative paths from the current folder.

        Raises:
            SettingError: a weight that is not above 0, a kind without a path, ``leaves`` where it is a folder, too, or
                ``promotion:`` of what has no scenes.
        """
        if text.startswith(PROMOTION):
            whole_source = cls.parse(text.removeprefix(PROMOTION))
            if whole_source.kind not in ("pairs", "frames", "film"):
                raise SettingError(
                    f"{text!r}: only pairs, frames and films keep scenes for a promotion. Give a folder of them."
                )
            return replace(whole_source, promotion=True)
        kind, colon, place = text.partition(":")
        if not colon or kind not in KINDS:
            kind, place = "", text
        path, weight = (place, 1.0) if place and Path(place).exists() else _weighed(place, text)
        if path == "leaves" and not kind and Path(path).exists():
            raise SettingError(
                "'leaves' means generated images, and a folder of this name is here. Give ./leaves for "
                "the folder, or leaves: for generated images."
            )
        if (kind, path) in (("", "leaves"), ("leaves", "")):
            return cls("leaves", None, weight)
        if not path or kind == "leaves":
            raise SettingError(
                f"{text!r} names no source. Give a folder, frames:FOLDER, photos:FOLDER, film:FILE or leaves."
            )
        folder = Path(os.path.abspath(path))
        return cls(kind or _kind_of(folder), folder, weight)

    def __str__(self) -> str:
        leaves = "leaves:" if Path("leaves").exists() else "leaves"
        place = leaves if self.path is None else f"{PROMOTION * self.promotion}{self.kind}:{self.path}"
        return place if self.weight == 1.0 and "=" not in place else f"{place}={self.weight:g}"


@dataclass(frozen=True)
class Reading:
    """How sources are read: what their folders hold, and what is done to sharp pixels.

    Args:
        blur_gamma: pairs: take ``blur_gamma/``; frames: average in linear light.
        average: frames averaged into a blurry image; None takes 7.
        films: where frames and flows of films are kept; None takes the user's cache.
    """

    blur_gamma: bool = False
    average: int | None = None
    films: Path | None = None


OnLine = Callable[[str], None]
Part: TypeAlias = "PairCrops | BlurredCrops | FilmCrops"
"""Training sets of one source: a sample for every key, and ``name_of(key)``."""


@dataclass(frozen=True)
class Source:
    """An opened source: the pairs, photos or leaves that ``name`` names.

    ``scenes``: name -> scene of all pairs in the folder, whatever is left out of ``pairs`` later.
    """

    name: SourceName
    pairs: Sequence[FilePair] = ()
    photos: Sequence[FileImage] = ()
    scenes: Mapping[str, str] = field(default_factory=dict)

    @property
    def images(self) -> int:
        """In one pass."""
        each = CROPS_A_WINDOW if self.name.kind == "film" else 1
        return each * self.images_on_disk or LEAVES_AN_EPOCH

    @property
    def images_on_disk(self) -> int:
        """0 for leaves."""
        return len(self.pairs) + len(self.photos)

    @property
    def file_images(self) -> list[FileImage]:
        """Blurry and sharp ones, and photos."""
        return [*(image for pair in self.pairs for image in pair.images), *self.photos]

    @property
    def files(self) -> set[Path]:
        """All that it reads."""
        return {file for image in self.file_images for file in image.files}

    @property
    def films(self) -> "list[Film]":
        """Those that its pairs are made of."""
        if self.name.kind != "film":
            return []
        from deblur.data.film import films_of

        return films_of(self.pairs)

    @cached_property
    def fingerprint(self) -> str:
        """Changes with the images and with what is made of them."""
        return fingerprint([*self.pairs, *self.photos]) if self.images_on_disk else "leaves"

    def cuttings(self, seed: int) -> Cuttings:
        """Sharp rectangles, where the blur is synthesised."""
        return Photos(self.photos, seed) if self.photos else Leaves()

    def crops(self, patch_px: int, seed: int, ranges: BlurRanges, on_device: bool = False) -> Part:
        """Training crops."""
        if self.name.kind == "film":
            from deblur.data.film import FilmCrops, FilmPair

            return FilmCrops([pair for pair in self.pairs if isinstance(pair, FilmPair)], patch_px, seed, ranges)
        if self.pairs:
            return PairCrops(self.pairs, patch_px, seed)
        return BlurredCrops(self.cuttings(seed), patch_px, seed, ranges, on_device)


class Mixture(Dataset[Sample | Unblurred]):
    """Several training sets; which one a sample comes from is a function of (seed, key), in proportion to weights."""

    def __init__(self, parts: Sequence[Part], weights: Sequence[float], seed: int) -> None:
        self.parts, self.seed = parts, seed
        self.limits = np.cumsum(weights) / np.sum(weights)

    def __getitem__(self, key: Key) -> Sample | Unblurred:
        """The sample of the part whose turn it is."""
        return self._part(key)[key]

    def placed(self, key: Key, shapes: Shapes) -> Sample | Unblurred | Placed:
        """The same for a device that holds the images, of these shapes."""
        return self._part(key).placed(key, shapes)

    @property
    def images(self) -> list[Any]:
        """What a device can hold."""
        return [image for part in self.parts for image in part.images]

    def name_of(self, key: int) -> str:
        """What sample ``key`` is made of."""
        return self._part(key).name_of(key)

    def _part(self, key: int) -> Part:
        drawn = np.random.default_rng((self.seed, key, 1)).random()
        return self.parts[int(np.searchsorted(self.limits, drawn, side="right"))]


def open_source(name: SourceName, reading: Reading, on_line: OnLine = lambda line: None) -> Source:
    """Look the folder through; ``on_line`` is told how far films are, and what is left out of them.

    Raises:
        DataError: no such folder, or nothing of the kind in it.
        SettingError: too few scenes to keep one for a promotion.
    """
    if name.path is None:
        return Source(name)
    if name.kind == "photos":
        return Source(name, photos=find_photos(name.path))
    pairs: Sequence[FilePair]
    if name.kind == "film":
        from deblur.data.film import find_film_pairs

        pairs = find_film_pairs(name.path, reading.films, on_line)
    elif name.kind == "pairs":
        pairs = find_pairs(name.path, reading.blur_gamma)
    else:
        pairs = find_frames(name.path, reading.average, reading.blur_gamma)
    scenes = scenes_of(name.path, [pair.name for pair in pairs])
    source = _copies_in_one_scene(Source(name, pairs=pairs, scenes=scenes))
    return _by_scene(source)[2] if name.promotion else source


def open_sources(
    texts: Iterable[str], reading: Reading = Reading(), on_line: OnLine = lambda line: None
) -> list[Source]:
    """What a command line names, each as in :meth:`SourceName.parse` and :func:`open_source`."""
    return [open_source(SourceName.parse(text), reading, on_line) for text in texts]


def find_photos(folder: Path) -> list[ImageFile]:
    """Photos in ``folder`` and below it, sorted by path.

    Raises:
        DataError: no such folder, none in it, or pairs, also where their names alone tell them.
    """
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder. Give one that holds photos.")
    if pairs := sides_below(folder):
        named = list(dict.fromkeys(f"photos:{sides.sharp}" for sides in pairs))
        more = f" and {len(named) - 3} more" * (len(named) > 3)
        raise DataError(
            f"{folder} holds pairs, and blurry images are no sharp photos. Give {' '.join(named[:3])}{more}."
        )
    paths = images_below(folder)
    if sides := sides_in_names(paths):
        blurry, sharp = sides
        raise DataError(
            f"{folder} holds both sides of pairs in one folder, such as {blurry.name} and {sharp.name}. Move them into "
            "folders blur/ and sharp/."
        )
    if not paths:
        raise DataError(f"{folder} holds no photos ({', '.join(SUFFIXES)}). {PASSED_OVER}.")
    return [ImageFile(path.relative_to(folder).as_posix(), path) for path in paths]


def prepared(
    sources: Sequence[Source],
    cache: Path | None,
    skip_bad: int,
    on_progress: OnProgress | None = None,
    crop_px: int = 0,
) -> tuple[list[Source], list[str]]:
    """The sources without broken images, decoded into ``cache`` if there is one; and a sentence for each left out.

    Args:
        sources: opened.
        cache: folder of the decoded cache.
        skip_bad: how many images may be broken, in all.
        on_progress: told how far the cache is.
        crop_px: a pair that is smaller counts as broken; photos are enlarged.

    Raises:
        DataError: more are broken; without a cache and with 0, broken ones are met when they are drawn.
        DiskFull: the cache has no room.
    """
    if not cache and not skip_bad:
        return list(sources), []
    ready, left_out = list[Source](), list[str]()
    for source in sources:
        pairs, photos, bad = source.pairs, source.photos, list[str]()
        still = skip_bad - len(left_out)
        if source.name.kind == "film":
            pass  # kept already, and its blur is drawn
        elif pairs and cache:
            pairs, bad = cached(pairs, cache, on_progress, still, crop_px)
        elif pairs:
            pairs, bad = whole(pairs, still, "pairs", crop_px)
        elif photos:
            photos, bad = cached_photos(photos, cache, on_progress, still) if cache else whole(photos, still, "photos")
        ready.append(replace(source, pairs=pairs, photos=photos))
        left_out += bad
    return ready, left_out


def mixture(
    sources: Sequence[Source], patch_px: int, seed: int, ranges: BlurRanges = BlurRanges(), on_device: bool = False
) -> "Part | Mixture":
    """Training crops of all sources, drawn by their weights.

    Raises:
        SettingError: there is no source, or one is kept for a promotion.
    """
    for source in sources:
        check_trains(source.name)
    if not sources:
        raise SettingError("No source is named. Give a folder of pairs, photos:FOLDER, frames:FOLDER or leaves.")
    parts = [source.crops(patch_px, seed, ranges, on_device) for source in sources]
    return parts[0] if len(parts) == 1 else Mixture(parts, [source.name.weight for source in sources], seed)


def validation_pairs(
    sources: Sequence[Source], count: int | None, strength: float, ranges: BlurRanges = BlurRanges()
) -> tuple[list[Pair], list[str]]:
    """Pairs, and the scene of each, which no other source has. Of photos and leaves they are a fixed set of synthetic
    ones, the same in every run, all blurred; a photo is one scene, however many are cut from it."""
    ranges = replace(ranges, milder=0.0)
    if any(share for kind, share in ranges.kinds if kind != "sharp"):
        ranges = replace(ranges, sharp=0.0)
    found: list[tuple[Pair, str]] = []
    for number, source in enumerate(sources):
        if source.pairs:
            found += [(pair, f"{number} {source.scenes[pair.name]}") for pair in source.pairs]
        else:
            cuttings, wanted = source.cuttings(FIXED_SEED), count or FIXED_PAIRS
            fixed = fixed_pairs(cuttings, wanted, FIXED_SIDE_PX, strength, ranges, FIXED_SEED)
            found += [(pair, f"{number} {cuttings.name_of(key)}") for key, pair in enumerate(fixed)]
    chosen = evenly_chosen(found, count)
    return [pair for pair, _ in chosen], [scene for _, scene in chosen]


def check_trains(name: SourceName) -> None:
    """Refuse what is kept for a promotion.

    Raises:
        SettingError: it is.
    """
    if name.promotion:
        raise SettingError(f"{name} is kept for a promotion and never trains. Give {replace(name, promotion=False)}.")


class Parts(NamedTuple):
    """What trains, what validates, and what is kept for a promotion."""

    training: list[Source]
    validation: list[Source]
    promotion: list[Source]


def hold_back(sources: Sequence[Source]) -> Parts:
    """The parts of sources that have no validation set: pairs and frames by scene, of photos every tenth validates.

    Leaves alone are validated on leaves of another seed.

    Raises:
        SettingError: too few scenes, or one photo.
        DataError: a part has only images that were left out.
    """
    parts = Parts([], [], [])
    for source in sources:
        if source.pairs:
            for part, own in zip(parts, _by_scene(source), strict=True):
                part.append(own)
        elif source.photos:
            if len(source.photos) < 2:
                raise SettingError(f"{source.name.path} holds one photo; give two or more, or test_data.")
            kept = [photo for number, photo in enumerate(source.photos) if number % 10]
            parts.training.append(replace(source, photos=kept))
            parts.validation.append(replace(source, photos=source.photos[::10]))
        else:
            parts.training.append(source)
    return parts if parts.validation else parts._replace(validation=list(sources))


def _by_scene(source: Source) -> list[Source]:
    """(training, validation, promotion)."""
    scenes = set(source.scenes.values())
    if len(scenes) < FEWEST:
        names = ", ".join(sorted(scene or "names of numbers only" for scene in scenes))
        raise SettingError(
            f"{source.name.path} has too few scenes to keep some for validation and for a promotion: "
            f"{len(scenes)} of {FEWEST} ({names}). A scene is a sequence's folder, or a file's name without its "
            "number. Give test_data: pairs of other scenes."
        )
    parts = [
        replace(source, pairs=[pair for pair in source.pairs if source.scenes[pair.name] in part])
        for part in map(set, split_scenes(scenes))
    ]
    if not all(part.pairs for part in parts):
        raise DataError(f"{source.name.path}: all pairs of a part are broken. Mend them, or give test_data.")
    return parts


def fingerprint_of(sources: Sequence[Source], ranges: BlurRanges = BlurRanges()) -> str:
    """16 hex digits that change with any image, with the weights, with measured kernels and the law of synthesis."""
    told = [f"{source.name.kind} {source.name.weight:g} {source.fingerprint}" for source in sources]
    told += [f"synthesis {SYNTHESIS}"] * any(not source.pairs for source in sources)
    told += [hashlib.sha256(kernel.array.tobytes()).hexdigest() for kernel in ranges.measured]
    return hashlib.sha256("\n".join(told).encode()).hexdigest()[:16]


def _copies_in_one_scene(source: Source) -> Source:
    """A film and its copies are one scene, so that no split puts them on both sides."""
    if not source.films:
        return source
    first = {Path(path).name: Path(other).name for path, other in first_alike([f.mark for f in source.films]).items()}
    return replace(source, scenes={name: first.get(scene, scene) for name, scene in source.scenes.items()})


def _weighed(text: str, named: str) -> tuple[str, float]:
    place, equals, weight = text.rpartition("=")
    try:
        number = float(weight)
    except ValueError:
        return text, 1.0
    if not equals:
        return text, 1.0
    if not 0 < number < float("inf"):
        raise SettingError(f"{named!r} has the weight {weight}; it must be above 0.")
    return place, number


def _kind_of(folder: Path) -> str:
    """What a folder holds; one that is not there yet is taken for pairs, and complained about when it is opened."""
    if folder.suffix.lower() in FILM_SUFFIXES and folder.is_file():
        return "film"
    if not folder.is_dir():
        return "pairs"
    if sides_of(folder) or sides_of(folder, blur_gamma=True):
        return "pairs"
    if (folder / "sharp").is_dir() or images_in(folder):
        return "photos"
    if not any(folder.iterdir()):
        raise SettingError(f"{folder} is empty. Put pairs (blur/NAME and sharp/NAME) or photos there.")
    raise SettingError(
        f"{folder} holds neither blur/ and sharp/ nor photos. Say what the folders in it are: frames:{folder} or "
        f"photos:{folder}."
    )
