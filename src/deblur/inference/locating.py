"""Where the model is that restores: a folder, a version in a registry, or the one that comes with the package."""

import logging
import os
from collections.abc import Callable
from importlib import resources
from pathlib import Path

from deblur.errors import DeblurError, ModelError
from deblur.inference.model_folder import JSON_FILE

logger = logging.getLogger("deblur.inference")

BUNDLED = "bundled"
"""The word for the model that comes with the package."""
FetchModel = Callable[[str], Path]
"""Makes a local model folder of a ``models:/`` URI."""


def bundled_model() -> Path | None:
    """The model folder that comes with the package, or None."""
    weights = resources.files("deblur") / "weights"
    folders = sorted(Path(str(entry)) for entry in weights.iterdir()) if weights.is_dir() else []
    return next((folder for folder in folders if (folder / JSON_FILE).is_file()), None)


def bundled_folder() -> Path:
    """Of the model that comes with the package.

    Raises:
        ModelError: none does.
    """
    folder = bundled_model()
    if folder is None:
        raise ModelError("No model comes with this installation. Name a model folder or models:/NAME@champion.")
    return folder


def locate_model(
    wanted: str | None,
    fetch: FetchModel,
    fallback: Callable[[], str | None] = lambda: None,
) -> Path:
    """Where the model is: ``wanted``, else ``DEBLUR_MODEL``, else the ``fallback``, else the bundled one.

    ``wanted`` must be had. Where a registry fails to give another one, the next is taken, and the log says so.

    Args:
        wanted: a model folder, ``models:/NAME@ALIAS`` or ``bundled``.
        fetch: makes a local folder of a ``models:/`` URI.
        fallback: a model folder or URI, or None: the champion that has beaten the bundled model, or what was deployed
            with an app.

    Raises:
        ModelError: there is none.
    """
    if wanted:
        return _folder(wanted, fetch)
    troubles = []
    choices: tuple[Callable[[], str | None], ...] = (
        lambda: os.environ.get("DEBLUR_MODEL"),
        fallback,
        lambda: BUNDLED if bundled_model() else None,
    )
    for choose in choices:
        chosen = choose()
        if not chosen:
            continue
        try:
            folder = _folder(chosen, fetch)
        except DeblurError as error:
            troubles.append(str(error))
            continue
        if troubles:
            logger.warning("%s Going on with %s.", " ".join(troubles), folder)
        return folder
    raise ModelError(
        " ".join(troubles)
        or "There is no model. Name one (model, or DEBLUR_MODEL): a model folder, or models:/NAME@champion. "
        "'python dev.py demo' trains and registers one."
    )


def _folder(chosen: str, fetch: FetchModel) -> Path:
    if chosen == BUNDLED:
        return bundled_folder()
    return fetch(chosen) if chosen.startswith("models:/") else Path(chosen)


def in_registry(wanted: str | None) -> bool:
    """Whether a registry was asked for (``wanted``, else ``DEBLUR_MODEL``)."""
    return (wanted or os.environ.get("DEBLUR_MODEL", "")).startswith("models:/")


def followed(wanted: str | None) -> str | None:
    """The ``models:/NAME@ALIAS`` that was asked for (``wanted``, else ``DEBLUR_MODEL``), whose alias may move.

    None where a folder, a version or nothing was.
    """
    chosen = wanted or os.environ.get("DEBLUR_MODEL", "")
    return chosen if chosen.startswith("models:/") and "@" in chosen else None


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
