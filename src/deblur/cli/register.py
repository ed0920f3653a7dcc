"""``deblur register``: export, verify and register a checkpoint."""

from pathlib import Path

import tyro

from deblur.cli.console import say


def register(
    checkpoint: tyro.conf.Positional[Path], name: str, test_data: tuple[str, ...] = (), val_images: int | None = None
) -> int:
    """Export, verify and register a checkpoint.

    Args:
        checkpoint: A best_model_*.pth.
        name: The registered model's name.
        test_data: Sources of validation pairs; by default those it was trained with.
        val_images: Verify on this many pairs, spread evenly; by default as in training.
    """
    from deblur.training.existing import register_checkpoint

    register_checkpoint(checkpoint, name, test_data, val_images, say)
    return 0
