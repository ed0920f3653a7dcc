"""The service under attack, over sockets: the short form of ``python -m experiments.siege``, on a tiny model."""

import asyncio
import gc
import http.client
import json
import logging
import re
import socket
import time
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path

import numpy as np
import pytest

from deblur import image_limits, images
from deblur.inference.model_folder import Model, open_model
from deblur.inference.onnx_runtime import OnnxEngine
from deblur.inference.restorer import Restorer
from deblur.serving import api, connections
from deblur.serving.api import create_app
from deblur.serving.limits import Gate, Limits
from deblur.serving.model_store import ModelStore
from deblur.serving.standalone import Standalone
from experiments import siege
from tests.conftest import SHARED
from tests.hostile import all_hostile
from tests.listening import serving
from tests.serving.test_api import png
from tests.serving.test_registry_client import until

pytestmark = pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="memory is read from Linux")


@pytest.fixture(scope="module")
def service(model_folder: Path) -> Iterator[siege.Service]:
    with siege.Service(model_folder) as service:
        yield service
        assert service.alive


@pytest.fixture(scope="module")
def model(model_folder: Path) -> Model:
    return open_model(model_folder, OnnxEngine)


@pytest.mark.skipif(not SHARED.is_dir(), reason="shared/data is not beside this clone")
def test_bad_files_are_decoded_or_refused_as_they_must_be(service: siege.Service) -> None:
    figures = siege.bad_files(service, SHARED / "bad", every=36)
    assert figures["requests"] > 120
    assert not figures["wrong"]


def test_bombs_cuts_disguises_and_orientations_cost_little(service: siege.Service) -> None:
    figures = siege.bombs(service, all_hostile())
    assert figures["files"] > 120
    assert not figures["wrong"]
    assert figures["slowest s"] < 2 * 3, "2 s, on a core of its own"
    assert figures["most MB"] < 300


def test_mutants_are_photos_or_problems(service: siege.Service) -> None:
    figures = siege.fuzz(service, 2000)
    assert not figures["wrong"]
    assert figures["statuses"].keys() > {200, 422}


def test_slow_connections_are_in_nobodys_way(service: siege.Service) -> None:
    figures = siege.slow(service, 300, photos=20, side_px=64)
    assert figures["p50 ratio"] < 2


def test_twice_the_capacity_is_answered_or_told_to_come_back(service: siege.Service) -> None:
    siege.overload(service, 1, side_px=200)  # the network is compiled for photos beside each other
    figures = siege.overload(service, 4, side_px=200)
    assert figures["statuses"].keys() <= {200, 503}
    assert not figures["lost"]
    assert not figures["503 without Retry-After"]
    assert figures["memory grew MB"] < 32


def test_who_leaves_takes_his_work_along(service: siege.Service) -> None:
    figures = siege.cancellations(service, 12, side_px=600)
    assert figures["memory grew MB"] < 64
    before, after = figures["threads before, after"]
    assert after <= before + 1


