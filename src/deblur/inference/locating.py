"""Where the model is that restores: a folder, a version in a registry, or the one that comes with the package."""

import os
from collections.abc import Callable
from importlib import resources
from pathlib import Path

from deblur.errors import ModelError
from deblur.inference.model_folder import JSON_FILE

FetchModel = Callable[[str], Path]
"""Makes a local model folder of a ``models:/`` URI."""


def bundled_model() -> Path | None:
    """The model folder that comes with the package, or None."""
    weights = resources.files("deblur") / "weights"
    folders = sorted(Path(str(entry)) for entry in weights.iterdir()) if weights.is_dir() else []
    return next((folder for folder in folders if (folder / JSON_FILE).is_file()), None)


def locate_model(
    wanted: str | None,
    fetch: FetchModel,
    fallback: Callable[[], str | None] = lambda: None,
) -> Path:
    """Where the model is: ``wanted``, else ``DEBLUR_MODEL``, else the ``fallback``, else the bundled one.

    Args:
        wanted: a model folder or ``models:/NAME@ALIAS``.
        fetch: makes a local folder of a ``models:/`` URI.
        fallback: a model folder or URI, or None: the local registry's champion, or what was deployed with an app.

    Raises:
        ModelError: there is none.
    """
    wanted = wanted or os.environ.get("DEBLUR_MODEL") or fallback()
    if wanted is None:
        bundled = bundled_model()
        if bundled is None:
            raise ModelError(
                "There is no model. Name one (model, or DEBLUR_MODEL): a model folder, or models:/NAME@champion. "
                "'python dev.py demo' trains and registers one."
            )
        return bundled
    return fetch(wanted) if wanted.startswith("models:/") else Path(wanted)


def parse_model_uri(uri: str) -> tuple[str, str, str]:
    """``models:/NAME@ALIAS`` -> (name, alias, ""); ``models:/NAME/VERSION`` -> (name, "", version).

    Raises:
        ModelError: it names neither.
    """
    body = uri.removeprefix("models:/")
    if "@" in body:
        name, alias = body.rsplit("@", 1)
        return name, alias, ""
    name, _, version = body.rpartition("/")
    if not name or not version.isdigit():
        raise ModelError(f"{uri} names no version. Write models:/NAME@champion or models:/NAME/3.")
    return name, "", version
