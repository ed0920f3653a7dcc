"""Which engines compute what ONNX Runtime does with a network of others, and whether bf16 is good enough for it."""

import importlib.util
from pathlib import Path
from typing import Any

from deblur.errors import ModelError, SettingError
from deblur.export.convention import SAME_DB, psnr_db
from deblur.export.wrapping import note
from deblur.files import whole_file
from deblur.inference.engine import Tiles
from deblur.inference.model_folder import GOLDEN_TOLERANCE_BF16, Golden
from deblur.inference.openvino import PRECISION, OpenVinoEngine


def write_for_engines(model: Any, onnx: Path, golden: Golden, blurry: Tiles) -> str:
    """Write a ``ModelProto``, with a word in its metadata where it must be computed in float32; returns what was found.

    bf16 is allowed where a processor that has it stays within the golden input's tolerance and, on a photograph, within
    one level of 255. Nobody's word is no permission.

    Args:
        model: from pixels to pixels.
        onnx: the file.
        golden: what ONNX Runtime computes.
        blurry: a photograph, ``(1, 3, h, w)``.

    Raises:
        ModelError: OpenVINO is installed and computes something else.
    """
    _save(model, onnx)
    allowed, why = _bf16(onnx, golden, blurry)
    if not allowed:
        note(model, PRECISION, "f32")
        _save(model, onnx)
    return f"precision: {'bf16 or f32' if allowed else 'f32 only'} ({why})"


def _bf16(onnx: Path, golden: Golden, blurry: Tiles) -> tuple[bool, str]:
    if importlib.util.find_spec("openvino") is None:
        return False, "OpenVINO is not here to try bf16"
    try:
        engine = OpenVinoEngine(onnx, "f32")
        distance, expected = golden.distance(engine), engine(blurry)
    except Exception as error:  # OpenVINO raises RuntimeError and others
        raise ModelError(f"OpenVINO cannot run the network: {str(error).splitlines()[0][:300]}") from error
    if not distance <= golden.tolerance:
        raise ModelError(f"OpenVINO computes something else than ONNX Runtime (golden input off by {distance:.2g}).")
    try:
        half = OpenVinoEngine(onnx, "bf16")
    except SettingError:
        return False, "this processor has no bf16 to try"
    distance, apart_db = golden.distance(half), float(psnr_db(half(blurry), expected).min())
    allowed = distance <= max(golden.tolerance, GOLDEN_TOLERANCE_BF16) and apart_db >= SAME_DB
    return allowed, f"in bf16 the golden input is off by {distance:.1g}, a photograph by {apart_db:.0f} dB"


def _save(model: Any, onnx: Path) -> None:
    with whole_file(onnx) as stream:
        stream.write(model.SerializeToString())
