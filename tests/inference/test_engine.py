"""Engines: one call, whatever runs it; the same answer for any number of threads; calls that can be ended."""

import importlib.util
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from deblur.errors import ModelError, SettingError
from deblur.inference.engine import Engine, begin
from deblur.inference.engines import open_engine
from deblur.inference.onnx_runtime import OnnxEngine
from deblur.inference.openvino import KEPT, OpenVinoEngine
from deblur.models.engine import TorchEngine
from tests.conftest import sharpening_network

pytestmark = pytest.mark.skipif(importlib.util.find_spec("openvino") is None, reason="OpenVINO is for x86-64 only")
TILES = np.random.default_rng(1).random((2, 3, 64, 96), dtype=np.float32)


@pytest.mark.parametrize("name", ["openvino", "onnxruntime"])
def test_every_engine_computes_what_the_network_does(model_folder: Path, name: str) -> None:
    engine = open_engine(model_folder / "model.onnx", name, "f32")  # type: ignore[arg-type]
    assert np.abs(engine(TILES) - TorchEngine(sharpening_network())(TILES)).max() < 1e-4


def test_bf16_is_close_and_is_what_auto_takes_where_the_processor_has_it(model_folder: Path) -> None:
    onnx = model_folder / "model.onnx"
    exact = OnnxEngine(onnx)(TILES)
    auto = OpenVinoEngine(onnx)
    if auto.precision == "f32":
        with pytest.raises(SettingError, match="Take precision f32"):
            OpenVinoEngine(onnx, "bf16")
        return
    difference = np.abs(auto(TILES) - exact)
    assert np.array_equal(auto(TILES), OpenVinoEngine(onnx, "bf16")(TILES))
    assert 1e-5 < difference.max() < 0.01


@pytest.mark.parametrize(("name", "precision"), [("onnxruntime", "f32"), ("openvino", "f32"), ("openvino", "auto")])
def test_the_same_bits_for_any_number_of_threads(model_folder: Path, name: str, precision: str) -> None:
    one, two = (open_engine(model_folder / "model.onnx", name, precision, threads) for threads in (1, 2))  # type: ignore[arg-type]
    assert np.array_equal(one(TILES), two(TILES))


@pytest.mark.parametrize("name", ["openvino", "onnxruntime"])
def test_a_call_ends_when_its_run_is_cancelled_and_other_runs_go_on(model_folder: Path, name: str) -> None:
    engine: Engine = open_engine(model_folder / "model.onnx", name, "f32", threads=1)  # type: ignore[arg-type]
    large = np.random.default_rng(2).random((1, 3, 1024, 1024), dtype=np.float32)
    expected = engine(TILES)
    begin(engine).call(large)  # compiled
    started = time.perf_counter()
    begin(engine).call(large)
    usual_s = time.perf_counter() - started

    run = begin(engine)
    timer = threading.Timer(usual_s / 10, run.cancel)
    timer.start()
    started = time.perf_counter()
    with pytest.raises(Exception, match=r"(?i)cancel|terminate"):
        run.call(large)
    assert time.perf_counter() - started < usual_s * 0.8
    assert np.array_equal(engine(TILES), expected)
    assert np.array_equal(begin(engine).call(TILES), expected)


def test_what_a_run_has_done_with_is_not_cancelled_for_another(model_folder: Path) -> None:
    """Where calls run beside each other, a tile that is done leaves its request to the next one."""
    engine = OpenVinoEngine(model_folder / "model.onnx", "f32", threads=1)
    engine._beside_s = time.monotonic() + 1e6  # as if two calls had run beside each other
    large = np.random.default_rng(2).random((1, 3, 640, 640), dtype=np.float32)
    one, other = engine.begin(), engine.begin()
    expected = one.call(large)
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(other.call, large)
        while not answer.done():
            one.cancel()
        assert np.array_equal(answer.result(), expected)


