"""OpenVINO: the fast engine on x86-64, in bf16 where the processor has it.

It compiles a network anew for every shape, a few tenths of a second each; the last few shapes are kept.

A call alone has all cores. Calls beside each other share them by streams, each on cores of its own: threads that
compute one tile together wait for each other after every operator, and for whatever else a core of theirs does. Each
stream has the tensors of a tile in memory, so large tiles are computed one after the other all the same.
"""

import sys
import time
from collections import OrderedDict, deque
from concurrent.futures import Future
from contextlib import suppress
from functools import cache, partial
from math import inf
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from deblur.errors import ModelError, SettingError
from deblur.inference.engine import Precision, Run, Tiles

KEPT = 3
"""Shapes of tiles whose compiled networks are kept, for one stream and for several. Each network holds a copy of the
weights and, for each stream, the tensors of a tile: 120 MB for DeblurUNet at 576x528 in bf16 in one stream."""

STREAMS, SHARING_PX, MOMENT_S = 2, 640**2, 1.0
"""How many share the cores, by tiles up to which size, and for how long after two calls ran beside each other."""

UNUSED = ("openvino_telemetry", "openvino.tools.ovc")
"""Would report each import; would take a third of the import for a converter of models."""

_ONE_AT_A_TIME = Lock()

PRECISION = "deblur_precision"
"""A word in a file's metadata: a network that loses too much in bf16, or of which nobody knows, says it is f32."""


def core() -> Any:
    """The one core of this process, whichever threads ask for it first."""
    with _ONE_AT_A_TIME:
        return _made_core()


@cache
def _made_core() -> Any:
    """A core: once.

    Each core gives its thread a signal stack of its own, and when it goes, the one that was there when it came. Cores
    that go in another order than they came would leave a stack that is no more: the next signal would end the process.
    """
    for module in UNUSED:
        sys.modules.setdefault(module, None)  # type: ignore[arg-type]  # OpenVINO goes on without it
    import openvino

    # Its first use fills a table that waits for Python's lock while it holds one of its own: of two first calls at
    # once, each would hold what the other waits for, and the process would stand still.
    openvino.Type.f32.to_dtype()
    return openvino.Core()


