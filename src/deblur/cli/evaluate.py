"""``deblur evaluate``: what models do for images, beside doing nothing and what a user would try first."""

import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from deblur.cli.console import counted, say, show
from deblur.cli.opening import open_named
from deblur.cli.outputs import check_outputs
from deblur.errors import SettingError

if TYPE_CHECKING:
    from deblur.evaluation.evaluation import Evaluation
    from deblur.evaluation.measuring import Distance
    from deblur.inference.model_folder import Model


def evaluate(
    models: tyro.conf.Positional[tuple[str, ...]],
    data: tuple[str, ...],
    scenes: Path | None = None,
    degrade: str | None = None,
    no_references: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
    ssim: Literal["rgb", "y", "matlab"] = "rgb",
    lpips: tuple[Path, ...] = (),
    price: float | None = None,
    memory_gb: float = 2.0,
    json: Path | None = None,
    html: Path | None = None,
    pictures: Path | None = None,
    cache: Path | None = None,
    tracking: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
) -> int:
    """Score models on whole images, restored as users get them.

    Every model is scored with the guard, as users get it, and without it, beside doing nothing and beside what a user
    would try first. Each mean has an interval by scene. PSNR is told twice: as the images come, and after the best
    shift of the whole image, which tells displacement from damage.

    Args:
        models: Model folders, models:/NAME@champion, checkpoints, or bundled.
        data: Folders of pairs, frames:FOLDER, or photos:FOLDER for sharp photographs, which a model should leave alone.
        scenes: A table of NAME,SCENE lines; by default a folder or the stem of a name is the scene.
        degrade: Blur the photographs, such as "noise=5,20 kernel=8,12,17 size=128,256,512": every combination of noise
            (levels of 255), kernel (of a fixed list) and size (px) is a set of its own.
        no_references: Leave out unsharp mask, Polyblur, Wiener and Richardson-Lucy.
        ssim: The convention: rgb is scikit-image's with gaussian weights, the mean of R, G and B; y the same on luma;
            matlab that of the published GoPro tables.
        lpips: Files of LPIPS's published weights (AlexNet, version 0.1): one, or trunk and heads.
        price: Of a GB-second, to tell the cost of 1000 images.
        memory_gb: Of the machine that is paid for.
        json: Write every figure to this file.
        html: Write a report with plots and pictures to this file, which needs nothing else.
        pictures: Write a picture of each image at every stage into this new folder.
        cache: That of a training, where frames and flows of films are; by default the user's cache.
        tracking: Log figures and report to MLflow, and tell the gains on versions that come from there.
    """
    from deblur.data.report_sets import grid_of, open_report_sets
    from deblur.evaluation.evaluation import evaluate as measured
    from deblur.evaluation.report import write_report
    from deblur.evaluation.sheet import check_empty, every_image_into
    from deblur.evaluation.tables import tables_of
    from deblur.evaluation.ways import model_ways, reference_ways
    from deblur.files import write_json

    check_outputs(json, html)
    if memory_gb <= 0 or (price is not None and price < 0):
        raise SettingError(f"--price is {price}, --memory-gb {memory_gb:g}; they must be at least 0, and above 0.")
    if not models:
        raise SettingError("Name at least one model: a folder, models:/NAME@champion, a checkpoint, or bundled.")
    if pictures:
        check_empty(pictures)
    distance = _distance(lpips)
    opened = [(text, open_named(text)) for text in models]
    sets = open_report_sets(data, scenes, cache)
    sets = grid_of(sets, degrade) if degrade else sets
    ways = model_ways(opened, with_unguarded=True) + ([] if no_references else reference_ways())
    draw = partial(every_image_into, pictures, ways=ways) if pictures else None
    with counted(sets) as on_done:
        evaluation = measured(sets, ways, convention=ssim, lpips=distance, on_done=on_done, on_images=draw)
    show(tables_of(evaluation, price, memory_gb))
    with tempfile.TemporaryDirectory() as scratch:
        report, figures = html or Path(scratch) / "evaluation.html", json or Path(scratch) / "evaluation.json"
        if json or tracking:
            write_json(figures, evaluation.as_json())
        if html or tracking:
            write_report(report, evaluation, sets, ways, price=price, memory_gb=memory_gb)
        if tracking:
            say(_tracked(evaluation, [model for _, model in opened], [report, figures]))
    return 0


def _distance(files: Sequence[Path]) -> "Distance | None":
    if not files:
        return None
    from deblur.losses.lpips import load_lpips, lpips_distance

    return partial(lpips_distance, load_lpips(files))


def _tracked(evaluation: "Evaluation", models: "Sequence[Model]", files: Sequence[Path]) -> str:
    """Logs; returns what to tell."""
    from deblur.evaluation.card import with_figures
    from deblur.registry.benchmarks import log_benchmark
    from deblur.registry.descriptions import describe

    names = ", ".join(model.info.label for model in models)
    run_id = log_benchmark(f"evaluate {names}", evaluation.figures, files)
    told = evaluation.as_json()
    for model in models:
        if model.info.version:
            describe(with_figures(model.info, told))
    return f"logged to MLflow, run {run_id}"
