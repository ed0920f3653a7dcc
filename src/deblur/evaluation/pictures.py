"""A picture of every image that is scored: each stage from the sharp photograph on, and every way beside each other."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from deblur.data.report_sets import PhotoPair, ReportSet
from deblur.errors import SettingError
from deblur.evaluation.measuring import OnImage
from deblur.evaluation.panels import side_by_side
from deblur.evaluation.ways import Way
from deblur.images import Rgb8
from deblur.metrics import psnr_db


def check_empty(folder: Path) -> None:
    """Refuse a folder that holds something: nothing is written over.

    Raises:
        SettingError: it is a file, or not empty.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise SettingError(f"{folder} is there already and not an empty folder. Name a new one for the pictures.")


def into(folder: Path, report_set: ReportSet, ways: Sequence[Way]) -> OnImage:
    """What writes ``folder/SET/NUMBER NAME.png`` for each image of a set."""
    where = folder / _plain(report_set.name)

    def write(index: int, blurry: Rgb8, restored: Sequence[Rgb8], sharp: Rgb8) -> None:
        pair = report_set.pairs[index]
        stages = [("as it was", sharp)]
        if isinstance(pair, PhotoPair) and pair.kernel is not None and pair.noise_levels:
            stages.append(("blurred", replace(pair, noise_levels=0.0).load()[0]))
        stages.append(("before", blurry))
        stages += [(way.name, image) for way, image in zip(ways, restored, strict=True)]
        captions = [stages[0][0], *(f"{name}, {psnr_db(image, sharp):.2f} dB" for name, image in stages[1:])]
        where.mkdir(parents=True, exist_ok=True)
        side_by_side([image for _, image in stages], captions).save(where / f"{index:04d} {_plain(pair.name)}.png")

    return write


def _plain(name: str) -> str:
    """A file's name of any name."""
    return "".join(c if c.isalnum() or c in " .,-_=" else "_" for c in name)[:120].strip(". ") or "_"
