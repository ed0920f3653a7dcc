"""A model as a person names it: a folder, a registered version, a checkpoint, or the bundled one."""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from deblur.inference.locating import BUNDLED, bundled_folder

if TYPE_CHECKING:
    from deblur.inference.model_folder import Model

CHECKPOINT = ".pth"


def open_named(text: str | None) -> "Model":
    """Open ``bundled``, a model folder, ``models:/NAME@ALIAS``, or a checkpoint, which is exported first.

    None is what restores where nobody names a model.

    Raises:
        ModelError: it cannot be found or opened.
    """
    from deblur.library import open_model

    if text == BUNDLED:
        return open_model(bundled_folder())
    file = Path(text or "")
    if file.suffix != CHECKPOINT or not file.is_file():
        return open_model(text)
    from deblur.training.existing import export_weights

    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
        export_weights(file, Path(scratch), file.stem)
        return open_model(scratch)
