"""``deblur evaluate``: what models do for images, beside doing nothing and what a user would try first."""

from pathlib import Path
from typing import Annotated, Literal

import tyro
from rich.progress import Progress

from deblur.cli.console import console, say
from deblur.cli.named import open_named
from deblur.cli.outputs import check_outputs
from deblur.errors import SettingError


def evaluate(
    models: tyro.conf.Positional[tuple[str, ...]],
    data: tuple[str, ...],
    scenes: Path | None = None,
    degrade: str | None = None,
    references: Annotated[bool, tyro.conf.FlagConversionOff] = True,
    ssim: Literal["rgb", "y", "matlab"] = "rgb",
    lpips: tuple[Path, ...] = (),
    price: float | None = None,
    memory_gb: float = 2.0,
    json: Path | None = None,
    html: Path | None = None,
    pictures: Path | None = None,
    tracking: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
) -> int:
    """Restore whole images through the path that users get, and score them with intervals by scene.

    Every figure stands beside doing nothing and beside what a user would try first, and is told twice: as the images
    come, and after the best shift of the whole image.

    Args:
        models: Model folders, models:/NAME@champion, checkpoints, or bundled.
        data: Folders of pairs, frames:FOLDER, or photos:FOLDER for sharp photographs, which a model should leave alone.
        scenes: A table of NAME,SCENE lines; by default a folder or the stem of a name is the scene.
        degrade: Blur the photographs instead, such as "noise=5,20 kernel=8,12,17 size=128,256,512": every combination
            is a set of its own.
        references: Also unsharp mask, Polyblur, Wiener and Richardson-Lucy.
        ssim: The convention: rgb is scikit-image's with gaussian weights over R, G and B; y the same on luma; matlab
            the published script's on luma.
        lpips: Files of LPIPS's published weights (AlexNet, version 0.1): one, or trunk and heads.
        price: Of a GB-second, to tell the cost of 1000 images.
        memory_gb: Of the machine that is paid for.
        json: Write every figure to this file.
        html: Write a report with plots and pictures, in one file that needs nothing else.
        pictures: Write a before / after / reference picture of every image into this folder.
        tracking: Log figures and files to MLflow, and the gains as tags on versions that come from there.
    """
    from deblur.data.report_sets import open_report_sets
    from deblur.evaluation.evaluation import evaluate as measured
    from deblur.evaluation.tables import tables_of
    from deblur.evaluation.ways import model_ways, reference_ways

    check_outputs(json, html)
    if not models:
        raise SettingError("Name at least one model: a folder, models:/NAME@champion, a checkpoint, or bundled.")
    sets = open_report_sets(data, scenes)
    ways = model_ways([(text, open_named(text)) for text in models]) + (reference_ways() if references else [])
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        tasks = {each.name: progress.add_task(each.name, total=len(each.pairs)) for each in sets}
        evaluation = measured(
            sets,
            ways,
            convention=ssim,
            on_done=lambda report_set, number: progress.update(tasks[report_set.name], completed=number),
        )
    for each in tables_of(evaluation, price, memory_gb):
        if isinstance(each, str):
            say(each)
        else:
            console.print(each)
    return 0
