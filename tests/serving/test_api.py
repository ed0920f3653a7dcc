"""The HTTP API: a real photo in every spelling, and every mistake answered with a sentence."""

import asyncio
import base64
import gzip
import json
import re
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from openapi_spec_validator import validate
from PIL import Image
from starlette.testclient import TestClient

from deblur.errors import ModelError
from deblur.images import OUTPUT_FORMATS
from deblur.inference.engine import Engine, Run
from deblur.inference.locating import locate_model
from deblur.inference.model_folder import Model, open_model, read_info
from deblur.inference.restorer import Restorer
from deblur.inference.tiling import Tiling
from deblur.serving.api import create_app
from deblur.serving.limits import Limits
from deblur.serving.model_store import ModelStore
from deblur.serving.standalone import Standalone
from deblur.serving.wish import OPTIONS

JSON = {"Content-Type": "application/json"}
RGB = np.random.default_rng(0).integers(0, 256, (60, 90, 3), dtype=np.uint8)


def png(rgb: np.ndarray = RGB) -> bytes:
    stream = BytesIO()
    Image.fromarray(rgb).save(stream, "PNG")
    return stream.getvalue()


class Endless:
    """A network that computes until it is cancelled."""

    def __init__(self) -> None:
        self.computing, self.cancelled = threading.Event(), threading.Event()

    def __call__(self, batch: np.ndarray, /) -> np.ndarray:
        raise AssertionError("the restorer begins a run of its own")

    def begin(self) -> Run:
        return Run(self._compute, self.cancelled.set)

    def _compute(self, batch: np.ndarray) -> np.ndarray:
        self.computing.set()
        assert self.cancelled.wait(20)
        raise RuntimeError("cancelled")


def store_of(model_folder: Path, engine: Engine) -> ModelStore:
    """The model, run by another engine."""
    model = Model(read_info(model_folder), Restorer(engine, Tiling(128, 32)))
    return ModelStore(Path, lambda folder: model)


def pixels(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(BytesIO(data)).convert("RGB"))


@pytest.fixture(scope="module")
def client(model_folder: Path) -> Iterator[TestClient]:
    with TestClient(create_app(ModelStore(lambda: model_folder), Limits(body_mb=0.5))) as client:
        yield client


@pytest.fixture(scope="module")
def expected(model_folder: Path) -> np.ndarray:
    return open_model(model_folder).restorer(RGB.astype(np.float32) / 255)


def test_a_photo_comes_back_restored(client: TestClient, expected: np.ndarray) -> None:
    answer = client.post("/api/deblur?guard=off", content=png(), headers={"Content-Type": "image/png"})
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["x-deblur-guard"] == "off"
    assert np.array_equal(pixels(answer.content), np.rint(expected * 255).astype(np.uint8))
    assert answer.headers["x-deblur-model"] == "tiny"
    assert answer.headers["x-deblur-tiles"] == "1"
    assert "restore;dur=" in answer.headers["server-timing"]


def test_the_guard_tells_what_it_did_and_can_be_turned_off(client: TestClient) -> None:
    told = client.post("/api/deblur", content=png()).headers["x-deblur-guard"]
    assert re.fullmatch(r"replaced=[01]\.\d\d, left-alone=[01]\.\d\d", told)
    refused = client.post("/api/deblur?guard=maybe", content=png())
    assert (refused.status_code, "allowed are on, off" in refused.text) == (400, True)


def test_every_spelling_gives_the_same_answer(client: TestClient) -> None:
    plain = client.post("/api/deblur", content=png(), headers={"Content-Type": "image/png"}).content
    curl = client.post(
        "/api/deblur", content=png(), headers={"Content-Type": "application/x-www-form-urlencoded"}
    ).content
    form = client.post("/api/deblur", files={"image": ("a b.png", png(), "image/png")}).content
    answer = client.post("/api/deblur", json={"image": base64.b64encode(png()).decode()}).json()
    assert curl == form == base64.b64decode(answer["image"]) == plain
    assert (answer["format"], answer["model"]) == ("png", "tiny")