def test_no_photo_outlives_its_request(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    """However that ends, and at once, not when Python next collects garbage: photos are large."""
    decode, photos = images.decode, list["weakref.ref[np.ndarray]"]()

    def noted(data: bytes, limits: image_limits.DecodeLimits) -> images.Photo:
        photo = decode(data, limits)
        photos.append(weakref.ref(photo.rgb))
        return photo

    def fail(*_: object) -> None:
        raise ZeroDivisionError

    data = siege.photo(900)
    monkeypatch.setattr(images, "decode", noted)
    head = b"POST /api/deblur HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(data)
    gc.disable()
    try:
        with serving(create_app(ModelStore(Path, lambda folder: model), standalone=Standalone())) as port:
            for _ in range(3):
                came = len(photos)
                with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
                    client.sendall(head + data)
                    until(lambda came=came: len(photos) > came)
            assert siege.post(port, png()).status == 200
            with monkeypatch.context() as broken:
                broken.setattr(images, "encode", fail)
                assert siege.post(port, png()).status == 500
            until(lambda: not any(photo() is not None for photo in photos))
    finally:
        gc.enable()
    assert len(photos) == 5


def test_sigterm_answers_who_was_taken(model_folder: Path) -> None:
    figures = siege.ending(model_folder, side_px=1500, warm=False)
    assert set(figures["answers"]) <= {"200", "503 service-busy"}
    assert figures["exit code"] in (0, -15, 143)
    assert figures["ended after s"] < 21


def test_headers_without_end_and_what_is_no_http_are_problems(service: siege.Service) -> None:
    for sent, status, code in (
        (b"GET /api/ready HTTP/1.1\r\nX: " + b"a" * 20_000, 431, "headers-too-large"),
        (b"GET /api/ready HTTP/1.1\r\nX: " + b"a" * 20_000 + b"\r\n\r\n", 431, "headers-too-large"),
        (b"\x16\x03\x01\x02\x00\x01\r\n\r\n", 400, "http-invalid"),
    ):
        with socket.create_connection(("127.0.0.1", service.port), timeout=20) as client:
            client.sendall(sent)
            answer = http.client.HTTPResponse(client)
            answer.begin()
            assert (answer.status, json.loads(answer.read())["code"]) == (status, code)


def test_a_form_of_a_thousand_parts_is_refused(service: siege.Service) -> None:
    part = f'--{siege.BOUNDARY}\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\nx\r\n'
    answer = siege.post(service.port, 1000 * part.encode() + f"--{siege.BOUNDARY}--\r\n".encode(), siege.FORM)
    assert (answer.status, answer.code) == (400, "request-invalid")


def test_a_body_that_is_too_large_is_answered_though_it_still_comes(service: siege.Service) -> None:
    """With its length, which is refused before a byte came, and in chunks without end, which are counted."""
    sent = []

    def chunks() -> Iterator[bytes]:
        for i in range(60):
            sent.append(i)
            yield bytes(1_000_000)

    for body in (bytes(30_000_000), chunks()):
        with closing(http.client.HTTPConnection("127.0.0.1", service.port, timeout=20)) as client:
            client.request("POST", "/api/deblur", body)
            answer = client.getresponse()
            assert (answer.status, json.loads(answer.read())["code"]) == (413, "photo-too-large")
    assert len(sent) > 20


def test_a_connection_on_which_nothing_moves_is_closed(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing sent; headers without end; an answer that is not taken. Who asks, or takes it slowly, is left alone."""
    monkeypatch.setattr(connections, "LOOK_EVERY_S", 1.0)
    app = create_app(ModelStore(Path, lambda folder: model), standalone=Standalone())
    large = siege.photo(800, "png")

    class Narrow(connections.Connection):
        """The system holds little of an answer."""

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65_536)
            super().connection_made(transport)

    post = b"POST /api/deblur?strength=0&format=tiff HTTP/1.1\r\nContent-Length: %d\r\nHost: x\r\n\r\n" % len(large)

    def got_all(port: int, sent: bytes, pause_s: float, takes_it: bool) -> bool:
        came = 0
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
            client.settimeout(20)
            client.connect(("127.0.0.1", port))
            client.sendall(sent)
            with suppress(ConnectionError):
                while chunk := client.recv(150_000, socket.MSG_WAITALL if takes_it else 0):
                    time.sleep(pause_s if takes_it or not came else 0)
                    came += len(chunk)
        return came > 3 * 800**2

    with serving(app, http=Narrow) as port, ThreadPoolExecutor(4) as pool:
        nothing = pool.submit(got_all, port, b"", 0, False)
        no_end = pool.submit(got_all, port, b"GET / HTTP/1.1\r\nX: ", 0, False)
        not_taken = pool.submit(got_all, port, post + large, 4, False)
        slowly = pool.submit(got_all, port, post + large, 0.1, True)
        assert [each.result() for each in (nothing, no_end, not_taken, slowly)] == [False, False, False, True]
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=20)) as asks:
            for _ in range(8):
                asks.request("POST", "/api/deblur", png())
                assert asks.getresponse().read().startswith(b"\x89PNG")
                time.sleep(0.3)


STAGES: dict[str, tuple[object, str]] = {
    "read": (api, "read_body"),
    "header": (images, "megapixels"),
    "decode": (images, "decode"),
    "wait": (Gate, "slot"),
    "restore": (Restorer, "in_place"),
    "encode": (images, "encode"),
    "answer": (api, "_response"),
}


@pytest.mark.parametrize("stage", STAGES)
def test_a_fault_at_any_stage_frees_the_slot_and_is_found_in_the_log(
    stage: str, model: Model, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """One slot, nobody may wait: three faults one after the other, then a good photo."""

    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError("a private photo")

    app = create_app(ModelStore(Path, lambda folder: model), Limits(slots=1, waiting=0), standalone=Standalone())
    with serving(app) as port, caplog.at_level(logging.ERROR):
        with monkeypatch.context() as broken:
            broken.setattr(*STAGES[stage], fail)
            for _ in range(3):
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
                connection.request("POST", "/api/deblur", png())
                answer = connection.getresponse()
                problem = json.loads(answer.read())
                connection.close()
                assert (answer.status, problem["code"]) == (500, "internal")
                assert "private" not in str(problem)
                fault = re.search(r"the id (\w+)", problem["detail"])
                assert fault
                assert f"fault {fault[1]}" in caplog.text
        assert siege.post(port, png()).status == 200


def test_what_cannot_be_done_in_time_is_refused_at_once_with_the_way_out(model: Model) -> None:
    store = ModelStore(Path, lambda folder: model)
    app = create_app(store, Limits(answer_s=230), standalone=Standalone())
    store.serve().pace.note(10, 30_000)  # as if this machine took 3,000 s a megapixel
    with serving(app) as port:
        client = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        client.request("POST", "/api/deblur", siege.photo(400))
        answer = client.getresponse()
        problem = json.loads(answer.read())
        client.close()
    assert (answer.status, problem["code"]) == (413, "photo-too-large")
    assert "about 480 s" in problem["detail"]
    assert "within 230 s" in problem["detail"]
    assert "at most 0.1 megapixels" in problem["detail"]


def test_the_service_says_how_long_an_answer_may_take(monkeypatch: pytest.MonkeyPatch) -> None:
    for text, seconds in (("", 230), ("60", 60), ("0", float("inf")), ("soon", 230), ("-1", 230)):
        monkeypatch.setenv("DEBLUR_ANSWER_S", text)
        assert Limits().answer_s == seconds
