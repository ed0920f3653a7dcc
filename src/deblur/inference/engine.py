"""Engines run a network on tiles. All satisfy one protocol; the torch engine lives with the models."""

from pathlib import Path
from typing import Protocol

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from deblur.errors import ModelError

Batch = NDArray[np.float32]
"""``(B, 3, h, w)`` float32 in ``[0, 1]``."""


class Engine(Protocol):
    """One call: a batch of tiles in, the restored batch (not clamped) out."""

    def __call__(self, batch: Batch, /) -> Batch: ...


class OnnxEngine:
    """ONNX Runtime on the CPU.

    Args:
        model: path of a self-contained ``model.onnx``, or its bytes.
        threads: threads inside one call; None takes all cores.

    Raises:
        ModelError: not a model, or one whose input is not a single ``(B, 3, h, w)`` float tensor.
    """

    def __init__(self, model: Path | bytes, threads: int | None = None) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or 0
        options.log_severity_level = 3
        data = model if isinstance(model, bytes) else model.read_bytes()
        try:
            self._session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime's exceptions share no public base
            raise ModelError(f"ONNX Runtime cannot load the model: {type(error).__name__}.") from error
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        if len(inputs) != 1 or len(outputs) != 1 or inputs[0].type != "tensor(float)" or inputs[0].shape[1:2] != [3]:
            raise ModelError("The model must take one float tensor (B, 3, h, w) and return one.")
        self._input = inputs[0].name

    def __call__(self, batch: Batch, /) -> Batch:
        (restored,) = self._session.run(None, {self._input: batch})
        return np.asarray(restored, dtype=np.float32)
