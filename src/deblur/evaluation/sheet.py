"""What several models make of the same pictures, side by side at their own pixels."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from PIL import Image

from deblur.evaluation.panels import side_by_side, stacked
from deblur.images import Pixels, Rgb8, centre_crop, from_rgb8, to_rgb8
from deblur.metrics import psnr_db
from deblur.synthesis.frozen import degraded, frozen_kernels

Restore = Callable[[Pixels], Pixels]
"""``(H, W, 3)`` float32 in ``[0, 1]`` -> the same."""


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
    shown = {f"{name}, sharp": image, damage: before} if damage else {f"{name}, before": image}
    shown |= {model: to_rgb8(restore(from_rgb8(before))) for model, restore in models.items()}
    captions = list(shown)
    if damage:
        captions[1:] = [f"{caption}: {psnr_db(shown[caption], image):.2f} dB" for caption in captions[1:]]
    return Row([centre_crop(picture, crop_px) for picture in shown.values()], captions)


def drawn(rows: Sequence[Row]) -> Image.Image:
    """The rows below each other."""
    return stacked([side_by_side(row.crops, row.captions) for row in rows])


def damage_told(kernel: int | None, noise_levels: float) -> str:
    """What was done to a sharp picture, such as "kernel 7 (shake, 8 px), noise 2"; empty where nothing was."""
    blur = "" if kernel is None else f"kernel {kernel} ({list(frozen_kernels())[kernel]})"
    noise = f"noise {noise_levels:g}" if noise_levels else ""
    return ", ".join(filter(None, (blur, noise)))
