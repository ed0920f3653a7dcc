"""Tracing a network for ONNX takes many times longer than the trainings of these tests: it is done once a session.

Later files are the first one with other weights; ``test_loop_to_registry`` proves them equal to what tracing gives.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import onnx
import pytest

from deblur.export import onnx as export
from deblur.models.network import Network

FOLDER = "DEBLUR_TEST_EXPORTS"
"""The environment variable with the folder of the first files, one for each architecture."""


traced_anew = export._traced


@contextmanager
def quick_exports() -> Iterator[None]:
    """Inside, a network is traced only if none of its architecture was."""
    folder = Path(os.environ[FOLDER])

    def traced(model: Network) -> onnx.ModelProto:
        first = folder / f"{'-'.join(str(value) for value in model.architecture.values())}.onnx"
        if not first.exists():
            part = first.with_suffix(f".{os.getpid()}")
            onnx.save(traced_anew(model), part)
            part.replace(first)
        file, weights = onnx.load(first), model.state_dict()
        for tensor in file.graph.initializer:
            if tensor.name in weights:
                tensor.raw_data = weights.pop(tensor.name).numpy().tobytes()
        assert all(name.endswith(".num_batches_tracked") for name in weights)
        return file

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(export, "_traced", traced)
        yield
