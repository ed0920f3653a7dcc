"""The service over real sockets: what only a server between client and app can get right or wrong."""

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from deblur.inference.model_folder import open_model
from deblur.inference.onnx_runtime import OnnxEngine
from deblur.serving.api import create_app
from deblur.serving.model_store import ModelStore
from deblur.serving.standalone import Standalone
from tests.evaluation.test_live import serving
from tests.serving.test_api import RGB, pixels, png

KEY = "a-key-of-a-user-0123456789"


@pytest.fixture(scope="module")
def port(model_folder: Path) -> Iterator[int]:
    model = open_model(model_folder, OnnxEngine)
    app = create_app(ModelStore(Path, lambda folder: model), standalone=Standalone(KEY))
    with serving(app) as port:
        yield port


class Conversation:
    """One connection; what comes is read as it comes."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=20)
        self.stream = self.socket.makefile("rb")

    def __enter__(self) -> "Conversation":
        return self

    def __exit__(self, *_: object) -> None:
        self.stream.close()
        self.socket.close()

    def send(self, request_line: str, headers: dict[str, str], body: bytes = b"") -> None:
        lines = [f"{request_line} HTTP/1.1", "Host: x", *(f"{name}: {value}" for name, value in headers.items())]
        self.socket.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + body)

    def head(self) -> tuple[int, dict[str, str]]:
        """(Status, headers in lower case) of the next answer."""
        status = int(self.stream.readline().split()[1])
        headers = {}
        while line := self.stream.readline().strip():
            name, _, value = line.decode("latin-1").partition(":")
            headers[name.lower()] = value.strip()
        return status, headers

    def answer(self) -> tuple[int, dict[str, str], bytes]:
        """The next answer with its body."""
        status, headers = self.head()
        return status, headers, self.stream.read(int(headers.get("content-length", 0)))


LET_IN = {"Authorization": f"Bearer {KEY}"}


def test_who_expects_to_be_told_to_go_on_is_told_so_only_where_the_body_is_wanted(port: int) -> None:
    photo = png()
    expecting = {"Content-Length": str(len(photo)), "Expect": "100-continue"}
    with Conversation(port) as client:
        client.send("POST /api/deblur?strength=0", expecting | LET_IN)
        assert client.head()[0] == 100
        client.socket.sendall(photo)
        status, _, body = client.answer()
        assert status == 200
        assert np.array_equal(pixels(body), RGB)
    for target, headers, refused in (
        ("/api/deblur", {}, 401),
        ("/api/deblur?strength=9", LET_IN, 400),
        ("/api/deblur", LET_IN | {"Content-Encoding": "gzip"}, 415),
        ("/api/deblur", LET_IN | {"Content-Length": "99999999"}, 413),
        ("/api/health", {}, 405),
    ):
        with Conversation(port) as client:
            client.send(f"POST {target}", expecting | headers)
            status, told, body = client.answer()
            assert (status, told["content-type"]) == (refused, "application/problem+json")
            assert json.loads(body)["status"] == refused


def test_a_body_in_chunks_is_taken(port: int) -> None:
    photo = png()
    pieces = [photo[i : i + 1000] for i in range(0, len(photo), 1000)]
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in [*pieces, b""])
    with Conversation(port) as client:
        client.send("POST /api/deblur?strength=0", {"Transfer-Encoding": "chunked"} | LET_IN, chunks)
        status, _, body = client.answer()
        assert status == 200
        assert np.array_equal(pixels(body), RGB)


def test_head_and_304_carry_no_body_and_the_connection_goes_on(port: int) -> None:
    photo = png()
    with Conversation(port) as client:
        client.send("HEAD /api/models", {})
        status, told = client.head()
        assert (status, int(told["content-length"]) > 100) == (200, True)
        client.send("OPTIONS /api/models", {})
        status, told = client.head()
        assert (status, told["allow"]) == (204, "GET, HEAD, OPTIONS")
        client.send("POST /api/deblur", {"Content-Length": str(len(photo))} | LET_IN, photo)
        _, told, _ = client.answer()
        again = {"Content-Length": str(len(photo)), "If-None-Match": told["etag"]}
        client.send("POST /api/deblur", again | LET_IN, photo)
        assert client.head()[0] == 304
        client.send("GET /api/nothing", {})
        assert client.answer()[0] == 404
