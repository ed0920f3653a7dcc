"""An ONNX file that others wrote: read without running anything in it, and refused by name where it cannot serve."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from deblur.errors import ModelError

LARGEST_MB = 2000
"""What one ONNX file can hold (protobuf: 2 GiB)."""
ONNX, MICROSOFT = ("", "ai.onnx"), "com.microsoft"
OLDEST_OPSET = 7
"""Since then Mul and Add broadcast; ONNX Runtime promises nothing older."""
Layout = Literal["nchw", "nhwc"]


@dataclass(frozen=True)
class Input:
    """The one input: its name, and its four sizes; None are open."""

    name: str
    sizes: tuple[int | None, ...]

    @property
    def layouts(self) -> list[Layout]:
        """Those whose three channels its sizes allow."""
        sizes: dict[Layout, int | None] = {"nchw": self.sizes[1], "nhwc": self.sizes[3]}
        return [each for each in sizes if sizes[each] == 3] or [each for each in sizes if sizes[each] is None]

    def sides(self, layout: Layout) -> tuple[int | None, ...]:
        """(rows, columns)"""
        return self.sizes[2:] if layout == "nchw" else self.sizes[1:3]

    def __str__(self) -> str:
        return f"({', '.join('?' if size is None else str(size) for size in self.sizes)})"


def read_foreign(file: Path) -> Any:
    """Read an ONNX file, with the weights that lie beside it, as a ``ModelProto``. Nothing is unpickled.

    Raises:
        ModelError: it is no ONNX file, too large, lacks weights, uses operators that ONNX Runtime does not have, or
            does not take one image ``(1, 3, h, w)`` or ``(1, h, w, 3)`` in float32.
    """
    import onnx

    if not file.is_file():
        raise ModelError(f"There is no file {file}.")
    _check_size(file, file.stat().st_size)
    try:
        model = onnx.load(file, load_external_data=False)
    except Exception as error:  # protobuf's own
        raise ModelError(
            f"{file} is not an ONNX file, nor official weights (.pth) of NAFNet or Restormer. Others are not read."
        ) from error
    if not model.graph.node:
        raise ModelError(f"{file} is not an ONNX file, or one without a network.")
    _check_operators(file, model)
    _take_in_weights(file, model)
    input_of(model)
    return model


def _check_size(file: Path, size: int) -> None:
    if size > LARGEST_MB * 1e6:
        raise ModelError(f"{file} has {size / 1e6:,.0f} MB with its weights; allowed are {LARGEST_MB:,} MB.")


def _check_operators(file: Path, model: Any) -> None:
    own = {(function.domain, function.name) for function in model.functions}
    nodes = [node for graph in (model.graph, *model.functions) for node in _nodes(graph)]
    unknown = {
        f"{node.domain}.{node.op_type}".removeprefix(".")
        for node in nodes
        if (node.domain, node.op_type) not in own and not _known(node)
    }
    if unknown:
        raise ModelError(
            f"{file} uses operators that ONNX Runtime does not have: {', '.join(sorted(unknown))}. Export the network "
            "with operators of ONNX alone."
        )
    opset = max((each.version for each in model.opset_import if each.domain in ONNX), default=OLDEST_OPSET)
    if opset < OLDEST_OPSET:
        raise ModelError(f"{file} is written in opset {opset}; {OLDEST_OPSET} is the oldest. Export it again.")


def _known(node: Any) -> bool:
    """What ONNX defines, and what ONNX Runtime adds to it (which of those it has, it says itself)."""
    from onnx import defs

    return node.domain == MICROSOFT or bool(defs.has(node.op_type, "" if node.domain in ONNX else node.domain))


def _nodes(graph: Any) -> Iterator[Any]:
    """Of a graph or function, and of the graphs inside its nodes (If, Loop, Scan)."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                yield from _nodes(inner)


def _take_in_weights(file: Path, model: Any) -> None:
    """Weights in files beside the model become part of it."""
    from onnx import checker, external_data_helper

    tensors = [*model.graph.initializer, *(a.t for node in _nodes(model.graph) for a in node.attribute)]
    outside = [tensor for tensor in tensors if external_data_helper.uses_external_data(tensor)]
    names = {entry.value for tensor in outside for entry in tensor.external_data if entry.key == "location"}
    if missing := sorted(name for name in names if not (file.parent / name).is_file()):
        raise ModelError(f"{file} keeps its weights in {', '.join(missing)}, which is not beside it. Bring it, too.")
    _check_size(file, file.stat().st_size + sum((file.parent / name).stat().st_size for name in names))
    try:
        external_data_helper.load_external_data_for_model(model, str(file.parent))
    except (checker.ValidationError, OSError, ValueError) as error:
        raise ModelError(f"{file}: its weights cannot be read ({str(error).splitlines()[0][:300]}).") from error


def input_of(model: Any) -> Input:
    """The one input.

    Raises:
        ModelError: there are several, or it is no image.
    """
    from onnx import TensorProto

    weights = {tensor.name for tensor in model.graph.initializer}  # old files list weights as inputs, too
    inputs = [value for value in model.graph.input if value.name not in weights]
    if len(inputs) != 1:
        told = ", ".join(value.name for value in inputs)
        raise ModelError(f"The network takes {len(inputs)} inputs ({told}); allowed is one: the image.")
    (value,) = inputs
    found, kind = Input(value.name, _sizes(value)), value.type.tensor_type.elem_type
    if len(found.sizes) != 4 or found.sizes[0] not in (1, None) or not found.layouts:
        raise ModelError(f"The network takes {found}; allowed are images (1, 3, h, w) or (1, h, w, 3).")
    if kind != TensorProto.FLOAT:
        raise ModelError(f"The network takes {TensorProto.DataType.Name(kind)}; allowed is float32 (FLOAT).")
    return found


def _sizes(value: Any) -> tuple[int | None, ...]:
    dims = value.type.tensor_type.shape.dim
    return tuple(dim.dim_value if dim.HasField("dim_value") and dim.dim_value > 0 else None for dim in dims)
