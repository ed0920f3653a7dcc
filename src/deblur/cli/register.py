"""``deblur register``: verify and register a checkpoint, which is exported first, or an imported model folder."""

from pathlib import Path

import tyro

from deblur.cli.console import say


def register(
    weights: tyro.conf.Positional[Path], name: str, test_data: tuple[str, ...] = (), val_images: int | None = None
) -> int:
    """Verify a model on pairs of images, and register it.

    The model is a checkpoint, which is exported first, or an imported model folder.

    Args:
        weights: A best_model_*.pth, or a model folder that deblur import made.
        name: The registered model's name.
        test_data: Sources of validation pairs; by default those a checkpoint was trained with.
        val_images: Verify on this many pairs, spread evenly; by default as in training.
    """
    from deblur.training.existing import register_checkpoint, register_folder

    registering = register_folder if weights.is_dir() else register_checkpoint
    registering(weights, name, test_data, val_images, say)
    return 0
