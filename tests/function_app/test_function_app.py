"""The Azure Functions app, indexed and invoked by Microsoft's own worker library."""

import json
import subprocess
import sys
import sysconfig
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

pytest.importorskip("azure_functions_runtime", reason="azure-functions-runtime is not installed (dev.py installs it)")

from deblur.errors import SettingError
from tests.function_app.worker import Worker

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def worker() -> Worker:
    return Worker(ROOT)


@pytest.fixture
def fresh_store(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test opens the model anew, from the environment it sets."""
    import function_app

    monkeypatch.setattr(function_app.store, "_served", None)
    monkeypatch.setattr(function_app.store, "_failed_at", None)
    monkeypatch.setattr(function_app.store, "failure", None)


def jpeg(photos: dict) -> bytes:
    stream = BytesIO()
    Image.fromarray(photos["astronaut"].pixels[:200, :300]).save(stream, "JPEG", quality=95)
    return stream.getvalue()


def bindings_of(worker: Worker, function: str) -> dict[str, object]:
    raw = worker.functions[function].raw_bindings
    return next(b for b in map(json.loads, raw) if b["type"] == "httpTrigger")


def test_the_worker_indexes_the_app_from_the_repository_root(worker: Worker) -> None:
    assert set(worker.functions) == {"deblur", "about"}
    deblur, about = (bindings_of(worker, name) for name in ("deblur", "about"))
    assert (deblur["route"], deblur["authLevel"], deblur["methods"]) == ("api/deblur", "FUNCTION", ["POST"])
    assert (about["route"], about["authLevel"], about["methods"]) == ("{*path}", "ANONYMOUS", ["GET", "HEAD"])


def test_a_real_photo_comes_back_restored(
    worker: Worker, fresh_store: None, model_folder: Path, photos: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEBLUR_MODEL", str(model_folder))
    body = jpeg(photos)
    status, headers, answer = worker.invoke("deblur", "POST", "/api/deblur", body, {"Content-Type": "image/jpeg"})
    assert status == 200
    assert headers["content-type"] == "image/jpeg"
    assert headers["x-deblur-model"] == "tiny"
    blurry, restored = (np.asarray(Image.open(BytesIO(data)), np.float32) for data in (body, answer))
    assert restored.shape == blurry.shape
    assert 0.1 < np.abs(restored - blurry).mean() < 20
    status, headers, answer = worker.invoke(
        "deblur", "POST", "/api/deblur?format=png&strength=0", body, {"Content-Type": "image/jpeg"}
    )
    assert (status, headers["content-type"]) == (200, "image/png")
    assert np.array_equal(np.asarray(Image.open(BytesIO(answer)), np.float32), blurry)


def test_anonymous_routes_tell_and_never_take(
    worker: Worker, fresh_store: None, model_folder: Path, photos: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEBLUR_MODEL", str(model_folder))
    status, _, body = worker.invoke("about", "GET", "/api/health")
    assert (status, json.loads(body)["status"]) == (200, "ok")
    assert worker.invoke("about", "GET", "/api/openapi.json")[0] == 200
    status, headers, body = worker.invoke("about", "GET", "/")
    assert (status, headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert b"page.js" in body
    assert "script-src 'self'" in headers["content-security-policy"]
    for path in ("/api/deblur", "/api%2Fdeblur", "/api/%64eblur"):
        status, headers, _ = worker.invoke("about", "POST", path, jpeg(photos))
        assert status in (404, 405)
        assert headers["content-type"] == "application/problem+json"


def test_without_a_model_it_is_a_503_and_not_an_app_without_functions(
    worker: Worker, fresh_store: None, photos: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEBLUR_MODEL", "/nowhere")
    status, headers, body = worker.invoke("deblur", "POST", "/api/deblur", jpeg(photos))
    assert (status, headers["content-type"]) == (503, "application/problem+json")
    assert json.loads(body)["code"] == "model-unavailable"


def test_where_the_registry_fails_what_came_with_the_app_serves_and_health_says_so(
    worker: Worker, fresh_store: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEBLUR_MODEL", "models:/a/3")
    monkeypatch.setenv("DEBLUR_FOLLOW_S", "0")
    status, _, body = worker.invoke("about", "GET", "/api/health")
    (state,) = json.loads(body)["models"]
    assert (status, state["source"], state["failed"]["code"]) == (200, "package", "model-not-found")


def test_a_fault_of_ours_is_answered_not_raised(
    worker: Worker, fresh_store: None, photos: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    import function_app

    def broken() -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(function_app.store, "serve", broken)
    status, _, body = worker.invoke("deblur", "POST", "/api/deblur", jpeg(photos))
    assert (status, json.loads(body)["code"]) == (500, "internal")


def test_it_is_found_in_a_fresh_process_and_loads_nothing_at_import() -> None:
    program = (
        "from pathlib import Path\n"
        "from tests.function_app.worker import Worker\n"
        "names = sorted(Worker(Path.cwd()).functions)\n"
        "import function_app\n"
        "print(names, function_app.__file__.endswith('__init__.py'), function_app.store.loaded)"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip().splitlines()[-1] == "['about', 'deblur'] True None"


def test_it_is_found_in_a_checkout_that_is_not_installed() -> None:
    """Without the editable install that dev.py makes: site-packages by hand, its .pth files unread."""
    program = (
        f"import sys; sys.path[:0] = [{str(ROOT)!r}, {sysconfig.get_paths()['purelib']!r}]\n"
        "import function_app\n"
        "print(function_app.store.loaded)"
    )
    done = subprocess.run([sys.executable, "-S", "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "None", done.stderr


def test_another_server_gets_the_same_api(
    fresh_store: None, model_folder: Path, photos: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    from function_app.__main__ import service

    monkeypatch.setenv("DEBLUR_MODEL", str(model_folder))
    monkeypatch.setenv("DEBLUR_KEY", "a-key-as-a-file-has-it\n")
    client = TestClient(service())
    assert client.post("/api/deblur", content=jpeg(photos)).status_code == 401
    keyed = {"Authorization": "Bearer a-key-as-a-file-has-it"}
    answer = client.post("/api/deblur", content=jpeg(photos), headers=keyed)
    assert (answer.status_code, answer.headers["x-deblur-model"]) == (200, "tiny")
    monkeypatch.setenv("DEBLUR_KEY", "short")
    with pytest.raises(SettingError, match="16 or more"):
        service()


def test_host_settings_leave_no_prefix() -> None:
    host = json.loads((ROOT / "host.json").read_text())
    assert host["extensions"]["http"]["routePrefix"] == ""
    assert "FastAPI" not in (ROOT / "function_app.py").read_text()
