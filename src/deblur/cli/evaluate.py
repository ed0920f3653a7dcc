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
        scenes: File with lines NAME,SCENE, which say what scene an image is of; by default an image's folder, or its
            name without the number, is its scene.
        degrade: Blur sharp photographs first. "noise=5,20 kernel=8,12 size=128,256" makes eight sets, one for each
            combination of noise (in levels of 255), kernel (0 to 23, documentation/kernels.png) and size (px).
        no_references: Leave out unsharp mask, Polyblur, Wiener and Richardson-Lucy.
        ssim: How SSIM is computed: rgb as scikit-image does, with gaussian weights, the mean of R, G and B; y the same
            on luma; matlab as in the published GoPro tables.
        lpips: Score with LPIPS, too, from these files of its published weights (AlexNet, version 0.1): one with all, or
            one of the trunk and one of the heads.
        price: What one second with one GB of memory costs, in any currency; the tables then tell the cost of 1000
            images.
        memory_gb: Memory of the machine that is paid for, in GB; it counts with --price alone.
        json: Write every figure to this file.
        html: Write a report with plots and pictures to this one file.
        pictures: Write a picture of each image, blurry, restored and sharp, into this new folder.
        cache: Folder with the frames and flows of films that a training kept (its --cache); by default the user's
            cache.
        tracking: Log figures and report to MLflow, too; registered versions get the figures in their description.
    """
    from deblur.data.report_sets import grid_of, open_report_sets
    from deblur.evaluation.evaluation import evaluate as measured
    from deblur.evaluation.report import write_report
    from deblur.evaluation.seen import seen_by
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
    seen = [
        f"{', '.join(found)} trained {model.info.label} or selected its checkpoint: figures on that say too much."
        for _, model in opened
        if (found := [what for each in sets if (what := seen_by(model.info, each))])
    ]
    show(seen)
    with tempfile.TemporaryDirectory() as scratch:
        report, figures = html or Path(scratch) / "evaluation.html", json or Path(scratch) / "evaluation.json"
        if json or tracking:
            write_json(figures, evaluation.as_json())
        if html or tracking:
            write_report(report, evaluation, sets, ways, price=price, memory_gb=memory_gb, warnings=seen)
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