def test_two_first_calls_of_a_process_at_once_both_answer(model_folder: Path) -> None:
    """Each would hold a lock that the other waits for; it hung once in twenty times."""
    program = (
        "import sys, threading, numpy as np; from pathlib import Path\n"
        "from deblur.inference.openvino import OpenVinoEngine\n"
        "engines = [OpenVinoEngine(Path(sys.argv[1]), 'f32', 1) for _ in range(2)]\n"
        "together, tile = threading.Barrier(2), np.zeros((1, 3, 32, 32), np.float32)\n"
        "def call(engine):\n"
        "    engine.prepare(tile.shape); together.wait(); engine.begin().call(tile)\n"
        "calls = [threading.Thread(target=call, args=(each,)) for each in engines]\n"
        "[each.start() for each in calls]; [each.join() for each in calls]; print('both')"
    )
    command = [sys.executable, "-c", program, str(model_folder / "model.onnx")]
    assert subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout == "both\n"


def test_compiled_shapes_are_kept_and_the_one_not_used_longest_goes(model_folder: Path) -> None:
    engine = OpenVinoEngine(model_folder / "model.onnx")
    shapes = [(1, 3, 16, 16 * (i + 1)) for i in range(KEPT + 1)]
    for shape in shapes[:-1]:
        engine.begin().call(np.zeros(shape, np.float32))
    kept = engine._compiled[shapes[0]][1]
    engine.begin().call(np.zeros(shapes[0], np.float32))
    engine.begin().call(np.zeros(shapes[-1], np.float32))
    assert set(engine._compiled) == {shapes[0], *shapes[2:]}
    assert engine._compiled[shapes[0]][1] is kept
    frugal = OpenVinoEngine(model_folder / "model.onnx", kept=1)
    for shape in shapes[:2]:
        frugal.begin().call(np.zeros(shape, np.float32))
    assert set(frugal._compiled) == {shapes[1]}
    engine(np.zeros((1, 3, 32, 32), np.float32))
    assert set(engine._compiled) == {shapes[0], *shapes[2:]}, "a call by itself keeps nothing"


def test_shapes_that_are_kept_are_compiled_once_however_the_load_changes(
    model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, compiled = OpenVinoEngine(model_folder / "model.onnx"), list[tuple[tuple[int, ...], int]]()
    real = engine._compile
    monkeypatch.setattr(engine, "_compile", lambda *key: compiled.append(key) or real(*key))
    shapes = [(1, 3, 16, 16 * (i + 1)) for i in range(KEPT)]
    for streams in (1, 2, 1, 2):
        monkeypatch.setattr(engine, "_streams", lambda shape, streams=streams: streams)
        for shape in shapes:
            engine.prepare(shape)
    assert sorted(compiled) == sorted(product(shapes, (1, 2)))


def test_openvino_reports_to_nobody(model_folder: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from deblur.inference.openvino import OpenVinoEngine\n"
        "OpenVinoEngine(Path(sys.argv[1])); print(sys.modules['openvino_telemetry'], 'openvino' in sys.modules)"
    )
    command = [sys.executable, "-c", program, str(model_folder / "model.onnx")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "None True"


def test_two_restorations_share_an_engine(model_folder: Path) -> None:
    engine = OpenVinoEngine(model_folder / "model.onnx", "f32")
    batches = [np.random.default_rng(i).random((1, 3, 64, 64 + 16 * (i % 2)), dtype=np.float32) for i in range(8)]
    expected = [engine(batch) for batch in batches]
    answers: dict[int, np.ndarray] = {}

    def work(first: int) -> None:
        run = begin(engine)
        for i in range(first, len(batches), 2):
            answers[i] = run.call(batches[i])

    threads = [threading.Thread(target=work, args=(first,)) for first in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(np.array_equal(answers[i], expected[i]) for i in range(len(batches)))


def test_calls_beside_each_other_share_the_cores_and_give_the_same_bits(model_folder: Path) -> None:
    engine = OpenVinoEngine(model_folder / "model.onnx")
    batch = np.random.default_rng(0).random((1, 3, 256, 256), dtype=np.float32)
    alone = engine.begin().call(batch)
    assert set(engine._compiled[batch.shape]) == {1}
    with ThreadPoolExecutor(2) as pool:
        while set(engine._compiled[batch.shape]) == {1}:
            answers = list(pool.map(lambda run: run.call(batch), [engine.begin(), engine.begin()]))
        answers += pool.map(lambda run: run.call(batch), [engine.begin(), engine.begin()])
    assert set(engine._compiled[batch.shape]) == {1, 2}
    assert all(np.array_equal(answer, alone) for answer in answers)


@pytest.mark.parametrize("name", ["openvino", "onnxruntime"])
def test_bytes_that_are_no_model_are_an_error_with_a_sentence(tmp_path: Path, name: str) -> None:
    (tmp_path / "model.onnx").write_bytes(b"no model")
    with pytest.raises(ModelError, match="cannot load"):
        open_engine(tmp_path / "model.onnx", name)  # type: ignore[arg-type]


@pytest.mark.parametrize(("name", "channels"), [*product(["openvino", "onnxruntime"], [1, 4])])
def test_a_model_of_another_kind_is_refused(tmp_path: Path, name: str, channels: int) -> None:
    onnx = pytest.importorskip("onnx")
    shape = ["B", channels, "h", "w"]
    tensors = [onnx.helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, shape) for n in ("blurry", "restored")]
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Identity", ["blurry"], ["restored"])], "g", tensors[:1], tensors[1:]
    )
    onnx.save(
        onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 20)], ir_version=10), tmp_path / "m"
    )
    with pytest.raises(ModelError, match="one float tensor"):
        open_engine(tmp_path / "m", name)  # type: ignore[arg-type]


