"""Answers that a client has already: a tag names an answer by what decides it, before any work is done."""

import hashlib
from dataclasses import replace

from starlette.requests import Request

from deblur import __version__
from deblur.inference.engine import precision_of
from deblur.inference.model_folder import Model
from deblur.serving.wish import Wish

PIXELS = 2
"""Raised whenever a version makes other pixels of a photo (2: the guard)."""


def tag_of(image: bytes, model: Model, wish: Wish, as_json: bool) -> str:
    """The ETag of the answer: of the image's bytes, the model, its tiles and precision, the options and this version.

    It is weak: another processor may round the last bit of a pixel otherwise.
    """
    tiling, precision = model.restorer.tiling, precision_of(model.restorer.engine)
    made = (__version__, PIXELS, model.info.sha256, model.info.label, tiling, precision)
    decided = (*made, replace(wish, model=None), as_json)
    digest = hashlib.sha256(repr(decided).encode())
    digest.update(image)
    return f'W/"{digest.hexdigest()[:32]}"'


def has(request: Request, tag: str) -> bool:
    """Whether the request's ``If-None-Match`` names the tag. A ``*`` names none: nothing is kept here."""
    named = ",".join(request.headers.getlist("if-none-match")).split(",")
    return tag.removeprefix("W/") in (each.strip().removeprefix("W/") for each in named)
