"""``deblur compare``: models beside each other, on a sheet or on a page that answers while sliders move."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from deblur.cli.console import console, say
from deblur.cli.opening import open_named
from deblur.cli.outputs import check_new, check_outputs
from deblur.errors import SettingError
from deblur.files import pasteable

if TYPE_CHECKING:
    from deblur.data.photos import SharpPhoto
    from deblur.evaluation.ways import Restore

LEAST_CROP_PX, SHEET_CROP_PX, LIVE_CROP_PX = 16, 360, 512
LIVE_KERNEL = 9
"""What the installed photographs, which are sharp, are shown with."""


def compare(
    images: tyro.conf.Positional[tuple[Path, ...]] = (),
    models: tuple[str, ...] = (),
    kernel: int | None = None,
    noise: float = 0.0,
    crop: int | None = None,
    out: Path = Path("comparison.png"),
    overwrite: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
    live: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
    port: int = 7072,
) -> int:
    """Show what several models make of the same photos, side by side.

    Blurred photos are restored as they are. To sharp ones, --kernel and --noise give a blur that is known.

    Args:
        images: Photos, a row each. --live needs none: it then takes photographs that came with the dependencies.
        models: Model folders, models:/NAME@champion, checkpoints, bundled (the model of this package), or unsharp and
            polyblur, which need no model. By default the model that restore takes.
        kernel: Blur the photos with this frozen kernel first, 0 to 23 (documentation/kernels.png).
        noise: Add noise of this standard deviation to the photos, in levels of 255, after the blur of --kernel.
        crop: Side of the square that is shown, px. The sheet shows the middle of the restored photo, 360 px by default;
            the page restores only what it shows, 512 px by default.
        out: The picture to write, a .png or .jpg.
        overwrite: Replace the picture if it exists.
        live: Serve a page with sliders on this machine, instead of writing a picture.
        port: Port of the page of --live; 0 takes a free one.
    """
    from rich.progress import track

    from deblur.data.photos import SharpPhoto
    from deblur.evaluation.panels import save
    from deblur.evaluation.sheet import compared, drawn
    from deblur.images import read_rgb8
    from deblur.synthesis.frozen import frozen_kernel

    if not 0 <= noise <= 255:
        raise SettingError(f"--noise is {noise:g}; allowed are 0 to 255 levels.")
    if crop is not None and crop < LEAST_CROP_PX:
        raise SettingError(f"--crop is {crop}; it must be at least {LEAST_CROP_PX} px.")
    if kernel is not None:
        frozen_kernel(kernel)
    if not live:
        if not images:
            raise SettingError("Name the photos to compare on, or add --live.")
        check_outputs(picture=out)
        check_new(out, overwrite, images)
    photos = [SharpPhoto(path.name, read_rgb8(path)) for path in images]
    restorers = dict(map(_named, models or (None,)))
    if live:
        return _serve(photos, restorers, kernel, noise, crop or LIVE_CROP_PX, port)
    rows = []
    for photo in track(photos, "compare", console=console, transient=True, disable=not console.is_terminal):
        rows.append(compared(photo.name, photo.pixels, restorers, kernel, noise, crop or SHEET_CROP_PX))
        say("; ".join(rows[-1].captions))
    save(drawn(rows), out)
    say(pasteable(out))
    return 0


def _named(model: str | None) -> "tuple[str, Restore]":
    """A model as it is called in captions, and what restores with it."""
    from deblur.evaluation.references import polyblur, unsharp
    from deblur.evaluation.ways import through, timed

    if model in ("unsharp", "polyblur"):
        return model, timed({"unsharp": unsharp, "polyblur": polyblur}[model])
    opened = open_named(model)
    return model or opened.info.label, through(opened)


def _serve(
    photos: "list[SharpPhoto]", models: "Mapping[str, Restore]", kernel: int | None, noise: float, crop: int, port: int
) -> int:
    from deblur.cli.serve import run
    from deblur.data.photos import installed_photos
    from deblur.evaluation.live import create_app

    if not photos:
        photos = installed_photos()
        kernel = LIVE_KERNEL if kernel is None and not noise else kernel
    return run(create_app(photos, models, kernel, noise, crop), "127.0.0.1", port, "compare models on {url}")
