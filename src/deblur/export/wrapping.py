"""A network of others between a few nodes of ONNX: the file takes and gives pixels, so no engine needs to know."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from deblur.export.convention import SCALE_AND_OFFSET, Convention
from deblur.export.reading import Layout, input_of

INPUT, OUTPUT = "blurry", "restored"
TO_NHWC, TO_NCHW = (0, 2, 3, 1), (0, 3, 1, 2)


@dataclass
class _Chain:
    """Nodes one after the other; ``end`` is the tensor that the last one gives."""

    end: str
    taken: set[str]
    nodes: list[Any] = field(default_factory=list)
    weights: list[Any] = field(default_factory=list)

    def add(self, kind: str, constant: Any = None, **attributes: Any) -> None:
        from onnx import helper, numpy_helper

        before, self.end = self.end, fresh(f"pixels.{kind}", self.taken)
        names = [before]
        if constant is not None:
            names.append(fresh(f"{self.end}.constant", self.taken))
            self.weights.append(numpy_helper.from_array(np.array(constant), names[1]))
        self.nodes.append(helper.make_node(kind, names, [self.end], name=self.end, **attributes))


def fresh(name: str, taken: set[str]) -> str:
    """``name``, with underscores where the network has it already; from now on it is taken."""
    while name in taken:
        name += "_"
    taken.add(name)
    return name


def wrap(model: Any, convention: Convention, layouts: tuple[Layout, Layout], *, one_by_one: bool) -> Any:
    """A ``ModelProto`` from pixels to pixels: one input ``blurry``, one output ``restored``, ``(B, 3, h, w)``.

    ``layouts`` are those of the network's input and of the output that is the picture; ``one_by_one``: it takes one
    tile at a time only. ``model`` is left as it is.
    """
    from onnx import ModelProto, TensorProto, helper

    wrapped = ModelProto()
    wrapped.CopyFrom(model)
    graph, given = wrapped.graph, input_of(model)
    taken = set(_names(graph))
    enter = _Chain(fresh(INPUT, taken), taken)
    leave = _Chain(convention.output, taken)
    first = enter.end
    scale, offset = SCALE_AND_OFFSET[convention.range]
    turned = np.array([2, 1, 0])
    if convention.order == "bgr":
        enter.add("Gather", turned, axis=1)
    if scale != 1:
        enter.add("Mul", np.float32(scale))
    if offset:
        enter.add("Add", np.float32(offset))
    if layouts[0] == "nhwc":
        enter.add("Transpose", perm=TO_NHWC)
    if layouts[1] == "nhwc":
        leave.add("Transpose", perm=TO_NCHW)
    if offset:
        leave.add("Add", np.float32(-offset))
    if scale != 1:
        leave.add("Mul", np.float32(1 / scale))
    if convention.order == "bgr":
        leave.add("Gather", turned, axis=1)
    last = fresh(OUTPUT, taken)
    join = [
        helper.make_node("Identity", [enter.end], [given.name], name=fresh("enter", taken)),
        helper.make_node("Identity", [leave.end], [last], name=fresh("leave", taken)),
    ]
    nodes = [*enter.nodes, join[0], *graph.node, *leave.nodes, join[1]]
    del graph.node[:], graph.input[:], graph.output[:], graph.value_info[:]
    graph.node.extend(nodes)
    graph.initializer.extend([*enter.weights, *leave.weights])
    rows, columns = given.sides(layouts[0])
    shape = [1 if one_by_one else "batch", 3, rows or "rows", columns or "columns"]
    graph.input.append(helper.make_tensor_value_info(first, TensorProto.FLOAT, shape))
    graph.output.append(helper.make_tensor_value_info(last, TensorProto.FLOAT, shape))
    wrapped.ir_version = max(wrapped.ir_version, 4)  # before, weights had to be inputs
    return wrapped


def note(model: Any, key: str, value: str) -> None:
    """Write a word into the file's metadata, where engines find it."""
    kept = [entry for entry in model.metadata_props if entry.key != key]
    del model.metadata_props[:]
    model.metadata_props.extend(kept)
    model.metadata_props.add(key=key, value=value)


def _names(graph: Any) -> Iterator[str]:
    values: Sequence[Any] = (*graph.input, *graph.output, *graph.initializer)
    yield from (value.name for value in values)
    for node in graph.node:
        yield from (node.name, *node.input, *node.output)
        for attribute in node.attribute:
            for inner in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                yield from _names(inner)
