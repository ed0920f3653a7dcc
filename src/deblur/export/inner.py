"""An inner tensor of an ONNX file beside its picture: what a student's features are compared with."""

import numpy as np

from deblur.errors import SettingError
from deblur.inference.engine import Tiles


class Inner:
    """ONNX Runtime with ``tensor`` as a second output, in float32: ``(B, 3, h, w)`` -> picture and ``(B, C, i, j)``.

    Args:
        onnx: the file's bytes.
        tensor: that one of its nodes gives.

    Raises:
        SettingError: no node gives it.
    """

    def __init__(self, onnx: bytes, tensor: str) -> None:
        import onnx as library
        import onnxruntime

        model = library.load_model_from_string(onnx)
        if tensor not in (output for node in model.graph.node for output in node.output):
            raise SettingError(f"features is {tensor}, and no node gives it. Viewers of ONNX files show the names.")
        model.graph.output.append(library.ValueInfoProto(name=tensor))
        self._session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        self._tensor, self._input = tensor, self._session.get_inputs()[0].name

    def __call__(self, tiles: Tiles) -> tuple[Tiles, Tiles]:
        restored, features = self._session.run(None, {self._input: tiles})
        return restored, features

    def channels(self, rows_px: int, columns_px: int) -> int:
        """How many the features of a tile of these sides have.

        Raises:
            SettingError: it is no ``(1, C, i, j)`` float32 that shrinks rows and columns alike.
        """
        shape = np.shape(features := self(np.zeros((1, 3, rows_px, columns_px), np.float32))[1])
        if len(shape) != 4 or features.dtype != np.float32 or shape[2] * columns_px != shape[3] * rows_px:
            raise SettingError(
                f"features is {self._tensor}, which gives {features.dtype} {shape} for a tile of {rows_px} x "
                f"{columns_px} px; it must be float32 (1, channels, rows, columns)."
            )
        return int(shape[1])
