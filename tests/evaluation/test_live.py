"""The page: what it is told is right, what makes no sense is refused, and so is whoever is not at this machine."""

import base64
import socket
import threading
import time
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from starlette.testclient import TestClient

from deblur.data.photos import SharpPhoto
from deblur.evaluation.live import UPLOADS_KEPT, create_app, difference
from deblur.evaluation.references import unsharp
from deblur.evaluation.ways import through, timed
from deblur.images import Photo, Pixels
from deblur.inference.model_folder import Model, open_model
from deblur.inference.photo import restore_photo
from deblur.metrics import psnr_db
from deblur.serving.limits import Limits
from deblur.synthesis.frozen import degraded
from tests.listening import serving

CROP_PX = 96
HERE = "http://127.0.0.1:7072"


@pytest.fixture(scope="module")
def photo(photos: dict[str, SharpPhoto]) -> NDArray[np.uint8]:
    return photos["chelsea"].pixels[50:130, 60:260]  # 80 x 200: lower than the crop, and wider


@pytest.fixture(scope="module")
def model(model_folder: Path) -> Model:
    return open_model(model_folder)


@pytest.fixture(scope="module")
def client(model: Model, photo: NDArray[np.uint8]) -> Iterator[TestClient]:
    images = [SharpPhoto("chelsea", photo), SharpPhoto("part", photo[:40, :40])]
    app = create_app(images, {"tiny": through(model), "unsharp": timed(unsharp)}, 3, 2.0, CROP_PX, Limits(body_mb=0.2))
    with TestClient(app, base_url=HERE) as client:
        yield client


def pixels(url: str) -> NDArray[np.uint8]:
    kind, data = url.split(",")
    assert kind == "data:image/png;base64"
    return np.asarray(Image.open(BytesIO(base64.b64decode(data))).convert("RGB"))


def compare(client: TestClient, **wanted: Any) -> dict[str, Any]:
    answer = client.get("/compare", params=wanted)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def test_the_page_stands_alone(client: TestClient) -> None:
    answer = client.get("/")
    assert answer.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    page = answer.text
    assert not any(f"{word}http" in page or f"{word}//" in page for word in ('src="', 'href="', "url(", "@import "))
    for name in ("image", "x", "y", "model", "strength", "kernel", "noise", "file"):
        assert f'id="{name}"' in page
        assert f'for="{name}"' in page, "every control has a label"


def test_what_there_is_to_choose_from(client: TestClient) -> None:
    choices = client.get("/choices").json()
    assert choices["images"][0] == {"image": 0, "name": "chelsea", "width": 200, "height": 80}
    assert choices["models"] == ["tiny", "unsharp"]
    assert choices["start"] == {"kernel": 3, "noise": 2.0}
    assert [kernel["name"] for kernel in choices["kernels"]][7] == "shake, 8 px"
    assert {pixels(kernel["picture"]).shape for kernel in choices["kernels"]} == {(49, 49, 3)}


def test_pictures_and_figures_are_right(client: TestClient, model: Model, photo: NDArray[np.uint8]) -> None:
    result = compare(client, image=0, kernel=7, noise=3, model="tiny", x=1, y=0)
    sharp = photo[:, -CROP_PX:]
    before = degraded(sharp, 7, 3)
    after = restore_photo(model, Photo(before.copy()))[0].rgb8  # guarded, as users get it
    assert (result["width"], result["height"]) == (CROP_PX, 80)
    assert np.array_equal(pixels(result["before"]), before)
    assert np.array_equal(pixels(result["after"]), after)
    assert np.array_equal(pixels(result["difference"]), difference(before, after))
    assert result["psnr_before_db"] == psnr_db(before, sharp)
    assert result["psnr_after_db"] == psnr_db(after, sharp)
    assert result["restore_ms"] > 0


def test_without_strength_nothing_changes(client: TestClient) -> None:
    result = compare(client, image=0, kernel=7, strength=0)
    assert result["after"] == result["before"]
    assert set(np.unique(pixels(result["difference"]))) == {128}
    assert result["psnr_after_db"] == result["psnr_before_db"]


def test_half_strength_lies_between(client: TestClient) -> None:
    results = [compare(client, image=1, kernel=4, model="unsharp", strength=strength) for strength in (0, 0.5, 1)]
    none, half, whole = (pixels(result["after"]).astype(float) for result in results)
    assert np.abs(half - (none + whole) / 2).max() <= 1


def test_a_picture_as_it_is_has_no_reference(client: TestClient, photo: NDArray[np.uint8]) -> None:
    result = compare(client, image=1)
    assert np.array_equal(pixels(result["before"]), photo[:40, :40])
    assert result["psnr_before_db"] is result["psnr_after_db"] is None


def test_differences_are_four_times_as_strong_around_grey() -> None:
    before = np.array([[[10, 100, 250]]], np.uint8)
    after = np.array([[[13, 95, 0]]], np.uint8)
    assert difference(before, after).ravel().tolist() == [140, 108, 0]


