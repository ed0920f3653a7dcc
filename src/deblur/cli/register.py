"""``deblur register``: verify and register a checkpoint, which is exported first, or an imported model folder."""

from pathlib import Path

import tyro

from deblur.cli.console import console


def register(
    weights: tyro.conf.Positional[Path], name: str, test_data: tuple[str, ...] = (), val_images: int | None = None
) -> int:
    """Verify a model on pairs of images, and register it.

    The model is a checkpoint, which is exported first, or an imported model folder.

    Args:
        weights: A checkpoint (best_model_*.pth), or a model folder that 'deblur import' made.
        name: Name to register the model under.
        test_data: Folders of pairs, or other sources as 'deblur train' takes them, to verify the model on; by default
            those that validated the checkpoint in training. An imported model needs some.
        val_images: Verify on this many pairs, spread evenly; by default as many as in training, else all.
    """
    from deblur.training.existing import register_checkpoint, register_folder
    from deblur.training.terminal import progress_of

    registering = register_folder if weights.is_dir() else register_checkpoint
    with progress_of(console) as progress:
        registering(weights, name, test_data, val_images, progress)
    return 0
