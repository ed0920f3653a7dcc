"""A model as a person names it: a folder, a registered version, a checkpoint, or the bundled one."""

import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from deblur.errors import SettingError
from deblur.inference.locating import BUNDLED, bundled_folder

if TYPE_CHECKING:
    from deblur.inference.model_folder import Model

CHECKPOINT = ".pth"
NAMED = re.compile(r"([A-Za-z0-9][A-Za-z0-9_.-]*)=(.+)", re.DOTALL)


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


def by_name(models: tuple[str, ...]) -> dict[str, str | None]:
    """``a=FOLDER`` -> what is served as ``a``; a single model needs no name."""
    if not models:
        return {"": None}
    named = [(found[1], found[2]) if (found := NAMED.fullmatch(each)) else ("", each) for each in models]
    by_name: dict[str, str | None] = dict(named)
    if len(by_name) < len(models) or (len(models) > 1 and "" in by_name):
        raise SettingError(f"--model is {' '.join(models)}; give each of several a name of its own: a=FOLDER b=FOLDER.")
    return by_name
