"""Fetching over plain HTTP from servers of every temper: the login goes where it belongs, and no secret is told."""

import base64
import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

import deblur
from deblur.errors import ModelError
from deblur.inference.model_folder import read_info
from deblur.serving import registry_client
from deblur.serving.model_store import ModelStore
from deblur.serving.registry_client import fetch_over_http

Answer = tuple[int, dict[str, str], bytes]
VERSION = json.dumps({"model_version": {"version": "3", "run_id": "r"}}).encode()


class Registry:
    """A server whose answers a test chooses; it notes (path, Authorization)."""

    def __init__(self, answer: Callable[[str], Answer]) -> None:
        self.answer, self.seen = answer, list[tuple[str, str | None]]()
        registry = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                registry.seen.append((self.path, self.headers.get("Authorization")))
                status, headers, body = registry.answer(self.path)
                self.send_response(status)
                for name, value in ({"Content-Length": str(len(body))} | headers).items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *arguments: object) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()  # how soon it ends
        self.place = f"127.0.0.1:{self.server.server_port}"

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    @property
    def logins(self) -> set[str | None]:
        return {login for _, login in self.seen}


@pytest.fixture(autouse=True)
def nothing_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server of another test may have had the same port."""
    monkeypatch.setattr(registry_client, "_fetched", {})


@pytest.fixture
def serve() -> Iterator[Callable[[Callable[[str], Answer]], Registry]]:
    started: list[Registry] = []

    def start(answer: Callable[[str], Answer]) -> Registry:
        started.append(Registry(answer))
        return started[-1]

    yield start
    for registry in started:
        registry.close()


@pytest.fixture
def mlflow_like(model_folder: Path) -> Callable[[str], Answer]:
    def answer(path: str) -> Answer:
        if "/model-versions/get-artifact" not in path:
            return 200, {}, VERSION
        return 200, {}, (model_folder / ("model.onnx" if "model.onnx" in path else "model.json")).read_bytes()

    return answer


def until(condition: Callable[[], bool], within_s: float = 20) -> None:
    """Wait for what another thread does."""
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


Serve = Callable[[Callable[[str], Answer]], Registry]


def basic(login: str) -> str:
    return "Basic " + base64.b64encode(login.encode()).decode()


@pytest.mark.parametrize(
    ("address_login", "environment", "sent"),
    [
        ("", {}, None),
        ("us%40r:p%2Fw@", {"USERNAME": "no", "PASSWORD": "no", "TOKEN": "no"}, basic("us@r:p/w")),
        ("", {"USERNAME": "user", "PASSWORD": "pw", "TOKEN": "no"}, basic("user:pw")),
        ("", {"TOKEN": "tok"}, "Bearer tok"),
        ("", {"USERNAME": "user"}, None),
    ],
)
def test_it_logs_in_as_mlflow_does(
    serve: Serve,
    mlflow_like: Callable[[str], Answer],
    monkeypatch: pytest.MonkeyPatch,
    address_login: str,
    environment: dict[str, str],
    sent: str | None,
) -> None:
    registry = serve(mlflow_like)
    for name, value in environment.items():
        monkeypatch.setenv(f"MLFLOW_TRACKING_{name}", value)
    folder = fetch_over_http("models:/a%b c@champion", f"http://{address_login}{registry.place}/")
    assert (read_info(folder).name, read_info(folder).version, read_info(folder).run_id) == ("a%b c", "3", "r")
    assert len(registry.seen) == 3
    assert registry.logins == {sent}


def test_a_login_follows_to_the_same_host_and_to_no_other(serve: Serve, mlflow_like: Callable[[str], Answer]) -> None:
    other = serve(mlflow_like)

    def moved(path: str) -> Answer:
        if path.startswith("/there"):
            return mlflow_like(path)
        return 302, {"Location": f"http://{other.place}{path}" if "artifact" in path else f"/there{path}"}, b""

    registry = serve(moved)
    fetch_over_http("models:/a/3", f"http://user:pw@{registry.place}")
    assert {login for path, login in registry.seen if path.startswith("/there")} == {basic("user:pw")}
    assert len(other.seen) == 2
    assert other.logins == {None}


def test_certificates_are_always_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_INSECURE_TLS", "true")
    with pytest.raises(ModelError, match="certificates are always checked here"):
        fetch_over_http("models:/a/3", "https://127.0.0.1:9")


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ((401, {}, b"<html>"), "refuses the login .* MLFLOW_TRACKING_USERNAME"),
        ((404, {}, b"{}"), "answered 404 for a"),
        ((200, {}, b"<html>Sign in</html>"), "else than JSON, a login page perhaps"),
        ((200, {}, b"[1]"), "names no version of a"),
        ((200, {}, b'{"model_version": 3}'), "names no version of a"),
        ((200, {"Content-Length": "99"}, b'{"mod'), "else than JSON"),
        ((200, {}, b'"' + b"x" * 2_000_000), "more than 1 MB"),
        ((302, {"Location": "ftp://user:SECRETPW@127.0.0.1:9/"}, b""), "registry"),
    ],
)
def test_odd_answers_are_sentences(serve: Serve, answer: Answer, told: str, caplog: pytest.LogCaptureFixture) -> None:
    registry = serve(lambda path: answer)
    with pytest.raises(ModelError, match=told):
        ModelStore(lambda: fetch_over_http("models:/a@champion", f"http://user:SECRETPW@{registry.place}")).get()
    assert "SECRETPW" not in caplog.text


def test_a_description_has_a_limit_of_its_own(serve: Serve, mlflow_like: Callable[[str], Answer]) -> None:
    def long(path: str) -> Answer:
        return (200, {}, b" " * 2_000_000) if "model.json" in path else mlflow_like(path)

    registry = serve(long)
    with pytest.raises(ModelError, match=r"model.json has more than 1 MB"):
        fetch_over_http("models:/a/3", f"http://{registry.place}")


@pytest.mark.parametrize("password", ["SECRETPW", "SECRET/PW", "SECRET PW", "SECRET\nPW", "SECRET@PW", "SECRET[PW"])
def test_an_address_that_makes_no_sense_is_not_repeated(
    password: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(registry_client, "TIMEOUT_S", 2)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://user:{password}@127.0.0.1:9")
    with pytest.raises(ModelError) as caught:
        ModelStore(lambda: fetch_over_http("models:/a/3")).get()
    assert "SECRET" not in caplog.text + str(caught.value)


def test_an_alias_that_moves_is_followed_and_each_version_fetched_once(
    serve: Serve, mlflow_like: Callable[[str], Answer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEBLUR_FOLLOW_S", "0.02")
    version = {"is": b"3"}

    def moving(path: str) -> Answer:
        status, headers, body = mlflow_like(path)
        return status, headers, body.replace(b'"3"', b'"%s"' % version["is"]) if body == VERSION else body

    registry = serve(moving)
    uri, server = "models:/a@champion", f"http://{registry.place}"
    store = ModelStore(lambda: fetch_over_http(uri, server), follow=lambda: fetch_over_http(uri, server))
    assert store.get().info.label == "a/3"
    version["is"] = b"4"
    until(lambda: store.get().info.label == "a/4")
    asked = len(registry.seen)
    until(lambda: len(registry.seen) >= asked + 3)
    store.close()
    assert sum("get-artifact" in path for path, _ in registry.seen) == 4, "two files of two versions"


def test_of_a_models_versions_that_were_fetched_the_last_few_are_kept(
    serve: Serve, mlflow_like: Callable[[str], Answer]
) -> None:
    def answer(path: str) -> Answer:
        if "/model-versions/get?" not in path:
            return mlflow_like(path)
        version = path.rpartition("=")[2]
        return 200, {}, json.dumps({"model_version": {"version": version, "run_id": "r"}}).encode()

    server = f"http://{serve(answer).place}"
    first, of_another = (fetch_over_http(f"models:/{name}/1", server) for name in ("a", "b"))
    folders = []
    for version in range(2, registry_client.KEPT + 3):
        folders.append(fetch_over_http(f"models:/a/{version}", server))
        assert fetch_over_http("models:/a/1", server) == first, "it is in use"
    assert [folder.is_dir() for folder in folders] == [False, False, *[True] * (registry_client.KEPT - 1)]
    assert fetch_over_http("models:/a/2", server).is_dir(), "it is fetched again"
    assert fetch_over_http("models:/b/1", server) == of_another


def test_an_installation_without_mlflow_asks_a_server_all_the_same(
    serve: Callable[[Callable[[str], Answer]], Registry],
    mlflow_like: Callable[[str], Answer],
    model_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://{serve(mlflow_like).place}")
    monkeypatch.setitem(sys.modules, "mlflow", None)
    assert deblur.open_model("models:/small@champion").info.sha256 == read_info(model_folder).sha256
