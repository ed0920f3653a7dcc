"""Models and references on the sets that figures are reported on: everything measured, and what it says together."""

import math
import os
import platform
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

from deblur import project
from deblur.data.report_sets import ReportSet
from deblur.evaluation.measuring import Distance, Measured, OnImage, measure
from deblur.evaluation.summary import Bins, Difference, Kept, Summary, bins, difference, kept, summary, worst
from deblur.evaluation.ways import Tiled, Way, tiled_against_whole
from deblur.inference.engine import precision_of
from deblur.metrics import SsimConvention

FORMAT = 1
CONVENTIONS: dict[SsimConvention, str] = {
    "rgb": "scikit-image, gaussian weights, sigma 1.5, data range 255, mean of R, G and B",
    "y": "scikit-image, gaussian weights, sigma 1.5, data range 255, Y of BT.601 (16 to 235)",
    "matlab": "MATLAB's ssim of the colour image as a volume, as evaluate_GOPRO_HIDE.m computes it",
}


@dataclass(frozen=True)
class SetFacts:
    """What a set is: its fingerprint, images and scenes, and whether they are sharp photographs."""

    name: str
    fingerprint: str
    images: int
    scenes: int
    sharp: bool


@dataclass(frozen=True)
class WayFacts:
    """What restores: a model with the sha256 of its file, or a reference, which has none."""

    name: str
    sha256: str | None
    precision: str | None


@dataclass(frozen=True)
class TiledFacts:
    """What a model's tiles change in the largest image of a set."""

    set: str
    way: str
    name: str
    tiled: Tiled


@dataclass(frozen=True)
class Evaluation:
    """Everything measured, in the order of sets, images and ways. What is said of it is computed from ``images``."""

    sets: list[SetFacts]
    ways: list[WayFacts]
    images: list[Measured]
    tiled: list[TiledFacts]
    convention: SsimConvention
    machine: dict[str, Any]

    @property
    def models(self) -> list[str]:
        """The ways that are models as users get them."""
        return [way.name for way in self.ways if way.sha256]

    def rows(self, set_name: str | None, way: str) -> list[Measured]:
        """Of one way on one set, or on all sets of pairs."""
        pairs = {facts.name for facts in self.sets if not facts.sharp}
        return [row for row in self.images if row.way == way and row.set in ({set_name} if set_name else pairs)]

    @cached_property
    def summaries(self) -> list[Summary]:
        """Each way on each set of pairs on which something can be gained."""
        found = (summary(self.rows(each.name, way.name)) for each in self._pair_sets for way in self.ways)
        return [each for each in found if each]

    @cached_property
    def kept(self) -> list[Kept]:
        """Each way on each set of sharp photographs."""
        sharp = [each for each in self.sets if each.sharp]
        return [kept(self.rows(each.name, way.name)) for each in sharp for way in self.ways]

    @cached_property
    def differences(self) -> list[Difference]:
        """The first model against each of the others, on each set of pairs."""
        found = (
            difference(self.rows(each.name, self.models[0]), self.rows(each.name, other))
            for each in self._pair_sets
            for other in self.models[1:]
        )
        return [each for each in found if each]

    @cached_property
    def bins(self) -> list[Bins]:
        """Each model's gains by blur strength, size and scene, over all sets of pairs."""
        found = [self.rows(None, model) for model in self.models]
        return [each for rows in found if any(row.can_gain for row in rows) for each in bins(rows)]

    def worst(self, way: str) -> list[Measured]:
        """The ten pairs of all sets that a way gains least on."""
        return worst(self.rows(None, way))

    @property
    def _pair_sets(self) -> list[SetFacts]:
        return [each for each in self.sets if not each.sharp]

    @property
    def figures(self) -> dict[str, Any]:
        """The machine, and by set and way what was measured: for a tracker, which takes plain numbers."""
        found: dict[str, Any] = {}
        for each in self.summaries:
            gains = {"gain_db": each.gain_db.mean, "gain_low_db": each.gain_db.low, "gain_high_db": each.gain_db.high}
            plain = {key: value for key, value in _flat(each).items() if isinstance(value, float)}
            found.setdefault(each.set, {})[each.way] = plain | gains
        for one in self.kept:
            found.setdefault(one.set, {})[one.way] = {"psnr_db": one.psnr_db, "least_psnr_db": one.least_psnr_db}
        told = " ".join(f"{each.name} {each.fingerprint}" for each in self.sets)
        return {**self.machine, "sets": told, **_finite(found)}

    def as_json(self) -> dict[str, Any]:
        """Sets, ways, one flat entry an image and way, and what they say together; infinite bounds are null."""
        told = {
            "format": FORMAT,
            "machine": self.machine,
            "ssim": f"{self.convention}: {CONVENTIONS[self.convention]}",
            "sets": [asdict(each) for each in self.sets],
            "ways": [asdict(each) for each in self.ways],
            "images": [_flat(row) for row in self.images],
            "summaries": [_flat(each) for each in self.summaries],
            "sharp_photographs": [asdict(each) for each in self.kept],
            "differences": [asdict(each) for each in self.differences],
            "bins": [asdict(each) for each in self.bins],
            "worst": {way.name: [_flat(row) for row in self.worst(way.name)] for way in self.ways},
            "tiled": [asdict(each) for each in self.tiled],
        }
        return dict(_finite(told))


