"""A training in a process of its own, to be killed; ``step`` tells from outside how far it came."""

import multiprocessing
from ctypes import c_int
from pathlib import Path

from deblur.training.progress import Progress
from deblur.training.recipe import run
from deblur.training.settings import TrainSettings
from tests.quick_export import quick_exports


def train(pairs: Path, output: Path, workers: int, step: c_int) -> None:
    """A dozen short epochs with a save after every step, then export and verification."""
    multiprocessing.set_start_method("fork", force=True)  # as in a program of its own: loaders die with their trainer
    settings = TrainSettings.of_preset("small").but(
        train_data=(str(pairs),),
        test_data=(str(pairs),),
        output_dir=output,
        doctor="off",  # the same pairs on both sides
        width=8,
        patch_size=32,
        batch_size=4,
        epoch_images=40,
        num_epochs=12,
        val_images=1,
        tile_size=128,
        tile_overlap=32,
        learning_rate=1e-3,
        precision="auto",
        accumulate=2,
        save_minutes=0.0,
        num_workers=workers,
        tracking="off",
    )
    seen = [0]

    def on_images(images: int) -> None:
        seen[0] += images
        step.value = seen[0] // settings.schedule.batch_size

    with quick_exports():
        run(settings.resolved(), progress=Progress(on_images=on_images))