def test_strength_format_and_quality(client: TestClient) -> None:
    nothing = client.post("/api/deblur?strength=0", content=png(), headers={"Content-Type": "image/png"})
    assert np.array_equal(pixels(nothing.content), RGB)
    sizes = []
    for quality in (20, 95):
        answer = client.post(f"/api/deblur?format=jpeg&quality={quality}", content=png())
        assert answer.headers["content-type"] == "image/jpeg"
        assert Image.open(BytesIO(answer.content)).format == "JPEG"
        sizes.append(len(answer.content))
    assert sizes[0] < sizes[1]


def test_further_pictures_of_the_file_are_told_of(client: TestClient) -> None:
    """A gain map beside the photo no longer fits it; what is left out is said."""
    stream = BytesIO()
    Image.fromarray(RGB).save(stream, "MPO", save_all=True, append_images=[Image.fromarray(RGB[::4, ::4])])
    answer = client.post("/api/deblur", content=stream.getvalue())
    assert answer.headers["content-type"] == "image/jpeg"
    assert "gain map" in answer.headers["x-deblur-left-out"]
    assert "x-deblur-left-out" not in client.post("/api/deblur", content=png()).headers


mistakes = {
    "empty": (b"", {}, "", 400, "request-invalid"),
    "json of an empty image": (b'{"image": ""}', {"Content-Type": "application/json"}, "", 400, "request-invalid"),
    "text": (b"hello", {"Content-Type": "image/png"}, "", 422, "photo-unreadable"),
    "cut": (png()[:-200], {"Content-Type": "image/png"}, "", 422, "photo-unreadable"),
    "a web page": (b"<html>", {"Content-Type": "text/html"}, "", 415, "photo-unsupported"),
    "too large": (b"0" * 600_000, {"Content-Type": "image/png"}, "", 413, "photo-too-large"),
    "strength": (png(), {}, "?strength=2", 400, "request-invalid"),
    "strength no number": (png(), {}, "?strength=nan", 400, "request-invalid"),
    "format": (png(), {}, "?format=gif", 400, "request-invalid"),
    "quality": (png(), {}, "?quality=0", 400, "request-invalid"),
    "unknown parameter": (png(), {}, "?sharpness=3", 400, "request-invalid"),
    "json without image": (b"{}", {"Content-Type": "application/json"}, "", 400, "request-invalid"),
    "broken json": (b"{", {"Content-Type": "application/json"}, "", 400, "request-invalid"),
    "json list": (b"[1]", {"Content-Type": "application/json"}, "", 400, "request-invalid"),
    "bad base64": (b'{"image": "?"}', {"Content-Type": "application/json"}, "", 400, "request-invalid"),
    "gzip": (gzip.compress(png()), {"Content-Encoding": "gzip"}, "", 415, "photo-unsupported"),
    "quality no whole number": (png(), {}, "?quality=95.5", 400, "request-invalid"),
    "form without boundary": (b"x", {"Content-Type": "multipart/form-data"}, "", 400, "request-invalid"),
}


@pytest.mark.parametrize("name", mistakes)
def test_mistakes_are_answered_with_a_problem(client: TestClient, name: str) -> None:
    content, headers, query, status, code = mistakes[name]
    answer = client.post(f"/api/deblur{query}", content=content, headers=headers)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert (problem["status"], problem["code"]) == (status, code)
    assert problem["detail"].endswith((".", ")"))


def test_an_empty_file_of_a_form_is_a_mistake_of_the_request(client: TestClient) -> None:
    answer = client.post("/api/deblur", files={"image": b""})
    assert (answer.status_code, answer.json()["code"]) == (400, "request-invalid")
    assert "0 bytes" in answer.json()["detail"]


def test_a_photo_that_the_format_cannot_hold_costs_no_work(model_folder: Path) -> None:
    idle = Model(read_info(model_folder), Restorer(lambda tiles: pytest.fail("it was restored"), Tiling(128, 32)))
    client = TestClient(create_app(ModelStore(Path, lambda folder: idle)))
    answer = client.post("/api/deblur?format=webp", content=png(np.zeros((1, 16_384, 3), np.uint8)))
    assert answer.status_code == 400
    assert "16383 px" in answer.json()["detail"]


