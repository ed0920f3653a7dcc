"""Networks as others might write them, in every layout, range and order: sharpeners, and the bundled model."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from deblur.export.convention import SCALE_AND_OFFSET, Order, Range
from deblur.export.reading import Layout
from deblur.inference.locating import bundled_model

IR_VERSION, OPSET = 10, 20
AMOUNTS = (1.5, 0.8, -0.4)
"""How much red, green and blue are sharpened."""


class Graph:
    """Nodes one after the other; ``size`` fixes both sides."""

    def __init__(
        self,
        layout: Layout = "nchw",
        size: int | None = None,
        channels: int | None = 3,
        batch: int | str = 1,
    ) -> None:
        self.nodes: list[Any] = []
        self.weights: list[Any] = []
        sides: list[Any] = [size, size] if size else ["rows", "columns"]
        shape = [batch, channels, *sides] if layout == "nchw" else [batch, *sides, channels]
        self.inputs = [helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)]

    def add(self, kind: str, *given: str | NDArray[Any] | float, domain: str = "", **attributes: Any) -> str:
        """A node; arrays and numbers become weights. Returns its output's name."""
        names = []
        for value in given:
            if not isinstance(value, str):
                value = np.asarray(value, np.float32) if isinstance(value, float) else value
                self.weights.append(numpy_helper.from_array(value, f"their_w{len(self.weights)}"))
                value = self.weights[-1].name
            names.append(str(value))
        out = f"their_t{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, names, [out], name=out, domain=domain, **attributes))
        return out

    def save(self, file: Path, **outputs: str) -> Path:
        """Write it; ``outputs`` are NAME=tensor."""
        for name, tensor in outputs.items():
            self.nodes.append(helper.make_node("Identity", [tensor], [name]))
        values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs]
        graph = helper.make_graph(self.nodes, "others", self.inputs, values, self.weights)
        opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid("their.own", 1)]
        file.parent.mkdir(parents=True, exist_ok=True)
        onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION), file)
        return file


def blur_weights() -> NDArray[np.float32]:
    """``(3, 1, 5, 5)``: a Gaussian for each channel."""
    line = np.exp(-((np.arange(5) - 2.0) ** 2) / 2)
    kernel = np.outer(line, line) / line.sum() ** 2
    return np.broadcast_to(kernel, (3, 1, 5, 5)).astype(np.float32)


def sharpener(
    file: Path,
    layout: Layout = "nchw",
    value_range: Range = "unit",
    order: Order = "rgb",
    size: int | None = None,
    residual: bool = False,
) -> Path:
    """An unsharp mask, clamped; ``residual``: a first output with what was added."""
    graph = Graph(layout, size)
    pixels = enter(graph, layout, value_range)
    amounts = np.array(AMOUNTS if order == "rgb" else AMOUNTS[::-1], np.float32).reshape(1, 3, 1, 1)
    smooth = graph.add("Conv", pixels, blur_weights(), group=3, pads=[2, 2, 2, 2])
    added = graph.add("Mul", graph.add("Sub", pixels, smooth), amounts)
    sharp = leave(graph, graph.add("Clip", graph.add("Add", pixels, added), 0.0, 1.0), layout, value_range)
    return graph.save(file, **({"added": added} if residual else {}), restored=sharp)


def sharpened(tiles: NDArray[np.float32]) -> NDArray[np.float32]:
    """What every sharpener does to ``(B, 3, h, w)`` RGB pixels in [0, 1], computed with NumPy."""
    kernel = blur_weights()[0, 0]
    h, w = tiles.shape[2:]
    padded = np.pad(tiles, [(0, 0), (0, 0), (2, 2), (2, 2)])
    smooth = sum(kernel[y, x] * padded[:, :, y : y + h, x : x + w] for y in range(5) for x in range(5))
    amounts = np.array(AMOUNTS, np.float32).reshape(1, 3, 1, 1)
    return np.clip(tiles + amounts * (tiles - smooth), 0, 1).astype(np.float32)


def bundled_as(
    file: Path,
    layout: Layout = "nchw",
    value_range: Range = "unit",
    order: Order | None = None,
) -> Path:
    """The bundled model as others might have written it; with an ``order`` it restores what is warm, and that alone."""
    folder = bundled_model()
    assert folder is not None
    theirs = onnx.load(folder / "model.onnx").graph
    graph = Graph(layout)
    pixels = enter(graph, layout, value_range)
    graph.nodes += [helper.make_node("Identity", [pixels], [theirs.input[0].name]), *theirs.node]
    graph.weights += theirs.initializer
    result = theirs.output[0].name
    if order:
        warm = np.array([8, 0, -8], np.float32)[:: 1 if order == "rgb" else -1].reshape(1, 3, 1, 1)
        share = graph.add("Clip", graph.add("Conv", pixels, warm.copy()), 0.0, 1.0)
        result = graph.add("Add", pixels, graph.add("Mul", share, graph.add("Sub", result, pixels)))
    return graph.save(file, image_out=leave(graph, result, layout, value_range))


def enter(graph: Graph, layout: Layout, value_range: Range) -> str:
    """From the input to ``(1, 3, h, w)`` in [0, 1]."""
    scale, offset = SCALE_AND_OFFSET[value_range]
    values = graph.add("Transpose", "image", perm=[0, 3, 1, 2]) if layout == "nhwc" else "image"
    return graph.add("Mul", graph.add("Sub", values, float(offset)), 1.0 / scale)


def leave(graph: Graph, pixels: str, layout: Layout, value_range: Range) -> str:
    """And back."""
    scale, offset = SCALE_AND_OFFSET[value_range]
    values = graph.add("Add", graph.add("Mul", pixels, float(scale)), float(offset))
    return graph.add("Transpose", values, perm=[0, 2, 3, 1]) if layout == "nhwc" else values
