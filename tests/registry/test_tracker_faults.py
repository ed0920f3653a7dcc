"""A real ``mlflow server`` that is dead, stopped, started, frozen, or lies: the run neither waits nor loses a point.

The trainings are real and short; the server is tampered with when an epoch is recorded.
"""

import http.client
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from mlflow import MlflowClient

from deblur.cli import main
from deblur.demo import free_port
from deblur.errors import RegistrationError
from deblur.registry import tracking
from deblur.registry.record import RunRecord
from deblur.registry.tracking import EXPERIMENT, connect
from deblur.training.progress import Progress
from deblur.training.recipe import Result, run
from deblur.training.registering import ship_record
from deblur.training.shipping import Shipping
from tests.registry.test_loop_to_registry import settings

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals")


class Server:
    """``mlflow server`` over one store, to be started, killed and frozen."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "mlflow", "server", "--workers", "1", "--host", "127.0.0.1"]
        command += ["--port", str(self.port), "--backend-store-uri", f"sqlite:///{self.folder / 'mlflow.db'}"]
        command += ["--artifacts-destination", (self.folder / "mlruns").as_uri()]
        with (self.folder / "server.log").open("a") as log:
            self.process = subprocess.Popen(command, cwd=self.folder, stdout=log, stderr=log, start_new_session=True)
        for _ in range(240):
            assert self.process.poll() is None, (self.folder / "server.log").read_text()
            try:
                urllib.request.urlopen(f"{self.url}/health", timeout=5).close()
                return
            except OSError:
                time.sleep(0.25)
        raise AssertionError("the server did not start")

    def signal(self, number: int) -> None:
        """To the server and its workers."""
        assert self.process is not None
        os.killpg(self.process.pid, number)

    def kill(self) -> None:
        if self.process:
            self.signal(signal.SIGKILL)
            self.process.wait()
            self.process = None


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("server"))
    yield server
    server.kill()


@pytest.fixture(autouse=True)
def short_patience(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.url)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "3")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")


@pytest.fixture
def waited_s(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long the training thread spent with the tracker, call by call: waking the other thread, and any shipment."""
    spent: list[float] = []

    def timed(real: Callable[..., object]) -> Callable[..., object]:
        def call(*arguments: object) -> object:
            started = time.perf_counter()
            try:
                return real(*arguments)
            finally:
                if threading.current_thread() is threading.main_thread():
                    spent.append(time.perf_counter() - started)

        return call

    monkeypatch.setattr(Shipping, "wake", timed(Shipping.wake))
    monkeypatch.setattr(tracking, "ship", timed(tracking.ship))
    return spent


def assert_the_training_thread_never_waited(waited_s: list[float], record: RunRecord) -> None:
    seconds = sum(line["metrics"].get("seconds", 0.0) for line in record.epochs)
    assert waited_s
    assert sum(waited_s) < 0.01 * seconds


def trained(
    pairs: Path, output: Path, at_epoch: dict[int, Callable[[], None]], **changes: object
) -> tuple[Result | None, list[str]]:
    """A short run; ``at_epoch`` is called when that epoch was recorded."""
    lines: list[str] = []

    def on_line(line: str) -> None:
        lines.append(line)
        if line.startswith("epoch "):
            at_epoch.get(int(line.split()[1].partition("/")[0]), lambda: None)()

    config = settings(pairs, output, num_epochs=6, val_images=1, patch_size=32, **changes)
    return run(config, progress=Progress(on_line=on_line)), lines


def assert_everything_arrived_once(output: Path, run_id: str) -> None:
    record, client = RunRecord(output), connect()
    recorded: dict[str, list[tuple[int, int, float]]] = {}
    for line in record.epochs:
        for key, value in line["metrics"].items():
            recorded.setdefault(key, []).append((line["epoch"], line["time_ms"], value))
    for key, points in recorded.items():
        history = [(point.step, point.timestamp, point.value) for point in client.get_metric_history(run_id, key)]
        assert sorted(history) == sorted(points), key
    experiment = client.get_experiment_by_name(EXPERIMENT)
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id], f"tags.`deblur.record` = '{record.run['id']}'")
    assert [r.info.run_id for r in runs] == [run_id]
    assert runs[0].info.status == "FINISHED"
    images = [a.path for a in client.list_artifacts(run_id, "images") if a.path.endswith(".png")]
    assert len(images) == len(record.panels()) == 7
    assert runs[0].data.params["learning_rate"] == "0.001"


