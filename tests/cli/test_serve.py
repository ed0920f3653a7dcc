"""``deblur serve``: which models it serves by which names, its key, and what it warns of."""

import json
import socket
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from deblur.cli import main
from deblur.serving.api import create_app
from deblur.serving.server import server_of
from deblur.serving.standalone import Standalone
from tests.serving.test_api import Endless, png, store_of
from tests.serving.test_registry_client import until

KEY = "a-key-of-a-user-0123456789"


@pytest.fixture
def app_of(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Starlette]:
    """The app that a command line would serve."""

    def app(*arguments: str) -> Starlette:
        apps: list[Starlette] = []
        monkeypatch.setattr(sys.modules["deblur.cli.serve"], "run", lambda app, *_: apps.append(app) or 0)
        assert main(["serve", "--engine", "onnxruntime", *arguments]) == 0
        return apps[0]

    return app


def test_several_models_by_name_warm_and_behind_a_key(
    app_of: Callable[..., Starlette], model_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "key").write_text(f"{KEY}\n")
    named = ("--model", f"mine={model_folder}", f"other={model_folder}", "--key-file", str(tmp_path / "key"))
    with TestClient(app_of(*named)) as client:
        until(lambda: client.get("/api/ready").status_code == 200)
        assert [each["name"] for each in client.get("/api/models").json()["models"]] == ["mine", "other"]
        assert client.post("/api/deblur?model=other", content=png()).status_code == 401
        answer = client.post("/api/deblur?model=other", content=png(), headers={"Authorization": f"Bearer {KEY}"})
        assert answer.status_code == 200
    assert "WARNING" not in capsys.readouterr().err


def test_nothing_is_opened_before_the_first_request_where_that_is_wanted(
    app_of: Callable[..., Starlette], model_folder: Path
) -> None:
    with TestClient(app_of("--model", str(model_folder), "--no-warm")) as client:
        assert client.get("/api/models").json()["seconds_per_megapixel"] is None


@pytest.mark.parametrize(
    ("named", "set_as"), [("models:/a@champion", ""), ("", "models:/a@champion"), ("", "models:/a/3")]
)
def test_a_registry_that_is_down_and_has_left_no_copy_leaves_the_model_of_the_package(
    named: str, set_as: str, app_of: Callable[..., Starlette], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/nowhere.db")
    monkeypatch.setenv("DEBLUR_MODEL", set_as)
    with TestClient(app_of(*(["--model", named] if named else []))) as client:
        (state,) = client.get("/api/health").json()["models"]
        assert (state["model"], state["source"], state["failed"]["code"]) == (
            "deblur-fast",
            "package",
            "model-not-found",
        )


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "a-name.example"])
def test_who_listens_for_others_without_a_key_is_warned(
    host: str, app_of: Callable[..., Starlette], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    app_of("--host", host)
    assert "anybody may send photos" in " ".join(capsys.readouterr().err.split())
    monkeypatch.setenv("DEBLUR_KEY", KEY)
    app_of("--host", host)
    said = capsys.readouterr()
    assert "anybody" not in said.err
    assert KEY not in said.err + said.out


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_who_keeps_to_this_machine_is_not(
    host: str, app_of: Callable[..., Starlette], capsys: pytest.CaptureFixture[str]
) -> None:
    app_of("--host", host)
    assert "WARNING" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--model", "/a", "/b"], "a name of its own"),
        (["--model", "a=/a", "/b"], "a name of its own"),
        (["--model", "a=/a", "a=/b"], "a name of its own"),
        (["--waiting", "-1"], "--waiting is -1"),
        (["--key-file", "/nowhere"], "key file /nowhere cannot be read"),
        (["--key-file", "/dev/null"], "16 or more"),
    ],
)
def test_what_makes_no_sense_is_told(arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", *arguments]) == 1
    assert sentence in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize("blank", ["", "\n", " \r\n", "\t"])
def test_a_key_file_without_a_key_opens_nothing(
    blank: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "key").write_text(blank)
    monkeypatch.setattr(sys.modules["deblur.cli.serve"], "run", lambda *_: 0)
    assert main(["serve", "--key-file", str(tmp_path / "key")]) == 1
    assert "16 or more" in " ".join(capsys.readouterr().err.split())
    if blank:
        monkeypatch.setenv("DEBLUR_KEY", blank)
        assert main(["serve"]) == 1


def test_a_photo_that_outlasts_the_end_is_told_to_come_back(
    model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server that ``deblur serve`` runs, told to stop while the network computes for ever."""
    monkeypatch.setattr("deblur.serving.server.STOP_BEFORE_S", 2.5)
    network = Endless()
    app = create_app(store_of(model_folder, network), standalone=Standalone())
    with socket.create_server(("127.0.0.1", 0)) as listening, ThreadPoolExecutor(2) as pool:
        server = server_of(app, 3)
        running = pool.submit(server.run, [listening])
        answer = pool.submit(status_of, f"http://127.0.0.1:{listening.getsockname()[1]}/api/deblur")
        assert network.computing.wait(20)
        server.should_exit = True
        assert answer.result(20) == (503, "service-busy")
        running.result(20)


def status_of(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, png()), timeout=20) as answer:
            return answer.status, ""
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)["code"]
