"""``python -m deblur.benchmarks.weights``: what a model does for photos that it never saw, and to those that are sharp.

The installed photographs under camera shake of growing length, the same ones as they are, and any folders of pairs.
"""

from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np
import tyro
from PIL import Image
from rich.console import Console
from rich.table import Table

from deblur.data.pairs import find_pairs
from deblur.data.photos import HELD_BACK, installed_photos, shaken
from deblur.data.scenes import scene_of
from deblur.errors import ModelError
from deblur.evaluation.alignment import align
from deblur.evaluation.panels import side_by_side, stacked
from deblur.evaluation.references import REFERENCES
from deblur.evaluation.scores import EvaluationSet, Scored, Scores
from deblur.evaluation.statistics import bootstrap
from deblur.files import write_json
from deblur.images import Pixels, centre_crop, from_rgb8, to_rgb8
from deblur.inference.locating import bundled_model
from deblur.inference.model_folder import open_model
from deblur.metrics import psnr_db

SHAKES_PX = (4.0, 8.0, 12.0, 16.0, 24.0)
SHAKE_SEED = 5
"""Of no training."""
PICTURED, PICTURED_SHAKE_PX, PICTURED_SIDE_PX = ("astronaut", "grace_hopper", "china"), 12.0, 360


def main(
    pairs: tyro.conf.Positional[tuple[Path, ...]] = (),
    model: Path | None = None,
    json_file: Path | None = None,
    picture: Path | None = None,
) -> None:
    """Measure and print.

    Args:
        pairs: Folders of pairs.
        model: A model folder; by default the one that comes with the package.
        json_file: Write every figure to this file, too.
        picture: Draw a few photographs before, after and as they were into this file.
    """
    folder = model or bundled_model()
    if folder is None:
        raise ModelError("No model comes with this installation; name a model folder.")
    restorer = open_model(folder).restorer
    photos = [photo for photo in installed_photos() if photo.name in HELD_BACK]
    panels: list[Image.Image] = []

    def keep_panel(scored: Scored) -> None:
        score = scored.score
        if score.name in PICTURED:
            images = (scored.blurry, scored.restored, scored.sharp)
            parts = [centre_crop(image, PICTURED_SIDE_PX) for image in images]
            captions = [f"before, {score.psnr_input_db:.1f} dB", f"after, {score.psnr_db:.1f} dB", "as it was"]
            panels.append(side_by_side(parts, captions))

    found: dict[str, Scores] = {}
    shifted: dict[str, list[float]] = {}
    for px in SHAKES_PX:
        blurred = [shaken(photo, np.random.default_rng((SHAKE_SEED, i)), px) for i, photo in enumerate(photos)]
        on_image = keep_panel if px == PICTURED_SHAKE_PX else lambda scored: None
        found[f"{len(photos)} photographs, shake of {px:g} px"] = EvaluationSet(blurred).score(restorer, on_image)
    ways: dict[str, Callable[[Pixels], Pixels]] = {"": restorer, **{f", {n}": way for n, way in REFERENCES.items()}}
    for path in pairs:
        pair_set = EvaluationSet(find_pairs(path))
        for way, restore in ways.items():
            gains = shifted[f"{path}{way}"] = []
            found[f"{path}{way}"] = pair_set.score(restore, partial(keep_shifted, gains))
    kept_db = {photo.name: psnr_db(to_rgb8(restorer(from_rgb8(photo.pixels))), photo.pixels) for photo in photos}
    _print(found, shifted, kept_db, Console(highlight=False))
    if json_file:
        images = {name: [asdict(image) for image in scores.images] for name, scores in found.items()}
        write_json(json_file, {"images": images, "gain_after_shift_db": shifted, "sharp_kept_db": kept_db})
    if picture:
        stacked(panels).save(picture, quality=90)


def keep_shifted(gains: list[float], scored: Scored) -> None:
    """Add the PSNR gain in dB, input and output each after their best global shift."""
    gains.append(align(scored.restored, scored.sharp).psnr_db - align(scored.blurry, scored.sharp).psnr_db)


def _print(
    found: dict[str, Scores], shifted: dict[str, list[float]], kept_db: dict[str, float], console: Console
) -> None:
    table = Table("images", "n", "input dB", "restored dB", "gain dB [95 %]", "least", "after one shift", "SSIM")
    for name, scores in found.items():
        scenes = [scene_of(image.name) for image in scores.images]
        gains = [image.psnr_db - image.psnr_input_db for image in scores.images]
        gain = scores.gain_db
        after = str(bootstrap(shifted[name], scenes)) if name in shifted else ""
        decibels = [f"{scores.mean(field):.2f}" for field in ("psnr_input_db", "psnr_db")]
        similar = f"{scores.mean('ssim_input'):.4f} -> {scores.mean('ssim'):.4f}"
        counted = f"{len(gains)} ({gain.groups} {gain.by})"
        table.add_row(name, counted, *decibels, str(gain), f"{min(gains):+.2f}", after, similar)
    console.print(table)
    kept = ", ".join(f"{name} {value:.1f}" for name, value in kept_db.items())
    console.print(f"sharp photographs, restored against themselves, dB: {kept}", soft_wrap=True)


if __name__ == "__main__":
    tyro.cli(main)
