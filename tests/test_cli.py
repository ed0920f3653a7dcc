"""The command line: exit codes, sentences instead of tracebacks, and a server that answers over a real socket."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deblur.cli import main
from deblur.demo import free_port, post, served, wait_until_healthy
from deblur.errors import ModelError

ROOT = Path(__file__).resolve().parents[1]
RGB = np.random.default_rng(0).integers(0, 256, (60, 90, 3), dtype=np.uint8)


def png(rgb: np.ndarray = RGB) -> bytes:
    stream = BytesIO()
    Image.fromarray(rgb).save(stream, "PNG")
    return stream.getvalue()


def test_restore_a_photo_and_a_folder(
    tmp_path: Path, model_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DEBLUR_MODEL", str(model_folder))
    (tmp_path / "in").mkdir()
    photo = tmp_path / "in" / "a b.png"
    photo.write_bytes(png())
    assert main(["restore", str(photo)]) == 0
    assert str(tmp_path / "in" / "a b.deblurred.png") in capsys.readouterr().out
    assert main(["restore", str(photo)]) == 1
    assert "--overwrite" in capsys.readouterr().err
    assert main(["restore", str(photo), "--overwrite"]) == 0
    (tmp_path / "in" / "broken.jpg").write_bytes(b"no")
    assert main(["restore", str(tmp_path / "in"), str(tmp_path / "out")]) == 1
    out = capsys.readouterr().out
    assert "2 restored, 1 not" in out
    assert "broken.jpg" in out
    assert {p.name for p in (tmp_path / "out").iterdir()} == {"a b.png", "a b.deblurred.png"}


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["restore", "/nowhere.png"], "There is no "),
        (["restore", __file__, "--model", "/nowhere"], "not a model folder"),
        (["restore", __file__, "--engine", "onnxruntime", "--device", "cuda"], "--engine torch"),
        (["register", "/nowhere.pth", "--name", "x"], "There is no checkpoint"),
        (["ship", "/nowhere"], "holds no run"),
    ],
)
def test_what_cannot_be_done_is_told_in_a_sentence(
    arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 1
    error = capsys.readouterr().err
    assert sentence in error.replace("\n", " ")
    assert "Traceback" not in error


def test_a_command_line_without_sense_is_2() -> None:
    with pytest.raises(SystemExit) as caught:
        main(["sharpen"])
    assert caught.value.code == 2


def test_serve_answers_over_a_socket_and_keeps_to_this_machine(model_folder: Path) -> None:
    with served(str(model_folder)) as url:
        assert url.startswith("http://127.0.0.1:")
        assert Image.open(BytesIO(post(url, png()))).size == (90, 60)
        with pytest.raises(urllib.error.HTTPError) as caught:
            post(url, b"no photo")
        assert caught.value.code == 422
        caught.value.close()


def test_a_service_without_a_model_says_so(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot restore"), served(str(tmp_path)):
        pass


@contextmanager
def server_process(model: Path, port: int) -> Iterator["subprocess.Popen[bytes]"]:
    command = [sys.executable, "-m", "deblur", "serve", "--model", str(model), "--port", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        wait_until_healthy(f"http://127.0.0.1:{port}", process)
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_sigterm_finishes_the_request_that_runs(model_folder: Path) -> None:
    """The photo takes a few seconds; the server is told to stop while it works, answers whole, and ends."""
    port = free_port()
    photo = png(np.random.default_rng(1).integers(0, 256, (1200, 1600, 3), dtype=np.uint8))
    with server_process(model_folder, port) as process, socket.create_connection(("127.0.0.1", port)) as client:
        head = f"POST /api/deblur HTTP/1.1\r\nHost: x\r\nContent-Length: {len(photo)}\r\nConnection: close\r\n\r\n"
        client.sendall(head.encode() + photo)
        time.sleep(0.5)
        process.send_signal(signal.SIGTERM)
        client.settimeout(60)
        answer = b"".join(iter(lambda: client.recv(65_536), b""))
        assert answer.startswith(b"HTTP/1.1 200")
        assert Image.open(BytesIO(answer.partition(b"\r\n\r\n")[2])).size == (1600, 1200)
        assert process.wait(timeout=25) in (0, -signal.SIGTERM)


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_sigterm_closes_a_training_run(pair_folder: Path, tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "src" / "train.py"), "--preset", "small", "--tracking", "off"]
    command += ["--train_data", str(pair_folder), "--test_data", str(pair_folder), "--output_dir", str(tmp_path / "o")]
    command += ["--patch_size", "32", "--epoch_images", "8", "--val_images", "1", "--num_workers", "0"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        for _ in range(600):
            if (tmp_path / "o" / "last.pth").exists():
                break
            time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 128 + signal.SIGTERM
    finally:
        process.kill()
        process.communicate()
    assert '"status": "KILLED"' in (tmp_path / "o" / "run.json").read_text()
