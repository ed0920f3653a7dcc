"""A training of seconds."""

from pathlib import Path

from deblur.training.settings import TrainSettings


def tiny(output: Path, *sources: str, **changes: object) -> TrainSettings:
    """Two steps of small crops, validated on their own images, kept in ``output`` alone."""
    small = {"width": 8, "patch_size": 32, "batch_size": 2, "epoch_images": 4, "num_epochs": 1, "tile_size": 128}
    alone = {"val_images": 1, "num_workers": 0, "tracking": "off", "doctor": "off", "output_dir": output}
    data = {"train_data": sources, "test_data": sources}
    return TrainSettings().but(**(small | alone | data | changes)).resolved()