def test_dead_at_first_then_there_then_killed_then_there_again(
    server: Server, pair_folder: Path, tmp_path: Path, waited_s: list[float]
) -> None:
    server.kill()
    result, lines = trained(pair_folder, tmp_path / "o", {1: server.start, 3: server.kill, 5: server.start})
    assert result is not None
    assert any(line.startswith("not shipped yet, the run goes on") for line in lines)
    assert_the_training_thread_never_waited(waited_s, result.record)
    run_id, _ = ship_record(tmp_path / "o")
    assert result.run_id in (None, run_id)
    assert_everything_arrived_once(tmp_path / "o", run_id)


def test_frozen_longer_than_anyone_waits_and_then_it_does_all_it_was_asked(
    server: Server, pair_folder: Path, tmp_path: Path, waited_s: list[float]
) -> None:
    """Frozen, a server takes requests, and answers them when nobody listens any more."""
    if server.process is None:
        server.start()

    def thaw() -> None:
        time.sleep(4)  # longer than the client's patience
        server.signal(signal.SIGCONT)

    freeze = {1: lambda: server.signal(signal.SIGSTOP), 3: thaw}
    result, _ = trained(pair_folder, tmp_path / "o", freeze | {5: lambda: server.signal(signal.SIGSTOP)})
    assert result is not None
    assert_the_training_thread_never_waited(waited_s, result.record)
    server.signal(signal.SIGCONT)
    run_id, _ = ship_record(tmp_path / "o")
    assert_everything_arrived_once(tmp_path / "o", run_id)


class Liar(BaseHTTPRequestHandler):
    """Passes every request on; while ``lying`` the answer is 500, although the server did what it was asked."""

    target: str
    lying = False

    def handle_any(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        upstream = http.client.HTTPConnection(self.target, timeout=30)
        upstream.request(self.command, self.path, body, dict(self.headers))
        answer = upstream.getresponse()
        data = answer.read()
        self.send_response(500 if type(self).lying else answer.status)
        self.send_header("Content-Type", answer.headers.get("Content-Type", "application/json"))
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
        upstream.close()

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = handle_any  # noqa: N815

    def log_message(self, *arguments: object) -> None: ...


def test_answers_of_500_double_nothing_and_the_same_command_registers_later(
    server: Server, pair_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if server.process is None:
        server.start()
    liar = type("OneLiar", (Liar,), {"target": f"127.0.0.1:{server.port}", "lying": True})
    proxy = ThreadingHTTPServer(("127.0.0.1", 0), liar)
    threading.Thread(target=proxy.serve_forever, daemon=True).start()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{proxy.server_port}")

    def lie(value: bool) -> Callable[[], None]:
        return lambda: setattr(liar, "lying", value)

    try:
        with pytest.raises(RegistrationError) as caught:
            trained(
                pair_folder,
                tmp_path / "o",
                {2: lie(False), 3: lie(True), 4: lie(False), 5: lie(True)},
                registered_model_name="liar",
            )
        assert caught.value.exit_code == 5
        assert RunRecord(tmp_path / "o").run["status"] == "FINISHED"
        lie(False)()
        again, lines = trained(pair_folder, tmp_path / "o", {}, registered_model_name="liar")
        assert again is not None
        assert any(line.startswith("registered: liar version") for line in lines)
        assert_everything_arrived_once(tmp_path / "o", str(again.run_id))
        versions = MlflowClient().search_model_versions("name='liar'")
        assert [str(v.version) for v in versions] == [again.version], "one version, whatever was answered"
    finally:
        proxy.shutdown()
        proxy.server_close()


def test_a_resumed_run_is_the_same_run_in_the_tracker(
    server: Server, pair_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if server.process is None:
        server.start()
    command = ["--preset", "small", "--width", "8"]
    command += ["--train_data", str(pair_folder), "--test_data", str(pair_folder), "--output_dir", str(tmp_path / "o")]
    command += ["--patch_size", "32", "--epoch_images", "8", "--val_images", "1", "--num_workers", "0"]
    command += ["--num_epochs", "12", "--doctor", "off"]
    program = [sys.executable, "-m", "tests.training.process", *command]
    process = subprocess.Popen(program, stdout=subprocess.PIPE, text=True, start_new_session=True, cwd=ROOT)
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("epoch 3/"):
            break
    process.send_signal(signal.SIGTERM)
    started = time.monotonic()
    process.communicate()
    assert process.returncode == 128 + signal.SIGTERM
    assert time.monotonic() - started < 30
    record = RunRecord(tmp_path / "o")
    client = connect()
    found = client.search_runs(["1", "0"], f"tags.`deblur.record` = '{record.run['id']}'")
    assert [r.info.status for r in found] == ["KILLED"]
    assert main(["train", *command]) == 0
    assert "resumed after epoch" in capsys.readouterr().out
    after = client.get_run(found[0].info.run_id)
    assert after.info.status == "FINISHED"
    steps = [point.step for point in client.get_metric_history(found[0].info.run_id, "train_loss")]
    assert sorted(steps) == list(range(1, 13))
