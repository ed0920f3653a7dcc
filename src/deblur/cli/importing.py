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
        file: ONNX: one image in, the restored image out. Weights may lie beside it. No custom operators. Or official
            weights of NAFNet or Restormer (.pth), of which everything below is known.
        folder: Where model.onnx and model.json go.
        name: What the model is called.
        licence: Under which network and weights are given.
        layout: Of its input; by default found out, as is all below.
        range: Of its pixel values: unit is 0 to 1, signed -1 to 1, byte 0 to 255.
        order: Of its channels.
        output: Which of its outputs is the restored image.
        features: Which of its inner tensors (B, C, h, w) students can be compared with (the term teacher:features).
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
