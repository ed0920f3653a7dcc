"""A server of one's own: keys, other pages, conditional requests, metrics, the registry's hook, and its end."""

import asyncio
import base64
import hashlib
import hmac
import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from deblur import image_limits, images
from deblur.inference.model_folder import Model, open_model
from deblur.inference.onnx_runtime import OnnxEngine
from deblur.inference.restorer import Restorer
from deblur.serving.api import create_app
from deblur.serving.limits import Limits
from deblur.serving.model_store import ModelStore
from deblur.serving.standalone import Standalone
from tests.serving.test_api import png, store_of
from tests.serving.test_registry_client import until

KEY = "a-key-of-a-user-0123456789"
BEARER = {"Authorization": f"Bearer {KEY}"}


@pytest.fixture(scope="module")
def opened(model_folder: Path) -> Model:
    return open_model(model_folder, OnnxEngine)


def client_of(model: Model, standalone: Standalone = Standalone()) -> TestClient:
    return TestClient(create_app(ModelStore(Path, lambda folder: model), standalone=standalone))


def test_a_photo_needs_the_key_and_the_key_is_never_told(opened: Model, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    client = client_of(opened, Standalone(KEY))
    wrong = (
        {},
        {"Authorization": "Bearer x"},
        {"Authorization": f"Basic {KEY}"},
        {"Authorization": f"Bearer {KEY}é".encode("latin-1")},
    )
    for headers in wrong:
        for refused in (
            client.post("/api/deblur?nonsense=1", content=png(), headers=headers),
            client.get("/api/metrics", headers=headers),
        ):
            assert (refused.status_code, refused.json()["code"]) == (401, "key-required")
            assert refused.headers["www-authenticate"] == "Bearer"
    for headers in (BEARER, {"x-functions-key": KEY}, {"authorization": f"bearer  {KEY}"}):
        assert client.post("/api/deblur", content=png(), headers=headers).status_code == 200
    assert client.get("/api/models").json()["key"] is True
    assert client.get("/api/health").status_code == client.get("/api/openapi.json").status_code == 200
    assert KEY not in caplog.text


def test_the_body_of_who_has_no_key_is_not_read(opened: Model) -> None:
    def body() -> object:
        raise AssertionError("read")
        yield b""

    assert client_of(opened, Standalone(KEY)).post("/api/deblur", content=body()).status_code == 401  # type: ignore[arg-type]


def test_pages_elsewhere_may_call_only_where_they_are_named(opened: Model) -> None:
    ask = {"Origin": "https://page.example", "Access-Control-Request-Method": "POST"}
    closed = client_of(opened)
    assert "access-control-allow-origin" not in closed.options("/api/deblur", headers=ask).headers
    assert "access-control-allow-origin" not in closed.get("/api/health", headers=ask).headers
    client = client_of(opened, Standalone(KEY, ("https://page.example",)))
    before = client.options("/api/deblur", headers=ask | {"Access-Control-Request-Headers": "authorization"})
    assert before.headers["access-control-allow-origin"] == "https://page.example"
    for other in ({"Origin": "https://other.example"}, {"Access-Control-Request-Method": "PUT"}):
        refused = client.options("/api/deblur", headers=ask | other)
        assert "access-control-allow-origin" not in refused.headers
        assert refused.headers["content-type"] == "application/problem+json"
        assert (refused.status_code, refused.json()["code"]) == (403, "origin-refused")
    assert 'path="preflight",status="403",code="origin-refused"} 2' in client.get("/api/metrics", headers=BEARER).text
    answer = client.post("/api/deblur", content=png(), headers=BEARER | ask)
    assert answer.headers["access-control-allow-origin"] == "https://page.example"
    assert "X-Deblur-Model" in answer.headers["access-control-expose-headers"]
    assert client.post("/api/deblur", headers=ask).headers["access-control-allow-origin"]  # the page can read a 401


def test_what_the_client_has_is_not_made_again(opened: Model) -> None:
    computed = []

    def engine(batch: np.ndarray) -> np.ndarray:
        computed.append(1)
        return opened.restorer.engine(batch)

    client = client_of(Model(opened.info, Restorer(engine, opened.restorer.tiling)))
    tag = client.post("/api/deblur", content=png()).headers["etag"]
    assert tag == client.post("/api/deblur?strength=1.0", content=png()).headers["etag"]
    assert len(computed) == 2
    for named in (tag, tag.removeprefix("W/"), f'"other", {tag}'):
        again = client.post("/api/deblur", content=png(), headers={"If-None-Match": named})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
    assert len(computed) == 2, "before any work"
    for query, photo in (("?strength=0.5", png()), ("?format=jpeg", png()), ("", png(np.zeros((9, 9, 3), np.uint8)))):
        answer = client.post(f"/api/deblur{query}", content=photo, headers={"If-None-Match": tag})
        assert answer.status_code == 200
        assert answer.headers["etag"] != tag
    for named in ("*", '"other"', "", "nonsense"):
        assert client.post("/api/deblur", content=png(), headers={"If-None-Match": named}).status_code == 200
    as_json = {"image": base64.b64encode(png()).decode()}
    assert client.post("/api/deblur", json=as_json, headers={"If-None-Match": tag}).status_code == 200


def test_what_is_counted(opened: Model) -> None:
    client = client_of(opened)
    client.post("/api/deblur", content=png())
    client.post("/api/deblur", content=b"no photo")
    client.get("/api/progress/some-photo")
    lines = client.get("/api/metrics").text.splitlines()
    for line in (
        'deblur_requests_total{path="/api/deblur",status="200",code="none"} 1',
        'deblur_requests_total{path="/api/deblur",status="422",code="photo-unreadable"} 1',
        'deblur_requests_total{path="/api/progress/{id}",status="404",code="progress-unknown"} 1',
        'deblur_megapixels_total{model="tiny"} 0.0054',
        'deblur_stage_seconds_count{stage="read"} 2',
        'deblur_stage_seconds_count{stage="restore"} 1',
        'deblur_guarded_photos_total{model="tiny"} 0',
        "deblur_photos_inside 0",
    ):
        assert line in lines
    assert any(line.startswith('deblur_model_age_seconds{name="tiny",model="tiny",source="folder"} ') for line in lines)
    told = [line.split()[2] for line in lines if line.startswith("# TYPE")]
    samples = {line.split("{")[0].split(" ")[0] for line in lines if not line.startswith("#")}
    assert len(told) == len(set(told))
    assert all(any(name in (each, f"{each}_sum", f"{each}_count") for each in told) for name in samples)


def delivery(secret: str, body: bytes, at: float | None = None) -> dict[str, str]:
    """As MLflow signs it (mlflow/webhooks/delivery.py)."""
    stamp = str(int(time.time() if at is None else at))
    digest = hmac.new(secret.encode(), f"id-1.{stamp}.{body.decode()}".encode(), hashlib.sha256).digest()
    return {
        "X-MLflow-Delivery-Id": "id-1",
        "X-MLflow-Timestamp": stamp,
        "X-MLflow-Signature": f"v1,{base64.b64encode(digest).decode()}",
    }


def test_the_registrys_hook_has_the_alias_asked_for_at_once(model_folder: Path) -> None:
    asked: list[int] = []

    def follow() -> Path:
        asked.append(1)
        return model_folder

    store, body = ModelStore(lambda: model_folder, follow=follow), b'{"entity": "model_version_alias"}'
    client = TestClient(create_app(store, standalone=Standalone(KEY, hook_secret="shared")))
    client.get("/api/health")
    forged = [
        {},
        delivery("guessed", body),
        delivery("shared", b"{}"),
        delivery("shared", body, time.time() - 3600),
        delivery("shared", body) | {"X-MLflow-Timestamp": "now"},
        delivery("shared", body) | {"X-MLflow-Delivery-Id": "id-2"},
    ]
    for headers in forged:
        answer = client.post("/api/hooks/registry", content=body, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (401, "signature-wrong")
    assert client.post("/api/hooks/registry", content=b"x" * 200_000).status_code == 413
    assert not asked
    assert client.post("/api/hooks/registry", content=body, headers=delivery("shared", body)).status_code == 202
    until(lambda: len(asked) == 1)
    store.close()
    assert client_of(store.get()).post("/api/hooks/registry", content=body).status_code == 404, "no secret, no hook"


def test_mlflow_signs_as_it_is_checked_here() -> None:
    delivering = pytest.importorskip("mlflow.webhooks.delivery", reason="this mlflow has no webhooks")
    signature = delivering._generate_hmac_signature("s", "id-1", "1700000000", "{}")
    assert signature == delivery("s", b"{}", 1_700_000_000)["X-MLflow-Signature"]


def test_health_tells_what_failed_and_neither_why_nor_where(
    model_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = ModelStore(lambda: Path("/secret/place"), fallbacks=lambda: [model_folder])
    health = TestClient(create_app(store)).get("/api/health")
    (state,) = health.json()["models"]
    assert (health.json()["status"], state["failed"]["code"], state["source"]) == ("ok", "model-refused", "folder")
    assert state["last_failure"] == state["failed"]
    assert state["since"].endswith("Z")
    assert state["precision"] in ("f32", "bf16")
    assert "secret" not in health.text
    assert "/secret/place" in caplog.text


def test_ready_answers_at_once_and_has_the_model_opened(model_folder: Path) -> None:
    go = threading.Event()

    def slow(folder: Path) -> Model:
        assert go.wait(20)
        return open_model(model_folder)

    client = TestClient(create_app(ModelStore(Path, slow)))
    for _ in range(3):
        assert (client.get("/api/ready").status_code, client.get("/api/ready").json()["status"]) == (503, "starting")
    go.set()
    until(lambda: client.get("/api/ready").status_code == 200)


def test_who_is_told_to_stop_refuses_what_still_runs(model_folder: Path) -> None:
    computing, go = threading.Event(), threading.Event()

    def engine(batch: np.ndarray) -> np.ndarray:
        computing.set()
        assert go.wait(20)
        return batch

    app = create_app(store_of(model_folder, engine), Limits(slots=1, waiting=1))
    with TestClient(app) as client, ThreadPoolExecutor(2) as pool:
        answers = [pool.submit(client.post, "/api/deblur", content=png()) for _ in range(2)]
        assert computing.wait(20)
        assert client.portal is not None
        client.portal.call(app.state.stop)
        threading.Timer(0.3, go.set).start()  # this engine cannot be cancelled
        for answer in answers:
            problem = answer.result(20)
            assert (problem.status_code, problem.json()["code"]) == (503, "service-busy")
            assert "stopping" in problem.json()["detail"]
            assert problem.headers["retry-after"]


@pytest.mark.parametrize("path", ["/api/deblur", "/api/hooks/registry"])
@pytest.mark.parametrize(("stops", "status", "why"), [(True, 503, b"stopping"), (False, 408, b"within 0.3 s")])
def test_who_still_sends_when_the_service_stops_or_time_is_up_is_told_so(
    path: str, stops: bool, status: int, why: bytes, opened: Model
) -> None:
    limits, standalone = Limits(body_s=60 if stops else 0.3), Standalone(hook_secret="shared")
    app = create_app(ModelStore(Path, lambda folder: opened), limits, standalone=standalone)
    sent: list[dict[str, Any]] = []

    async def ended_while_a_body_comes() -> None:
        reading = asyncio.Event()

        async def receive() -> dict[str, object]:
            if reading.is_set():
                await asyncio.Event().wait()
            reading.set()
            return {"type": "http.request", "body": png()[:10], "more_body": True}

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        scope = {"type": "http", "method": "POST", "path": path, "headers": [], "query_string": b""}
        answered = asyncio.create_task(app(scope, receive, send))  # type: ignore[arg-type]
        await reading.wait()
        await asyncio.sleep(0)
        if stops:
            app.state.stop()
        await asyncio.wait_for(answered, 10)

    asyncio.run(ended_while_a_body_comes())
    assert sent[0]["status"] == status
    assert why in sent[1]["body"]


def test_as_many_photos_are_decoded_as_are_in_work_and_no_more(
    model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded, go = [], threading.Event()

    def decode(data: bytes, limits: image_limits.DecodeLimits) -> images.Photo:
        decoded.append(1)
        return real(data, limits)

    def engine(batch: np.ndarray) -> np.ndarray:
        assert go.wait(20)
        return batch

    real = images.decode
    monkeypatch.setattr(images, "decode", decode)
    app = create_app(store_of(model_folder, engine), Limits(slots=2, waiting=3), standalone=Standalone())
    with TestClient(app) as client, ThreadPoolExecutor(5) as pool:
        answers = [pool.submit(client.post, "/api/deblur", content=png()) for _ in range(5)]
        until(lambda: "deblur_photos_inside 5" in client.get("/api/metrics").text and len(decoded) >= 2)
        time.sleep(0.1)
        assert len(decoded) == 2
        go.set()
        assert {answer.result(20).status_code for answer in answers} == {200}


def test_head_and_options_say_what_there_is(opened: Model) -> None:
    client = client_of(opened)
    assert client.options("/api/deblur").headers["allow"] == "OPTIONS, POST"
    assert client.options("/api/health").headers["allow"] == "GET, HEAD, OPTIONS"
    assert client.options("/page.css").headers["allow"] == client.options("/").headers["allow"] == "GET, HEAD, OPTIONS"
    assert client.head("/api/health").status_code == client.head("/").status_code == 200
    for method, path, allowed in (
        ("GET", "/api/deblur", "OPTIONS, POST"),
        ("PUT", "/api/health", "GET, HEAD, OPTIONS"),
    ):
        answer = client.request(method, path)
        assert (answer.status_code, answer.json()["code"]) == (405, "method-not-allowed")
        assert sorted(answer.headers["allow"].split(", ")) == allowed.split(", ")
    assert client.post("/api/deblur/", content=png()).json()["code"] == "not-found"