class OpenVinoEngine:
    """OpenVINO on the CPU.

    Args:
        model: path of a self-contained ``model.onnx``, or a network that OpenVINO has read.
        precision: auto is bf16 where the processor has it and the file does not ask for f32.
        threads: threads inside one call; None takes all cores.
        kept: compiled tile shapes that stay in memory.

    Raises:
        ModelError: not a model, or one whose input is not a single ``(B, 3, h, w)`` float tensor.
        SettingError: bf16 on a processor without it, or with a file that asks for f32.
    """

    def __init__(
        self, model: Path | Any, precision: Precision = "auto", threads: int | None = None, kept: int = KEPT
    ) -> None:
        self._core = core()
        import openvino

        self._in_f32 = partial(OpenVinoEngine, model, "f32", threads, kept) if precision == "auto" else None
        self._kept = kept
        has_bf16 = "BF16" in self._core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        if precision == "bf16" and not has_bf16:
            raise SettingError("This processor does not multiply bf16 natively. Take precision f32.")
        try:
            # By its path it would read files beside it.
            self._network = self._core.read_model(model.read_bytes()) if isinstance(model, Path) else model
            inputs, outputs = self._network.inputs, self._network.outputs
        except Exception as error:  # OpenVINO raises RuntimeError and others
            raise ModelError(f"OpenVINO cannot load the model: {type(error).__name__}.") from error
        if self._asks_for_f32():
            if precision == "bf16":
                raise SettingError("This model loses too much in bf16. Take precision f32.")
            precision = "f32"
        self.precision: Precision = "bf16" if has_bf16 and precision != "f32" else "f32"
        self._options: dict[str, Any] = {"INFERENCE_PRECISION_HINT": self.precision}
        if threads:
            self._options["INFERENCE_NUM_THREADS"] = threads
        wanted = len(inputs) == len(outputs) == 1 and inputs[0].element_type == openvino.Type.f32
        if not wanted or len(inputs[0].partial_shape) != 4 or inputs[0].partial_shape[1] != openvino.Dimension(3):
            raise ModelError("The model must take one float tensor (B, 3, h, w) and return one.")
        self._compiled: OrderedDict[tuple[int, ...], dict[int, Future[_Compiled]]] = OrderedDict()
        self._lock, self._running, self._beside_s = Lock(), 0, -inf

    def __call__(self, batch: Tiles, /) -> Tiles:
        """A call by itself: what is compiled for it goes with it (58 MB after the golden input of DeblurUNet)."""
        return _answer(self._compile(batch.shape, 1).request(), batch)

    def begin(self) -> Run:
        """Calls that ``cancel`` ends between two operators."""
        lock, request = Lock(), None

        def call(batch: Tiles) -> Tiles:
            nonlocal request
            compiled = self._compiled_for(batch.shape)
            own = compiled.request()
            with lock:
                request = own
            with self._lock:
                self._running += 1
            try:
                restored = _answer(own, batch)
            finally:
                with lock:
                    request = None  # once it is taken back, it may be another run's
                with self._lock:
                    self._running -= 1
            compiled.take_back(own)
            return restored

        def cancel() -> None:
            with lock:
                if request:
                    request.cancel()

        return Run(call, cancel)

    def prepare(self, shape: tuple[int, ...]) -> None:
        """Compile for ``shape`` unless that is done; other calls go on meanwhile."""
        self._compiled_for(shape)

    def _streams(self, shape: tuple[int, ...]) -> int:
        """Calls that ran beside each other a moment ago will do so again."""
        now_s = time.monotonic()
        if self._running:
            self._beside_s = now_s
        return STREAMS if now_s - self._beside_s < MOMENT_S and shape[2] * shape[3] <= SHARING_PX else 1

    def in_f32(self) -> "OpenVinoEngine | None":
        """The same network in float32; None where it computes so, or bf16 was asked for."""
        return self._in_f32() if self._in_f32 and self.precision == "bf16" else None

    def _asks_for_f32(self) -> bool:
        place = ["framework", PRECISION]  # where OpenVINO puts an ONNX file's metadata
        return self._network.has_rt_info(place) and self._network.get_rt_info(place).astype(str) == "f32"

    def _compiled_for(self, shape: tuple[int, ...]) -> "_Compiled":
        """The network for ``shape`` and what runs now: kept from before, or new; the shape not used longest goes then.

        Who comes while it is being compiled waits for that, and for nothing else.
        """
        streams, new = self._streams(shape), Future[_Compiled]()
        with self._lock:
            by_streams = self._compiled.setdefault(shape, {})
            self._compiled.move_to_end(shape)
            while len(self._compiled) > self._kept:
                self._compiled.popitem(last=False)
            compiled = by_streams.setdefault(streams, new)
        if compiled is new:
            try:
                new.set_result(self._compile(shape, streams))
            except BaseException as error:
                new.set_exception(error)
                with self._lock:
                    del by_streams[streams]
        return compiled.result()

    def _compile(self, shape: tuple[int, ...], streams: int) -> "_Compiled":
        network = self._network.clone()
        network.reshape(list(shape))
        return _Compiled(self._core.compile_model(network, "CPU", {**self._options, "NUM_STREAMS": streams}), streams)


class _Compiled:
    """A network for one shape, and requests that are done.

    To make one waits until a stream is free, and a core is idle meanwhile: so where there are several streams, requests
    are used again, one that computes and one that waits for each. A request keeps its tiles: of one stream, none is
    kept.
    """

    def __init__(self, network: Any, streams: int) -> None:
        self._network, self._idle = network, deque[Any](maxlen=2 * streams if streams > 1 else 0)

    def request(self) -> Any:
        with suppress(IndexError):
            return self._idle.pop()
        return self._network.create_infer_request()

    def take_back(self, request: Any) -> None:
        self._idle.append(request)


def _answer(request: Any, batch: Tiles) -> Tiles:
    request.start_async({0: batch}, share_inputs=True)
    request.wait()
    return np.array(request.get_output_tensor(0).data)