def test_onnx_runtime_has_no_bf16(model_folder: Path) -> None:
    with pytest.raises(SettingError, match="the engine openvino"):
        open_engine(model_folder / "model.onnx", "onnxruntime", "bf16")


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_engines_may_go_in_any_order_and_signals_still_find_their_stack(model_folder: Path) -> None:
    """In a process of its own: what went wrong here ended it without a word, at the next child that exited."""
    program = (
        "import faulthandler, gc, signal, subprocess, sys\n"
        "from pathlib import Path\n"
        "from deblur.inference.openvino import OpenVinoEngine\n"
        "faulthandler.enable()\n"
        "signal.signal(signal.SIGCHLD, lambda *_: None)\n"
        f"model = Path({str(model_folder / 'model.onnx')!r})\n"
        "engines = [OpenVinoEngine(model) for _ in range(3)]\n"
        "while engines:\n"
        "    engines.pop(0)\n"
        "    gc.collect()\n"
        "    subprocess.run([sys.executable, '-c', ''], check=True)\n"
        "print('alive')"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.stdout == "alive\n", (done.returncode, done.stderr)


def test_a_shape_that_is_being_compiled_stops_no_other(model_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who wants the same shape waits for it, and it is compiled once."""
    engine, compiled, go = OpenVinoEngine(model_folder / "model.onnx"), [], threading.Event()
    known, new = (1, 3, 32, 32), (1, 3, 48, 48)
    engine.prepare(known)
    real = engine._compile

    def slowly(shape: tuple[int, ...], streams: int) -> object:
        compiled.append(shape)
        assert go.wait(20)
        return real(shape, streams)

    monkeypatch.setattr(engine, "_compile", slowly)
    with ThreadPoolExecutor(2) as pool:
        waiting = [pool.submit(engine.prepare, new), pool.submit(engine.begin().call, np.zeros(new, np.float32))]
        assert engine.begin().call(np.zeros(known, np.float32)).shape == known
        assert not any(each.done() for each in waiting)
        go.set()
        assert waiting[1].result(20).shape == new
    assert compiled == [new]


def test_a_shape_that_cannot_be_compiled_is_tried_again(model_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine, shape = OpenVinoEngine(model_folder / "model.onnx"), (1, 3, 32, 32)
    with monkeypatch.context() as broken:
        broken.setattr(engine, "_compile", lambda shape, streams: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            engine.prepare(shape)
    assert engine.begin().call(np.zeros(shape, np.float32)).shape == shape


def test_what_auto_chose_can_be_had_in_f32_and_what_was_asked_for_cannot(model_folder: Path) -> None:
    onnx = model_folder / "model.onnx"
    auto = OpenVinoEngine(onnx)
    if auto.precision == "f32":
        assert auto.in_f32() is None
        return
    exact = auto.in_f32()
    assert exact is not None
    assert exact.precision == "f32"
    assert np.array_equal(exact(TILES), OpenVinoEngine(onnx, "f32")(TILES))
    assert OpenVinoEngine(onnx, "bf16").in_f32() is None
