"""ONNX Runtime: the engine that runs everywhere, and the one that verifies what was exported."""

from pathlib import Path

import numpy as np

from deblur.errors import ModelError
from deblur.inference.engine import Run, Tiles


class OnnxEngine:
    """ONNX Runtime on the CPU, in float32. The library is imported when an engine is opened.

    Args:
        model: path of a self-contained ``model.onnx``, or its bytes.
        threads: threads inside one call; None takes all cores.

    Raises:
        ModelError: not a model, or one whose input is not a single ``(B, 3, h, w)`` float tensor.
    """

    def __init__(self, model: Path | bytes, threads: int | None = None) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or 0
        options.log_severity_level = 4  # a cancelled call is no error that belongs on stderr
        data = model if isinstance(model, bytes) else model.read_bytes()
        try:
            self._session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime's exceptions share no public base
            raise ModelError(f"ONNX Runtime cannot load the model: {type(error).__name__}.") from error
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        if len(inputs) != 1 or len(outputs) != 1 or inputs[0].type != "tensor(float)" or inputs[0].shape[1:2] != [3]:
            raise ModelError("The model must take one float tensor (B, 3, h, w) and return one.")
        self._input, self._new_options = inputs[0].name, onnxruntime.RunOptions

    def __call__(self, batch: Tiles, /) -> Tiles:
        return self.begin().call(batch)

    def begin(self) -> Run:
        """Calls that ``cancel`` ends between two operators."""
        options = self._new_options()

        def call(batch: Tiles) -> Tiles:
            (restored,) = self._session.run(None, {self._input: batch}, options)
            return np.asarray(restored, dtype=np.float32)

        return Run(call, lambda: setattr(options, "terminate", True))