def test_options_beside_the_image_are_obeyed(client: TestClient) -> None:
    """In the JSON and in the form as in the query: strength 0 gives the photo back, in the format asked for."""
    encoded = base64.b64encode(png()).decode()
    said = client.post("/api/deblur", json={"image": encoded, "strength": 0, "format": "tiff"}).json()
    form = client.post("/api/deblur", files={"image": png()}, data={"strength": "0", "format": "tiff"})
    query = client.post("/api/deblur?strength=0&format=tiff", content=png())
    assert said["format"] == "tiff"
    assert base64.b64decode(said["image"]) == form.content == query.content
    assert np.array_equal(pixels(form.content), RGB)
    small, large = (
        base64.b64decode(
            client.post("/api/deblur", json={"image": encoded, "format": "jpg", "quality": q}).json()["image"]
        )
        for q in (20, "95")
    )
    assert Image.open(BytesIO(small)).format == "JPEG"
    assert len(small) < len(large)


@pytest.mark.parametrize(
    ("query", "beside", "named"),
    [
        ("", {"sharpness": 3, "tile": 1}, "'sharpness', 'tile'"),
        ("", {"strength": 2}, "strength is '2'"),
        ("", {"strength": None}, "strength is 'null'"),
        ("", {"quality": True}, "quality is 'true'"),
        ("", {"format": ["png"]}, "format is"),
        ("", {"code": "x"}, "'code'"),
        ("?strength=1", {"strength": 1}, "strength is given more than once"),
        ("?quality=9&quality=9", {}, "quality is given more than once"),
    ],
)
def test_options_that_are_not_obeyed_are_refused_by_name(
    client: TestClient, query: str, beside: dict[str, object], named: str
) -> None:
    body = {"image": base64.b64encode(png()).decode()} | beside
    answer = client.post(f"/api/deblur{query}", json=body)
    assert answer.status_code == 400
    assert named in answer.json()["detail"]
    if all(isinstance(value, str | int) for value in beside.values()) and True not in beside.values():
        form = client.post(f"/api/deblur{query}", files={"image": png()}, data={k: str(v) for k, v in beside.items()})
        assert form.json()["detail"] == answer.json()["detail"]


def test_what_is_given_twice_in_one_body_is_refused(client: TestClient) -> None:
    encoded = base64.b64encode(png()).decode()
    for twice in (f'"image": "{encoded}"', '"strength": 0, "strength": 1'):
        content = f'{{"image": "{encoded}", {twice}}}'
        answer = client.post("/api/deblur", content=content, headers={"Content-Type": "application/json"})
        assert answer.status_code == 400
        assert f"{twice[1:].split(chr(34))[0]} is given more than once" in answer.json()["detail"]
    form = client.post("/api/deblur", files={"image": png()}, data={"strength": ["0", "1"]})
    assert "strength is given more than once" in form.json()["detail"]
    form = client.post("/api/deblur", files={"image": png()}, data={"image": "x"})
    assert "image is given more than once" in form.json()["detail"]


def test_base64_as_clients_write_it(client: TestClient) -> None:
    encoded = base64.b64encode(png()).decode()
    assert "+" in encoded
    assert "/" in encoded
    spellings = [
        f"data:image/png;base64,{encoded}",
        base64.encodebytes(png()).decode(),
        base64.encodebytes(png()).decode().replace("\n", "\r\n"),
        base64.urlsafe_b64encode(png()).decode(),
        base64.urlsafe_b64encode(png() + b"\0").decode().rstrip("="),
        base64.urlsafe_b64encode(png() + b"\0\0").decode().rstrip("="),
    ]
    for spelling in [encoded, *spellings]:
        answer = client.post("/api/deblur", json={"image": spelling, "strength": 0})
        assert answer.status_code == 200, spelling[:40]
        assert np.array_equal(pixels(base64.b64decode(answer.json()["image"])), RGB)
    for wrong in ("data:image/png,abc", "AAAAA", "ümlaut", 7, None, {"a": 1}):
        answer = client.post("/api/deblur", json={"image": wrong})
        assert (answer.status_code, answer.json()["code"]) == (400, "request-invalid"), wrong


