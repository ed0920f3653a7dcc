"""Several models by name, what a page asks before it sends a photo, and how far the photo is."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from starlette.testclient import TestClient

from deblur.errors import ModelError
from deblur.inference.model_folder import Model, open_model, read_info
from deblur.inference.restorer import Restorer
from deblur.inference.tiling import Tiling
from deblur.serving.api import create_app
from deblur.serving.model_store import ModelStore
from deblur.serving.standalone import Standalone
from tests.serving.test_api import png


@pytest.fixture(scope="module")
def client(model_folder: Path) -> Iterator[TestClient]:
    model = open_model(model_folder)

    def missing() -> Path:
        raise ModelError("/secret is not a model folder.")

    stores = {
        "mine": ModelStore(lambda: model_folder),
        "other": ModelStore(Path, lambda folder: replace(model, info=replace(model.info, version="3"))),
        "broken": ModelStore(missing),
    }
    with TestClient(create_app(stores, standalone=Standalone())) as client:
        yield client


def test_each_name_is_a_model_of_its_own_and_the_first_is_the_default(client: TestClient) -> None:
    for query, status, model in (("", 200, "tiny"), ("?model=other", 200, "tiny/3"), ("?model=broken", 503, "")):
        answer = client.post(f"/api/deblur{query}", content=png())
        assert (answer.status_code, answer.headers.get("x-deblur-model", "")) == (status, model)
    beside = client.post("/api/deblur", files={"image": png()}, data={"model": "other"})
    assert beside.headers["x-deblur-model"] == "tiny/3"


@pytest.mark.parametrize("name", ["", "theirs", "tiny"])
def test_a_name_that_is_not_served_is_refused_with_those_that_are(client: TestClient, name: str) -> None:
    answer = client.post(f"/api/deblur?model={name}", content=png())
    assert (answer.status_code, answer.json()["code"]) == (400, "request-invalid")
    assert "served are mine, other, broken" in answer.json()["detail"]


def test_what_a_page_asks_first(client: TestClient) -> None:
    client.post("/api/deblur", content=png())
    told = client.get("/api/models").json()
    assert (told["default"], told["key"]) == ("mine", False)
    assert [(each["name"], each["model"], each.get("code")) for each in told["models"]] == [
        ("mine", "tiny", None),
        ("other", "tiny/3", None),
        ("broken", None, "model-unavailable"),
    ]
    assert told["limits"] == {
        "body_mb": 20,
        "megapixels": 40,
        "formats": ["jpeg", "png", "webp", "tiff", "bmp", "gif"],
    }
    assert 0 < told["seconds_per_megapixel"] < 1000


def test_one_model_without_a_name_goes_by_its_own(model_folder: Path) -> None:
    client = TestClient(create_app(ModelStore(lambda: model_folder)))
    assert client.get("/api/models").json()["seconds_per_megapixel"] is None
    assert client.get("/api/models").json()["default"] == "tiny"
    assert client.post("/api/deblur?model=tiny", content=png()).status_code == 200
    assert client.post("/api/deblur?model=mine", content=png()).json()["detail"].endswith("served are tiny.")
    behind_a_host = TestClient(create_app(ModelStore(lambda: model_folder), with_post=False))
    assert behind_a_host.get("/api/models").json()["key"] is True


def test_progress_is_told_tile_by_tile_and_only_by_its_id(model_folder: Path) -> None:
    step, told = threading.Semaphore(0), []

    def engine(batch: np.ndarray) -> np.ndarray:
        assert step.acquire(timeout=20)
        return batch

    model = Model(read_info(model_folder), Restorer(engine, Tiling(64, 0, fitted=False)))
    app = create_app(ModelStore(Path, lambda folder: model), standalone=Standalone())
    with TestClient(app) as client, ThreadPoolExecutor(1) as pool:
        assert client.get("/api/progress/abcdefgh").json()["code"] == "progress-unknown"
        photo = png(np.zeros((128, 192, 3), np.uint8))
        answer = pool.submit(client.post, "/api/deblur?progress=abcdefgh", content=photo)
        for _ in range(6):
            step.release()
        assert answer.result(20).status_code == 200
        told.append(client.get("/api/progress/abcdefgh").json())
        assert told == [{"done": 6, "total": 6}]
        answer = pool.submit(client.post, "/api/deblur?progress=another-one", content=photo)
        step.release(2)
        seen = set()
        while 2 not in seen:
            progress = client.get("/api/progress/another-one")
            if progress.status_code == 200:
                seen.add(progress.json()["done"])
        step.release(4)
        assert answer.result(20).status_code == 200
        assert client.get("/api/progress/abcdefgh").json() == {"done": 6, "total": 6}


@pytest.mark.parametrize(
    "ident", ["short", "x" * 65, "with%20space", "../../etc", "", "two-of-them&progress=two-of-them"]
)
def test_an_id_that_is_none_is_refused(client: TestClient, ident: str) -> None:
    assert client.post(f"/api/deblur?progress={ident}", content=png()).status_code == 400


def test_only_so_many_ids_are_kept() -> None:
    from deblur.serving.progress import KEPT, Progress

    progress = Progress()
    tellers = [progress.begin(f"photo-{i:05}") for i in range(KEPT + 10)]
    tellers[0](1, 2)
    assert progress.of("photo-00000") is None
    assert progress.of("photo-00010") == (0, 0)
