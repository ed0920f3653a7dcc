"""Write a network as a model folder: ``model.onnx`` and ``model.json``. ``verified.py`` proves it before it is used."""

import logging
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from deblur import project
from deblur.errors import SettingError
from deblur.export.group_norm import channelwise
from deblur.export.half import halve_weights
from deblur.files import sha256_of, write_whole
from deblur.inference.engine import Engine
from deblur.inference.model_folder import (
    CARD_FILE,
    GOLDEN_TOLERANCE_BF16,
    IR_FILES,
    JSON_FILE,
    ONNX_FILE,
    Golden,
    ModelInfo,
    golden_cell_means,
    write_info,
)
from deblur.inference.onnx_runtime import OnnxEngine
from deblur.inference.tiling import Tiling
from deblur.models.engine import TorchEngine
from deblur.models.network import Network

GOLDEN_SEED, GOLDEN_SIDE_PX = 2026, 64
SLACK_BF16 = 3.0
"""OpenVINO's bf16 moved the golden output of eleven networks at most 1.6 times as far as torch's did."""
OPSET = 20


def export_model(
    model: Network, folder: Path, *, name: str, tiling: Tiling, run_id: str | None = None, half: bool = False
) -> ModelInfo:
    """Write ``model`` into ``folder``, with batch, height and width left open; returns what ``model.json`` says.

    ``half`` keeps the weights in float16; what is computed with them stays float32.
    """
    make_folder(folder)
    traced = _traced(model.eval().cpu())
    if half:
        halve_weights(traced, model.state_dict().keys())
    golden = golden_of(OnnxEngine(write_onnx(folder, traced)), GOLDEN_SIDE_PX)
    moved = golden.distance(TorchEngine(model, precision="bf16"))  # on any processor
    allowed = min(max(golden.tolerance, SLACK_BF16 * moved), GOLDEN_TOLERANCE_BF16)
    return describe(
        folder,
        name,
        tiling,
        replace(golden, tolerance_bf16=allowed),
        run_id=run_id,
        reach_px=model.reach_px,
        halo_px=model.halo_px,
        statistics=model.has_statistics,
        architecture=model.architecture,
        bytes_per_px=model.bytes_per_px,
    )


def make_folder(folder: Path) -> None:
    """A folder that can hold a model.

    Raises:
        SettingError: there is something else in the way.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SettingError(f"{folder} cannot hold a model ({error.strerror}). Choose another folder.") from error


def write_onnx(folder: Path, model: Any) -> Path:
    """Write a ``ModelProto`` as ``model.onnx``; what lies there of an earlier file (``model.json``, card, IR) goes."""
    for earlier in (JSON_FILE, CARD_FILE, *IR_FILES):
        (folder / earlier).unlink(missing_ok=True)
    write_whole(folder / ONNX_FILE, model.SerializeToString())
    return folder / ONNX_FILE


def describe(folder: Path, name: str, tiling: Tiling, golden: Golden, **more: Any) -> ModelInfo:
    """Write ``model.json`` beside a ``model.onnx`` that nobody has verified yet; ``more`` are fields of it."""
    info = ModelInfo(
        name=name,
        git_commit=project.git_state()[0],
        sha256=sha256_of(folder / ONNX_FILE),
        precision="f32",
        multiple_of=tiling.rule.multiple_of,
        min_side_px=tiling.rule.min_side_px,
        max_side_px=tiling.rule.max_side_px,
        tile_px=tiling.tile_px,
        overlap_px=tiling.overlap_px,
        psnr_db=None,
        psnr_input_db=None,
        golden=golden,
        **more,
    )
    write_info(folder, info)
    return info


def golden_of(engine: Engine, side_px: int) -> Golden:
    """What the engine computes of the golden input now."""
    return Golden(GOLDEN_SEED, side_px, [round(float(v), 6) for v in golden_cell_means(engine, GOLDEN_SEED, side_px)])


def _traced(model: Network) -> Any:
    """The network as an ONNX ``ModelProto``, by torch's exporter.

    One size is traced, several times faster than symbols for any, and then opened: a network whose operations kept it
    would fail at the golden input, which has another.
    """
    step = model.size_rule.multiple_of
    example = torch.rand(2, 3, 4 * step, 6 * step)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter warns of its own internals
        program = torch.onnx.export(
            channelwise(model),
            (example,),
            dynamo=True,
            opset_version=OPSET,
            input_names=["blurry"],
            output_names=["restored"],
            optimize=False,  # keeps every weight under its own name; ONNX Runtime optimises when it loads
            verbose=False,
        )
    assert program is not None
    proto = program.model_proto
    del proto.graph.value_info[:]  # sizes between the operations
    for part in (proto.graph, *proto.graph.node, *proto.graph.input, *proto.graph.output):
        del part.metadata_props[:]  # where the source lay on the machine that exported, line by line
    for value in (*proto.graph.input, *proto.graph.output):
        for axis, name in {0: "batch", 2: "rows", 3: "columns"}.items():
            value.type.tensor_type.shape.dim[axis].dim_param = name
    return proto