@pytest.mark.parametrize("name", ["Content-Encoding", "Content-Transfer-Encoding"])
def test_a_coding_is_named_whatever_carries_it(client: TestClient, name: str) -> None:
    answer = client.post("/api/deblur", content=gzip.compress(png()), headers={name: "gzip"})
    part = (
        f'--b\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\n{name}: gzip\r\n\r\nx\r\n--b--\r\n'
    )
    form = client.post("/api/deblur", content=part, headers={"Content-Type": "multipart/form-data; boundary=b"})
    for refused in (answer, form):
        assert refused.status_code == 415
        assert f"{name} is 'gzip'" in refused.json()["detail"]
    plain = {"Content-Encoding": "identity", "Content-Transfer-Encoding": "binary"}
    assert client.post("/api/deblur", content=png(), headers=plain).status_code == 200


def test_what_a_client_said_is_repeated_short_and_escaped(client: TestClient) -> None:
    long, raw = "x" * 10_000, "\x1b[31m\r\n\u202e\ud800"
    encoded = base64.b64encode(png()).decode()
    answers = [
        client.post(f"/api/deblur?{long}=1", content=png()),
        client.post("/api/deblur", content=png(), params={"format": "\x1b[31m" + long}),
        client.post("/api/deblur", content=png(), headers={"Content-Type": long}),
        client.post("/api/deblur", content=png(), headers={"Content-Encoding": long}),
        client.post("/api/deblur", files={"image": png()}, data={long: "1"}),
        *(
            client.post("/api/deblur", content=json.dumps({"image": encoded, name: value}).encode(), headers=JSON)
            for name, value in ((long, 1), (raw, 1), ("strength", raw), ("quality", long), ("format", [long]))
        ),
        client.get(f"/{long}"),
        client.get("/%1b[31m%0d%0a"),
    ]
    for answer in answers:
        assert 400 <= answer.status_code < 500
        assert len(answer.content) < 600
        assert answer.json()["detail"].isprintable()


def test_a_form_without_the_field_says_so(client: TestClient) -> None:
    answer = client.post("/api/deblur", files={"photo": ("a.png", png(), "image/png")})
    assert answer.status_code == 400
    assert "field named image" in answer.json()["detail"]


def test_a_form_is_decoded_as_utf_8_whatever_codecs_python_has_and_its_options_are_short(client: TestClient) -> None:
    def told(charset: str, strength: str) -> str:
        part = f'--b\r\nContent-Disposition: form-data; name="strength"\r\n\r\n{strength}\r\n--b--\r\n'
        kind = f"multipart/form-data; charset={charset}; boundary=b"
        answer = client.post("/api/deblur", content=part, headers={"Content-Type": kind})
        assert (answer.status_code, answer.json()["code"]) == (400, "request-invalid")
        return str(answer.json()["detail"])

    for charset in ("undefined", "idna", "punycode"):
        assert f"charset is '{charset}'" in told(charset, "xn--a")
    for charset in ("UTF-8", '"iso-8859-1"'):
        assert "no file field named image" in told(charset, "0" * 1000)
        assert "at most 1 kB" in told(charset, "0" * 1001)


def test_health(client: TestClient) -> None:
    health = client.get("/api/health").json()
    assert {name: health[name] for name in ("status", "model", "version")} == {
        "status": "ok",
        "model": "tiny",
        "version": "0.1.0",
    }


def test_the_openapi_document_is_valid_and_complete(client: TestClient) -> None:
    document = client.get("/api/openapi.json").json()
    validate(document)
    app = create_app(ModelStore(lambda: Path()), standalone=Standalone(hook_secret="a secret"))
    paths = {route.path for route in app.routes}  # type: ignore[attr-defined]
    assert {path for path in paths if path.startswith("/api/")} == set(document["paths"])


