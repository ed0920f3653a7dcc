"""``deblur import``: a model folder of a restoration network that others trained."""

from dataclasses import replace
from pathlib import Path
from typing import Literal

import tyro

from deblur.cli.console import say
from deblur.errors import SettingError
from deblur.files import pasteable, sha256_of


def import_network(
    file: tyro.conf.Positional[Path],
    folder: tyro.conf.Positional[Path],
    name: str,
    licence: str,
    layout: Literal["nchw", "nhwc"] | None = None,
    range: Literal["unit", "signed", "byte"] | None = None,
    order: Literal["rgb", "bgr"] | None = None,
    output: str | None = None,
    features: str | None = None,
) -> int:
    """Make a model folder of a network that others trained.

    Commands such as restore, serve, evaluate, compare and register take it like any other.

    Args:
        file: An ONNX file of a network that takes one image and gives the restored one, without custom operators; its
            weights may lie in a file beside it. Or official weights of NAFNet or Restormer (.pth); these need no option
            after --licence.
        folder: The folder that model.onnx and model.json are written into.
        name: Name of the model, which its folder records.
        licence: The licence that network and weights are given under.
        layout: Order of the axes of the network's input; by default found out by trial.
        range: Range of the network's pixel values: unit is 0 to 1, signed -1 to 1, byte 0 to 255; by default found out.
        order: Order of the network's colour channels; by default found out.
        output: Name of the output that is the restored image; by default found out.
        features: Name of an inner tensor (B, C, h, w) that students are compared with by the term teacher:features.
    """
    from deblur.evaluation.card import write_card
    from deblur.inference.model_folder import read_info

    if not licence.strip():
        raise SettingError("--licence is empty. Say under which licence network and weights are given.")
    if file.suffix == ".pth":
        if layout or range or order or output or features:
            raise SettingError(
                f"What {file.name} takes is known: leave --layout, --range, --order, --output and --features out."
            )
        from deblur.training.existing import export_weights

        export_weights(file, folder, name)
    else:
        from deblur.export.importing import Known, import_model

        known = Known(layout, range, order, output)
        import_model(file, folder, name=name, known=known, features=features, on_line=say)
    origin = {"file": file.name, "sha256": sha256_of(file)}
    write_card(folder, replace(read_info(folder), licence=licence.strip(), origin=origin))
    say(pasteable(folder))
    return 0
