"""``deblur import``: a model folder of a restoration network that others trained."""

from pathlib import Path
from typing import Literal

import tyro

from deblur.cli.console import say
from deblur.files import pasteable


def import_onnx(
    file: tyro.conf.Positional[Path],
    folder: tyro.conf.Positional[Path],
    name: str,
    licence: str,
    layout: Literal["nchw", "nhwc"] | None = None,
    range: Literal["unit", "signed", "byte"] | None = None,
    order: Literal["rgb", "bgr"] | None = None,
    output: str | None = None,
) -> int:
    """Make a model folder of a network that others trained; restore, serve, evaluate, compare and register take it.

    Args:
        file: ONNX: one image in, the restored image out. Weights may lie beside it. No custom operators.
        folder: Where model.onnx and model.json go.
        name: What the model is called.
        licence: Under which network and weights are given.
        layout: Of its input; by default found out, as is all below.
        range: Of its pixel values: unit is 0 to 1, signed -1 to 1, byte 0 to 255.
        order: Of its channels.
        output: Which of its outputs is the restored image.
    """
    from deblur.export.importing import Known, import_model

    import_model(file, folder, name=name, licence=licence, known=Known(layout, range, order, output), on_line=say)
    say(pasteable(folder))
    return 0