def test_the_openapi_document_names_every_option_wherever_it_may_be_given(client: TestClient) -> None:
    document = client.get("/api/openapi.json").json()
    post = document["paths"]["/api/deblur"]["post"]
    form = post["requestBody"]["content"]["multipart/form-data"]["schema"]
    for beside in (form, document["components"]["schemas"]["JsonPhoto"]):
        assert beside["properties"].keys() == {"image", *OPTIONS}
        assert beside["additionalProperties"] is False
    assert {each["name"] for each in post["parameters"] if each["in"] == "query"} == {*OPTIONS, "progress"}
    assert document["components"]["schemas"]["Format"]["enum"] == list(OUTPUT_FORMATS)


def test_no_model_is_a_503_that_names_no_path_and_heals(model_folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    places = [Path("/secret/place"), model_folder]
    store = ModelStore(lambda: places[0])
    client = TestClient(create_app(store))
    for _ in range(2):
        answer = client.post("/api/deblur", content=png())
        assert answer.status_code == 503
        assert answer.json()["code"] == "model-unavailable"
        assert int(answer.headers["retry-after"]) > 0
        assert "secret" not in answer.text
    assert client.get("/api/health").status_code == 503
    assert "secret" not in client.get("/api/health").text
    assert caplog.text.count("/secret/place") == 1, "told in the log, once"
    places.pop(0)
    store._failed_at = None
    assert client.post("/api/deblur", content=png()).status_code == 200


def test_more_requests_than_places_are_told_to_come_back(model_folder: Path) -> None:
    """One slot and two waiting: with the slot held, of eight requests five are refused, none that was taken is lost."""
    go = threading.Event()

    def engine(batch: np.ndarray) -> np.ndarray:
        go.wait(20)
        return batch

    app = create_app(store_of(model_folder, engine), Limits(slots=1, waiting=2))
    refused = threading.Semaphore(0)

    with TestClient(app) as client, ThreadPoolExecutor(8) as pool:

        def send(_: int) -> int:
            answer = client.post("/api/deblur", content=png())
            if answer.status_code == 503:
                assert answer.headers["retry-after"]
                refused.release()
            return answer.status_code

        results = pool.map(send, range(8))
        assert all(refused.acquire(timeout=20) for _ in range(5))
        go.set()
        assert sorted(results) == [200, 200, 200, 503, 503, 503, 503, 503]


def test_the_work_stops_when_the_client_leaves_and_its_place_is_free(model_folder: Path) -> None:
    """The network would take for ever; the connection ends while it computes its first tile."""
    network = Endless()
    app = create_app(store_of(model_folder, network), Limits(slots=1, waiting=0))
    sent: list[str] = []

    async def leave_while_it_computes() -> None:
        messages: list[dict[str, object]] = []

        async def receive() -> dict[str, object]:
            if messages:
                return messages.pop()
            while not network.computing.is_set():
                await asyncio.sleep(0.01)
            return {"type": "http.disconnect"}

        async def send(message: dict[str, object]) -> None:
            sent.append(str(message["type"]))

        scope = {"type": "http", "method": "POST", "path": "/api/deblur", "headers": [], "query_string": b""}
        for _ in range(4):  # there is one place
            network.computing.clear()
            network.cancelled.clear()
            messages[:] = [{"type": "http.request", "body": png(), "more_body": False}]
            await asyncio.wait_for(app(scope, receive, send), 10)  # type: ignore[arg-type]
            assert network.cancelled.is_set()

    asyncio.run(leave_while_it_computes())
    assert sent.count("http.response.start") == 4


def test_who_leaves_while_waiting_leaves_the_queue(model_folder: Path) -> None:
    """One slot, one waiting: the slot is held, the one who waits leaves, and another finds a place."""
    computing, go = threading.Event(), threading.Event()

    def engine(batch: np.ndarray) -> np.ndarray:
        computing.set()
        assert go.wait(30)
        return batch

    app = create_app(store_of(model_folder, engine), Limits(slots=1, waiting=1))

    async def post(leaves: bool) -> int:
        """The status that was answered; 0 where nobody was there."""
        messages: list[dict[str, object]] = [{"type": "http.request", "body": png(), "more_body": False}]
        statuses = [0]

        async def receive() -> dict[str, object]:
            if not messages and not leaves:
                await asyncio.Event().wait()
            return messages.pop() if messages else {"type": "http.disconnect"}

        async def send(message: dict[str, object]) -> None:
            if message["type"] == "http.response.start":
                statuses.append(int(str(message["status"])))

        scope = {"type": "http", "method": "POST", "path": "/api/deblur", "headers": [], "query_string": b""}
        await app(scope, receive, send)  # type: ignore[arg-type]
        return 0 if leaves else statuses[-1]

    async def one_after_the_other() -> list[int]:
        first = asyncio.create_task(post(leaves=False))
        while not computing.is_set():
            await asyncio.sleep(0.01)
        assert await asyncio.wait_for(post(leaves=True), 10) == 0
        third = asyncio.create_task(post(leaves=False))
        await asyncio.sleep(0.2)
        go.set()
        return list(await asyncio.wait_for(asyncio.gather(first, third), 30))

    assert asyncio.run(one_after_the_other()) == [200, 200]


def test_a_body_that_does_not_come_is_given_up_and_only_so_many_are_read(model_folder: Path) -> None:
    app = create_app(ModelStore(lambda: model_folder), Limits(reading_mb=0.0005, body_s=0.5))
    scope = {"type": "http", "method": "POST", "path": "/api/deblur", "headers": [], "query_string": b""}
    statuses: list[object] = []

    async def send(message: dict[str, object]) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    async def post(part: bytes) -> None:
        messages = [{"type": "http.request", "body": part, "more_body": True}]

        async def receive() -> dict[str, object]:
            if not messages:
                await asyncio.Event().wait()
            return messages.pop()

        await app(scope, receive, send)  # type: ignore[arg-type]

    async def twice(parts: list[bytes]) -> None:
        for _ in range(2):  # what the first two took is given back
            await asyncio.wait_for(asyncio.gather(*map(post, parts)), 10)

    asyncio.run(twice([bytes(400), bytes(400)]))
    assert statuses == 2 * [503, 408]
    statuses.clear()
    asyncio.run(twice([bytes(1)] * 100))
    assert statuses == 200 * [408]


def test_without_post_no_spelling_of_the_path_takes_a_photo(model_folder: Path) -> None:
    client = TestClient(create_app(ModelStore(lambda: model_folder), with_post=False))
    assert client.get("/api/health").status_code == 200
    for path in ("/api/deblur", "/api%2Fdeblur", "//api/deblur", "/api/./deblur", "/api/DEBLUR"):
        assert client.post(path, content=png()).status_code in (404, 405)


def test_where_the_model_comes_from(model_folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def fetch(uri: str) -> Path:
        return tmp_path / uri.removeprefix("models:/")

    def champion() -> str:
        return "models:/local@champion"

    monkeypatch.setenv("DEBLUR_MODEL", "models:/fromenv/2")
    assert locate_model("given", fetch, champion) == Path("given")
    assert locate_model("models:/a@b", fetch, champion) == tmp_path / "a@b"
    assert locate_model(None, fetch, champion) == tmp_path / "fromenv/2"
    monkeypatch.delenv("DEBLUR_MODEL")
    assert locate_model(None, fetch, champion) == tmp_path / "local@champion"
    monkeypatch.setattr("deblur.inference.locating.bundled_model", lambda: None)
    with pytest.raises(ModelError, match="model, or DEBLUR_MODEL"):
        locate_model(None, fetch)
    assert json.loads((model_folder / "model.json").read_text())["version"] is None


@pytest.mark.parametrize("more", [b"[" * 200, b"{}," * 200, b"1," * 200])
def test_json_that_is_more_than_a_photo_is_refused_before_it_is_parsed(client: TestClient, more: bytes) -> None:
    body = b'{"image": "AAAA", "x": [' + more
    answer = client.post("/api/deblur", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400
    assert "more than a photo" in answer.json()["detail"]


def test_what_is_told_of_a_model_has_none_of_its_trainings_paths(model_folder: Path) -> None:
    model = open_model(model_folder)
    trained = replace(model, info=replace(model.info, trained={"settings": {"output_dir": "/home/me/runs"}}))
    told = TestClient(create_app(ModelStore(lambda: model_folder, lambda folder: trained))).get("/api/models")
    assert told.json()["models"][0]["name"] == model.info.name
    assert "/home/me" not in told.text
