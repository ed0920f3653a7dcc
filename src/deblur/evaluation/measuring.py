"""Whole images restored in several ways and scored, each beside doing nothing."""

import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple, dataclass
from statistics import fmean
from typing import Any

from deblur.data.report_sets import ReportSet
from deblur.errors import DataError
from deblur.evaluation.alignment import Aligned, align
from deblur.evaluation.blur_strength import blur_sigma_px
from deblur.evaluation.scores import NOTHING_TO_GAIN_DB
from deblur.evaluation.ways import Way
from deblur.images import Rgb8
from deblur.metrics import SsimConvention, gradient_ratio, ms_ssim, psnr_db, ssim

MOST_SHIFT_PX, WEAK_BLUR_DB = 6, 30.0
Distance = Callable[[Rgb8, Rgb8], float]
"""Of an image from its reference: LPIPS."""


@dataclass(frozen=True)
class Figures:
    """An image against its sharp reference, both in 8 bit.

    Args:
        psnr_db: as it comes.
        ssim: in the evaluation's convention.
        ms_ssim: over as many scales as fit.
        gradient: mean gradient over the reference's; below 1 it is softer.
        shifted_psnr_db: after the best global shift, of the pixels inside for every allowed one; None: too small, or a
            sharp photograph, which has no other place.
        shift_px: how far that was.
        lpips: None: nobody named its weights.
    """

    psnr_db: float
    ssim: float
    ms_ssim: float
    gradient: float
    shifted_psnr_db: float | None
    shift_px: float | None
    lpips: float | None


@dataclass(frozen=True)
class Measured:
    """One image of one set, restored in one way, beside its blurry input."""

    set: str
    way: str
    name: str
    scene: str
    origin: str
    width_px: int
    height_px: int
    blur_px: float
    restored: Figures
    blurry: Figures
    seconds: float

    @property
    def place(self) -> tuple[str, str]:
        """Its scene, wherever that is met again."""
        return self.origin, self.scene

    @property
    def gain_db(self) -> float:
        """PSNR over the input's, as it comes."""
        return self.restored.psnr_db - self.blurry.psnr_db

    @property
    def shifted_gain_db(self) -> float | None:
        """The same, both after their best global shift."""
        return minus(self.restored.shifted_psnr_db, self.blurry.shifted_psnr_db)

    @property
    def can_gain(self) -> bool:
        """Whether the input is far enough from the reference to become better."""
        return self.blurry.psnr_db < NOTHING_TO_GAIN_DB

    @property
    def is_weak(self) -> bool:
        """Whether the blur is: the input is nearly sharp, and easily harmed."""
        return self.can_gain and self.blurry.psnr_db >= WEAK_BLUR_DB

    @property
    def megapixels(self) -> float:
        """Of the image."""
        return self.width_px * self.height_px / 1e6


def minus(one: float | None, other: float | None) -> float | None:
    """``one - other``; None where one of them is not known."""
    return None if one is None or other is None else one - other


def mean_of(found: Sequence[Figures]) -> Figures:
    """Field by field; None where an image has none."""
    columns = zip(*map(astuple, found), strict=True)
    means: list[Any] = [None if None in column else fmean(column) for column in columns]
    return Figures(*means)


OnImage = Callable[[int, Rgb8, Sequence[Rgb8], Rgb8], None]
"""Told each image when it has been restored in all ways: its number, blurry, restored (one a way) and sharp."""


def measure(
    report_set: ReportSet,
    ways: Sequence[Way],
    *,
    convention: SsimConvention = "rgb",
    lpips: Distance | None = None,
    on_image: OnImage = lambda index, blurry, restored, sharp: None,
) -> Iterator[list[Measured]]:
    """For each image in turn, its figures in every way. Ways take turns in going first and, back and forth, behind each
    other, so that none has all the warm caches; they are timed alone, and scored side by side.
    """
    with ThreadPoolExecutor() as pool:
        for index, (pair, scene) in enumerate(zip(report_set.pairs, report_set.scenes, strict=True)):
            blurry, sharp = pair.load()
            order = [(index + turn) % len(ways) for turn in range(len(ways))][:: -1 if index // len(ways) % 2 else 1]
            by_way = {way: ways[way].restore(blurry) for way in order}
            restored = [by_way[way] for way in range(len(ways))]

            def figures(image: Rgb8, sharp: Rgb8 = sharp) -> Figures:
                return _figures(image, sharp, convention, lpips, shifted=not report_set.sharp)

            before, *after = pool.map(figures, [blurry, *(image for image, _ in restored)])
            on_image(index, blurry, [image for image, _ in restored], sharp)
            height, width = sharp.shape[:2]
            about = (pair.name, scene, report_set.origin, width, height, blur_sigma_px(blurry, sharp))
            yield [
                Measured(report_set.name, way.name, *about, found, before, seconds)
                for way, found, (_, seconds) in zip(ways, after, restored, strict=True)
            ]


def _figures(image: Rgb8, sharp: Rgb8, convention: SsimConvention, lpips: Distance | None, *, shifted: bool) -> Figures:
    place = _place(image, sharp) if shifted else None
    return Figures(
        psnr_db(image, sharp),
        ssim(image, sharp, convention),
        ms_ssim(image, sharp),
        gradient_ratio(image, sharp),
        place.psnr_db if place else None,
        math.hypot(place.dy_px, place.dx_px) if place else None,
        lpips(image, sharp) if lpips else None,
    )


def _place(image: Rgb8, sharp: Rgb8) -> Aligned | None:
    try:
        return align(image, sharp, MOST_SHIFT_PX)
    except DataError:  # too small
        return None
