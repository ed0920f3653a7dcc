"""Weights written in float16: half the file, the same float32 arithmetic.

Each weight keeps its name; a Cast beside it brings it back to float32, which engines do once, when they load the file.
"""

from collections.abc import Collection
from typing import Any

import numpy as np

from deblur.errors import ModelError

SUFFIX = ".float32"


def halve_weights(model: Any, names: Collection[str]) -> None:
    """Change the weights of these names in an ONNX ``ModelProto``, in place.

    Raises:
        ModelError: float16 cannot hold a weight.
    """
    from onnx import TensorProto, helper, numpy_helper

    graph, casts = model.graph, {}
    for tensor in graph.initializer:
        if tensor.name not in names:
            continue
        with np.errstate(over="ignore"):
            half = numpy_helper.to_array(tensor).astype(np.float16)
        if not np.isfinite(half).all():
            raise ModelError(f"{tensor.name} holds values that float16 cannot hold; export it without half precision.")
        tensor.CopyFrom(numpy_helper.from_array(half, tensor.name))
        casts[tensor.name] = helper.make_node("Cast", [tensor.name], [tensor.name + SUFFIX], to=TensorProto.FLOAT)
    nodes = list(graph.node)
    for node in nodes:
        node.input[:] = [name + SUFFIX if name in casts else name for name in node.input]
    del graph.node[:]
    graph.node.extend([*casts.values(), *nodes])
