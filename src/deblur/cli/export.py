"""``deblur export``: write weights as a model folder."""

from pathlib import Path
from typing import Annotated

import tyro

from deblur.cli.console import console, say
from deblur.files import pasteable


def export(
    weights: tyro.conf.Positional[Path],
    folder: tyro.conf.Positional[Path],
    name: str = "deblur",
    test_data: tuple[str, ...] = (),
    half: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
    freeze: tuple[str, ...] = (),
    openvino_ir: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
) -> int:
    """Write weights as a model folder, which restore and serve can open.

    Args:
        weights: A checkpoint (or official weights of NAFNet or Restormer), the output folder of a training (its
            newest averaged weights), or a model folder.
        folder: The folder that model.onnx and model.json are written into; a model that is there is replaced.
        name: Name of the model, which its folder records.
        test_data: Folders of pairs, or other sources as 'deblur train' takes them, to score the written model on.
        half: Keep the weights in float16: the file is half as large, and the arithmetic the same.
        freeze: Sources of training crops whose mean and deviation replace those that GroupNorm measures in each tile:
            the network is faster, and its result hardly depends on the tiles. Compare the scores with and without.
        openvino_ir: Write OpenVINO's own files, too (model.xml and model.bin), for programs that read those.
    """
    from deblur.training.existing import export_weights
    from deblur.training.terminal import progress_of

    with progress_of(console) as progress:
        scores = export_weights(weights, folder, name, test_data, half, freeze, openvino_ir, progress).scores
    say(pasteable(folder))
    if scores:
        say(f"scores {scores.mean('psnr_db'):.3f} dB (input {scores.mean('psnr_input_db'):.3f} dB)")
    return 0