OnPart = Callable[[ReportSet, int], None]
"""Told each image's number when it is done."""


def evaluate(
    sets: Sequence[ReportSet],
    ways: Sequence[Way],
    *,
    convention: SsimConvention = "rgb",
    lpips: Distance | None = None,
    on_done: OnPart = lambda report_set, number: None,
    on_images: Callable[[ReportSet], OnImage] | None = None,
) -> Evaluation:
    """Restore every image of every set in every way, models first, then references, and score it.

    ``convention`` is that of SSIM; ``on_images`` gives what is told the pictures of a set.
    """
    images: list[Measured] = []
    tiled: list[TiledFacts] = []
    for each in sets:
        told = on_images(each) if on_images else lambda index, blurry, restored, sharp: None
        measured = measure(each, ways, convention=convention, lpips=lpips, on_image=told)
        by_image = []
        for number, rows in enumerate(measured, 1):
            by_image.append(rows)
            on_done(each, number)
        images += [row for rows in by_image for row in rows]
        tiled += _tiled(each, ways, [rows[0] for rows in by_image])
    facts = [SetFacts(s.name, s.fingerprint, len(s.pairs), len(set(s.scenes)), s.sharp) for s in sets]
    return Evaluation(facts, [_facts_of(way) for way in ways], images, tiled, convention, machine_facts())


def _tiled(report_set: ReportSet, ways: Sequence[Way], rows: Sequence[Measured]) -> Iterator[TiledFacts]:
    largest = max(range(len(rows)), key=lambda index: rows[index].megapixels)
    blurry, _ = report_set.pairs[largest].load()
    for way in ways:
        if way.model:
            yield TiledFacts(report_set.name, way.name, rows[largest].name, tiled_against_whole(way.model, blurry))


def _facts_of(way: Way) -> WayFacts:
    engine = way.model.restorer.engine if way.model else None
    return WayFacts(way.name, way.model.info.sha256 if way.model else None, precision_of(engine) if engine else None)


def machine_facts() -> dict[str, Any]:
    """Where figures were measured, and with which code."""
    return {
        "processor": project.processor(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        **project.git_tags(),
    }


def _flat(row: Measured | Summary) -> dict[str, Any]:
    """One level of keys: those of the restored image, and of its input with ``_input``."""
    about = asdict(row)
    restored, blurry, _ = about.pop("restored"), about.pop("blurry"), about.pop("origin", None)
    return about | restored | {_input_key(key): value for key, value in blurry.items()}


def _input_key(key: str) -> str:
    """``psnr_db`` -> ``psnr_input_db``, ``ssim`` -> ``ssim_input``: the unit stays last."""
    stem, underscore, unit = key.rpartition("_")
    return f"{stem}_input_{unit}" if underscore and unit in ("db", "px") else f"{key}_input"


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
