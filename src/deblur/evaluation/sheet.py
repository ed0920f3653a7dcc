"""What several models make of the same pictures, side by side: a sheet, or a file for every image that is scored."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from PIL import Image

from deblur.data.report_sets import PhotoPair, ReportSet
from deblur.errors import SettingError
from deblur.evaluation.measuring import OnImage
from deblur.evaluation.panels import save, side_by_side, stacked
from deblur.evaluation.ways import Restore, Way
from deblur.images import Rgb8, centre_crop
from deblur.metrics import psnr_db
from deblur.synthesis.frozen import degraded, frozen_kernels


@dataclass(frozen=True)
class Row:
    """One picture: as it came, degraded if that was asked for, and each model's result, with a caption each."""

    crops: Sequence[Rgb8]
    captions: Sequence[str]


def compared(
    name: str,
    image: Rgb8,
    models: Mapping[str, Restore],
    kernel: int | None = None,
    noise_levels: float = 0.0,
    crop_px: int = 360,
) -> Row:
    """Restore a whole picture with every model, and cut out its middle.

    Without ``kernel`` and noise the picture is restored as it is, and there is no reference. With one of them it is
    taken for sharp: it is degraded first (:func:`~deblur.synthesis.frozen.degraded`), and captions tell the PSNR of
    the whole picture.
    """
    before = degraded(image, kernel, noise_levels)
    damage = damage_told(kernel, noise_levels)
    stages = [(f"{name}, sharp", image), (damage, before)] if damage else [(f"{name}, before", before)]
    stages += [(model, restore(before)[0]) for model, restore in models.items()]
    captions = _captions(stages, ": ") if damage else [stage for stage, _ in stages]
    return Row([centre_crop(picture, crop_px) for _, picture in stages], captions)


def drawn(rows: Sequence[Row]) -> Image.Image:
    """The rows below each other."""
    return stacked([side_by_side(row.crops, row.captions) for row in rows])


def damage_told(kernel: int | None, noise_levels: float) -> str:
    """What was done to a sharp picture, such as "kernel 7 (shake, 8 px), noise 2"; empty where nothing was."""
    blur = "" if kernel is None else f"kernel {kernel} ({list(frozen_kernels())[kernel]})"
    noise = f"noise {noise_levels:g}" if noise_levels else ""
    return ", ".join(filter(None, (blur, noise)))


def check_empty(folder: Path) -> None:
    """Refuse a folder that holds something: nothing is written over.

    Raises:
        SettingError: it is a file, or not empty.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise SettingError(f"{folder} is there already and not an empty folder. Name a new one for the pictures.")


def every_image_into(folder: Path, report_set: ReportSet, ways: Sequence[Way]) -> OnImage:
    """What writes ``folder/SET/NUMBER NAME.png`` for each image of a set: every stage from the sharp photograph on, and
    every way."""
    where = folder / _plain(report_set.name)

    def write(index: int, blurry: Rgb8, restored: Sequence[Rgb8], sharp: Rgb8) -> None:
        pair = report_set.pairs[index]
        stages = [("as it was", sharp)]
        if isinstance(pair, PhotoPair) and pair.kernel is not None and pair.noise_levels:
            stages.append(("blurred", replace(pair, noise_levels=0.0).load()[0]))
        stages += [("before", blurry), *zip((way.name for way in ways), restored, strict=True)]
        where.mkdir(parents=True, exist_ok=True)
        picture = side_by_side([image for _, image in stages], _captions(stages, ", "))
        save(picture, where / f"{index:04d} {_plain(pair.name)}.png")

    return write


def _captions(stages: Sequence[tuple[str, Rgb8]], between: str) -> list[str]:
    """The first is the reference; the PSNR of each of the others stands behind its name."""
    (first, sharp), *others = stages
    return [first, *(f"{name}{between}{psnr_db(image, sharp):.2f} dB" for name, image in others)]


def _plain(name: str) -> str:
    """A file's name of any name."""
    return "".join(c if c.isalnum() or c in " .,-_=" else "_" for c in name)[:120].strip(". ") or "_"
