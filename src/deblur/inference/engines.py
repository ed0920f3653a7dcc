"""Which engine opens a model: the one that was asked for, or the one that suits the machine."""

import importlib.util
import platform
from pathlib import Path
from typing import Literal

from deblur.errors import SettingError
from deblur.inference.engine import Engine, Precision, check_threads
from deblur.inference.onnx_runtime import OnnxEngine
from deblur.inference.openvino import KEPT, OpenVinoEngine

EngineName = Literal["auto", "openvino", "onnxruntime"]


def open_engine(
    model: Path,
    name: EngineName = "auto",
    precision: Precision = "auto",
    threads: int | None = None,
    kept: int = KEPT,
) -> Engine:
    """Open ``model.onnx`` with the engine that suits the machine.

    Args:
        model: path of a self-contained ONNX file.
        name: auto takes OpenVINO on x86-64 where it is installed, else ONNX Runtime.
        precision: ONNX Runtime computes in f32 only.
        threads: threads inside one call; None takes all cores.
        kept: compiled tile shapes that stay in memory; ONNX Runtime compiles none.

    Raises:
        ModelError: not a model, or one of another kind than ours.
        SettingError: the engine is not installed, this machine cannot compute in ``precision``, or no thread is left.
    """
    check_threads(threads)
    installed = importlib.util.find_spec("openvino") is not None
    if name == "openvino" and not installed:
        raise SettingError("OpenVINO is not installed: pip install openvino, or take the engine onnxruntime.")
    if name == "auto":
        name = "openvino" if installed and platform.machine() in ("x86_64", "AMD64") else "onnxruntime"
    if name == "onnxruntime":
        if precision == "bf16":
            raise SettingError("ONNX Runtime computes in f32 on the CPU. For bf16 take the engine openvino.")
        return OnnxEngine(model, threads)
    return OpenVinoEngine(model, precision, threads, kept)