def png(rgb: NDArray[np.uint8]) -> bytes:
    stream = BytesIO()
    Image.fromarray(rgb).save(stream, "PNG")
    return stream.getvalue()


def test_a_persons_own_picture(client: TestClient, photo: NDArray[np.uint8]) -> None:
    numbers = []
    for i in range(UPLOADS_KEPT + 1):
        own = photo[i : i + 30, :50]
        answer = client.post("/images", params={"name": "ä <b>.png"}, content=png(own))
        assert answer.status_code == 201
        told = answer.json()
        assert (told["name"], told["width"], told["height"]) == ("ä <b>.png", 50, 30)
        numbers.append(told["image"])
        assert np.array_equal(pixels(compare(client, image=told["image"])["before"]), own)
    known = [image["image"] for image in client.get("/choices").json()["images"]]
    assert known == [0, 1, *numbers[1:]], "the first of one's own is forgotten, those given are not"
    assert client.get("/compare", params={"image": numbers[0]}).status_code == 400


@pytest.mark.parametrize(
    ("wanted", "sentence"),
    [
        ({}, "image is ''; there are 0, 1"),
        ({"image": 77}, "image is '77'"),
        ({"image": "-1"}, "image is '-1'"),
        ({"image": 0, "kernel": 24}, "whole numbers from 0 to 23"),
        ({"image": 0, "kernel": 1.5}, "whole numbers from 0 to 23"),
        ({"image": 0, "noise": 51}, "allowed are 0 to 50"),
        ({"image": 0, "noise": "nan"}, "allowed are 0 to 50"),
        ({"image": 0, "strength": 1.1}, "allowed are 0 to 1"),
        ({"image": 0, "x": -0.1}, "allowed are 0 to 1"),
        ({"image": 0, "model": "better"}, "there are tiny, unsharp"),
        ({"image": 0, "sharpness": 1}, "Not known: 'sharpness'"),
    ],
)
def test_what_makes_no_sense_is_told(client: TestClient, wanted: dict[str, Any], sentence: str) -> None:
    answer = client.get("/compare", params=wanted)
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/problem+json"
    assert sentence in answer.json()["detail"]


def test_bodies_that_are_no_pictures(client: TestClient) -> None:
    assert client.post("/images", content=b"no picture").status_code == 422
    large = client.post("/images", content=bytes(300_000))
    assert (large.status_code, large.json()["code"]) == (413, "photo-too-large")
    assert client.get("/nowhere").json()["code"] == "not-found"
    assert client.get("/images").status_code == 405


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:80", "[::1]:7072", "LOCALHOST:1"])
def test_this_machine_is_answered(client: TestClient, host: str) -> None:
    assert client.get("/choices", headers={"Host": host}).status_code == 200
    assert client.get("/choices", headers={"Host": host, "Origin": f"http://{host}"}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        *({"Host": host} for host in ("evil.example", "127.0.0.1.evil.example", "localhost@evil.example", "[::2]", "")),
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:9999"},
    ],
)
def test_whoever_asks_for_another_host_or_from_another_page_is_refused(
    client: TestClient, headers: dict[str, str]
) -> None:
    for method, path in (("GET", "/"), ("GET", "/compare?image=0"), ("POST", "/images"), ("GET", "/nowhere")):
        answer = client.request(method, path, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (403, "foreign")


def test_what_was_restored_is_kept(photo: NDArray[np.uint8]) -> None:
    """The strength, which changes nothing that the model sees, does not ask it again."""
    calls = []

    def counted(pixels: Pixels) -> Pixels:
        calls.append(pixels.shape)
        return pixels

    with TestClient(create_app([SharpPhoto("chelsea", photo)], {"counted": timed(counted)}), base_url=HERE) as client:
        for strength in (0, 0.5, 1):
            compare(client, image=0, kernel=1, strength=strength)
        compare(client, image=0, kernel=2)
    assert len(calls) == 2


def test_who_no_longer_waits_costs_nothing(photo: NDArray[np.uint8]) -> None:
    """A slider that moves asks and hangs up: only what runs already, and the newest question, are restored."""
    means, working, go_on = [], threading.Event(), threading.Event()

    def slow(pixels: Pixels) -> Pixels:
        working.set()
        assert go_on.wait(20)
        means.append(pixels.mean())
        return pixels

    with serving(create_app([SharpPhoto("chelsea", photo)], {"slow": timed(slow)})) as port:
        sockets = []
        for x in range(4):
            sockets.append(socket.create_connection(("127.0.0.1", port)))
            question = f"GET /compare?image=0&noise={x} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
            sockets[-1].sendall(question.encode())
            assert working.wait(20)
            time.sleep(0.05)
        for passed_by in sockets[1:3]:
            passed_by.close()
        time.sleep(0.2)
        go_on.set()
        for waiting in (sockets[0], sockets[3]):
            with waiting:
                assert waiting.makefile("rb").read().startswith(b"HTTP/1.1 200")
    assert len(means) == 2
