"""Engines run a network on tiles, all behind one call.

ONNX Runtime is here, OpenVINO in a file of its own, the torch engine with the models. Each library is imported when an
engine of it is opened: what restores with one does not pay for the others.
"""

import importlib.util
import platform
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from deblur.errors import ModelError, SettingError

Batch = NDArray[np.float32]
"""``(B, 3, h, w)`` float32 in ``[0, 1]``."""

EngineName = Literal["auto", "openvino", "onnxruntime"]
Precision = Literal["auto", "f32", "bf16"]
"""What the network computes in: auto is bf16 where the processor multiplies it natively and the engine can use it."""


class Engine(Protocol):
    """One call: a batch of tiles in, the restored batch (not clamped) out."""

    def __call__(self, batch: Batch, /) -> Batch: ...


@dataclass(frozen=True)
class Run:
    """The calls of one restoration. ``cancel``, from another thread, ends the call that is running, with an error."""

    call: Callable[[Batch], Batch]
    cancel: Callable[[], None] = lambda: None


@runtime_checkable
class Cancellable(Protocol):
    """An engine whose calls can be ended from outside; each restoration begins a run of its own."""

    def begin(self) -> Run: ...


def begin(engine: Engine) -> Run:
    """A run of ``engine``; one that cannot be cancelled finishes its tile."""
    return engine.begin() if isinstance(engine, Cancellable) else Run(engine)


def open_engine(
    model: Path, name: EngineName = "auto", precision: Precision = "auto", threads: int | None = None
) -> Engine:
    """Open ``model.onnx`` with the engine that suits the machine.

    Args:
        model: path of a self-contained ONNX file.
        name: auto takes OpenVINO on x86-64 where it is installed, else ONNX Runtime.
        precision: ONNX Runtime computes in f32 only.
        threads: threads inside one call; None takes all cores.

    Raises:
        ModelError: not a model, or one of another kind than ours.
        SettingError: the engine is not installed, this machine cannot compute in ``precision``, or no thread is left.
    """
    check_threads(threads)
    installed = importlib.util.find_spec("openvino") is not None
    if name == "openvino" and not installed:
        raise SettingError("OpenVINO is not installed: pip install openvino, or take --engine onnxruntime.")
    if name == "auto":
        name = "openvino" if installed and platform.machine() in ("x86_64", "AMD64") else "onnxruntime"
    if name == "onnxruntime":
        if precision == "bf16":
            raise SettingError("ONNX Runtime computes in f32 on the CPU. For bf16 take --engine openvino.")
        return OnnxEngine(model, threads)
    from deblur.inference.openvino import OpenVinoEngine

    return OpenVinoEngine(model, precision, threads)


def check_threads(threads: int | None) -> None:
    """Raises SettingError where no thread is left; None is one a core."""
    if threads is not None and threads < 1:
        raise SettingError(f"--threads is {threads}; it must be at least 1.")


class OnnxEngine:
    """ONNX Runtime on the CPU, in float32.

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

    def __call__(self, batch: Batch, /) -> Batch:
        return self.begin().call(batch)

    def begin(self) -> Run:
        """Calls that ``cancel`` ends between two operators."""
        options = self._new_options()

        def call(batch: Batch) -> Batch:
            (restored,) = self._session.run(None, {self._input: batch}, options)
            return np.asarray(restored, dtype=np.float32)

        return Run(call, lambda: setattr(options, "terminate", True))
