"""``deblur card``: the model card, from what is recorded."""

import json
from pathlib import Path

import tyro

from deblur.cli.console import say
from deblur.errors import DataError
from deblur.files import pasteable


def card(model: tyro.conf.Positional[str], evaluation: Path | None = None) -> int:
    """Write a model's card: its data, licences, recipe, scores, known harms and limits.

    It is made of what training and evaluation recorded, nothing by hand. A model folder gets it as CARD.md. A
    registered version gets it as the description that 'mlflow ui' shows for the version and its run; if it has one
    already, that one is printed as it is, unless --evaluation is given.

    Args:
        model: A model folder, models:/NAME@champion, or bundled (the model of this package).
        evaluation: File that 'deblur evaluate --json' wrote of this model; its scores come onto the card.
    """
    from deblur.evaluation.card import card as written
    from deblur.evaluation.card import with_figures, write_card
    from deblur.inference.model_folder import whole_info
    from deblur.library import locate

    folder = locate(model)
    info = whole_info(folder)
    if evaluation:
        try:
            info = with_figures(info, json.loads(evaluation.read_bytes()))
        except (OSError, ValueError) as error:
            raise DataError(f"{pasteable(evaluation)} cannot be read ({error}).") from error
    if info.version:
        from deblur.registry.descriptions import describe, described

        text = "" if evaluation else described(info)  # which may have figures that model.json lacks
        if not text:
            describe(info)
            text = written(info)
        say(text)
    else:
        say(pasteable(write_card(folder, info)))
    return 0
