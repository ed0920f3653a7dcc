"""HEIC and AVIF: refused by name unless the service was told to read them."""

import sys
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from deblur.serving.api import create_app
from deblur.serving.limits import Limits
from deblur.serving.model_store import ModelStore

HEIC = (24).to_bytes(4) + b"ftypheic\0\0\0\0mif1heic" + bytes(100)


def avif() -> bytes:
    stream = BytesIO()
    ramp = np.linspace(0, 255, 60, dtype=np.uint8)
    Image.fromarray(np.stack([np.tile(ramp, (40, 1))] * 3, axis=2)).save(stream, "AVIF", quality=95)
    return stream.getvalue()


def client(model_folder: Path) -> TestClient:
    return TestClient(create_app(ModelStore(lambda: model_folder), Limits()))


def test_they_are_refused_by_name(model_folder: Path) -> None:
    for data, kind in ((avif(), "AVIF"), (HEIC, "HEIC")):
        answer = client(model_folder).post("/api/deblur", content=data)
        assert (answer.status_code, answer.json()["code"]) == (415, "photo-unsupported")
        assert kind in answer.json()["detail"]


def test_where_they_are_asked_for_they_come_back_as_jpeg(model_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEBLUR_HEIF", "1")
    answer = client(model_folder).post("/api/deblur", content=avif())
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/jpeg")
    assert Image.open(BytesIO(answer.content)).size == (60, 40)


def test_without_its_package_heic_is_refused_with_the_way_out(
    model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEBLUR_HEIF", "1")
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    answer = client(model_folder).post("/api/deblur", content=HEIC)
    assert answer.status_code == 415
    assert "pip install pillow-heif" in answer.json()["detail"]
