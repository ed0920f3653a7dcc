"""A way to restore an image that is scored: a model on the shipped path, or what a user would try first."""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from deblur.errors import SettingError
from deblur.evaluation.references import REFERENCES
from deblur.evaluation.seams import drift_levels, seam_ratio
from deblur.images import Photo, Pixels, Rgb8, centre_crop, from_rgb8, put_planes, to_rgb8
from deblur.inference.engine import Planes
from deblur.inference.guard import Finish, Guard
from deblur.inference.model_folder import Model
from deblur.inference.photo import restore_photo
from deblur.inference.restorer import Restorer
from deblur.inference.tiling import Tiling
from deblur.metrics import psnr_db

WHOLE_SIDE_PX = 1600
"""What an image has at most a side when it is restored as one tile, to compare: memory grows with it."""
UNGUARDED = ", guard off"
Restore = Callable[[Rgb8], tuple[Rgb8, float]]
"""``(H, W, 3)`` uint8 -> (a restored copy, seconds)."""


@dataclass(frozen=True)
class Way:
    """A named way."""

    name: str
    restore: Restore
    model: Model | None = None


@dataclass(frozen=True)
class Tiled:
    """One image restored in tiles, against the same restored as one tile.

    Args:
        tiles: that it was cut into; with one there is nothing to compare.
        psnr_db: of one against the other; 100 where they are equal.
        seam_ratio: 1 where nothing can be seen.
        drift_levels: the largest mean difference of a tile's colour, of 255.
    """

    tiles: int
    psnr_db: float
    seam_ratio: float
    drift_levels: float


def model_ways(models: Sequence[tuple[str, Model]], *, with_unguarded: bool = False) -> list[Way]:
    """Models, as they were named and opened, as a photo goes through them everywhere: fitted tiles, guarded, 8 bit out.

    Equal names tell their places. ``with_unguarded`` adds what each gives without the guard, behind all models; its
    network runs once.

    Raises:
        SettingError: a model is named twice.
    """
    labels = [model.info.label for _, model in models]
    places = [text if text.startswith("models:/") else "/".join(Path(text).parts[-2:]) for text, _ in models]
    short, near = Counter(labels), Counter(zip(labels, places, strict=True))
    ways, unguarded = [], []
    for label, place, (text, model) in zip(labels, places, models, strict=True):
        told = place if near[label, place] == 1 else text
        name = label if short[label] == 1 else f"{label} ({told})"
        both = _Both(model)
        ways.append(Way(name, both.guarded if with_unguarded else through(model), model))
        unguarded.append(Way(f"{name}{UNGUARDED}", both.unguarded))
    if twice := [name for name, count in Counter(way.name for way in ways).items() if count > 1]:
        raise SettingError(f"{', '.join(twice)} is named twice. Name each model once.")
    return ways + unguarded * with_unguarded


def reference_ways() -> list[Way]:
    """What a user would try first."""
    return [Way(name, timed(restore)) for name, restore in REFERENCES.items()]


def tiled_against_whole(model: Model, blurry: Rgb8) -> Tiled:
    """What the model's tiles change in an image, of which at most 1600 px a side are looked at.

    Of a network that takes no larger tiles, one tile's worth.
    """
    rule = model.restorer.tiling.rule
    part = centre_crop(blurry, min(WHOLE_SIDE_PX, rule.max_side_px or WHOLE_SIDE_PX))
    one_tile = Tiling(rule.fit(max(part.shape[:2])), 0, rule)
    tiled, whole = part.copy(), part.copy()
    plan = model.restorer.in_place(tiled)
    if len(plan) > 1:
        Restorer(model.restorer.engine, one_tile).in_place(whole)
    else:
        whole = tiled
    figures = psnr_db(tiled, whole), seam_ratio(tiled, whole, plan), drift_levels(tiled, whole, plan)
    return Tiled(len(plan), *figures)


def through(model: Model) -> Restore:
    """A model as users get it: guarded."""

    def restore(blurry: Rgb8) -> tuple[Rgb8, float]:
        photo, outcome = restore_photo(model, Photo(blurry.copy()))
        return photo.rgb8, outcome.seconds["restore"]

    return restore


class _Both:
    """A model's results with and without the guard, of one run of the network: the second asks for the same image."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._last: tuple[Rgb8, tuple[Rgb8, float], tuple[Rgb8, float]] | None = None

    def guarded(self, blurry: Rgb8) -> tuple[Rgb8, float]:
        """What users get."""
        return self._of(blurry)[1]

    def unguarded(self, blurry: Rgb8) -> tuple[Rgb8, float]:
        """What the network gives; what is no number is white."""
        return self._of(blurry)[2]

    def _of(self, blurry: Rgb8) -> tuple[Rgb8, tuple[Rgb8, float], tuple[Rgb8, float]]:
        if self._last is None or self._last[0] is not blurry:
            guarded = blurry.copy()
            both = KeepingBoth(guarded)
            started = time.perf_counter()
            self._model.restorer.in_place(guarded, guard=both)
            seconds = time.perf_counter() - started
            self._last = blurry, (guarded, seconds), (both.unguarded, seconds)
        return self._last


class KeepingBoth(Guard):
    """A guard that also keeps what comes in; what is not a number becomes white."""

    def __init__(self, rgb: Rgb8) -> None:
        super().__init__(rgb)
        self.unguarded = np.empty_like(rgb)

    def before(self, finish: Finish) -> Finish:
        take = super().before(finish)

        def keep(rows: slice, restored: Planes) -> None:
            put_planes(self.unguarded[rows], restored)
            take(rows, restored)

        return keep


def timed(reference: Callable[[Pixels], Pixels]) -> Restore:
    """A reference, ``(H, W, 3)`` float32 in ``[0, 1]`` -> the same, on 8 bit."""

    def restore(blurry: Rgb8) -> tuple[Rgb8, float]:
        started = time.perf_counter()
        restored = to_rgb8(reference(from_rgb8(blurry)))
        return restored, time.perf_counter() - started

    return restore
