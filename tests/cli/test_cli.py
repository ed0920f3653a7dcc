"""The command line: exit codes, sentences instead of tracebacks, and a server that answers over a real socket."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deblur.cli import main
from deblur.demo import free_port, post, served, wait_until_healthy
from deblur.errors import ModelError
from deblur.models.checkpoint import read_state
from deblur.registry.record import RunRecord
from tests.conftest import small_disk
from tests.serving.test_api import png

ROOT = Path(__file__).resolve().parents[2]


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
    assert "or allow it to be replaced (--overwrite).\n" in capsys.readouterr().err
    assert main(["restore", str(photo), "--overwrite"]) == 0
    (tmp_path / "in" / "broken.jpg").write_bytes(b"no")
    assert main(["restore", str(tmp_path / "in"), str(tmp_path / "out")]) == 1
    out = capsys.readouterr().out
    assert "1 restored, 1 not: broken.jpg." in out, "a result is not restored again"
    assert out.count(str(tmp_path / "in" / "broken.jpg")) == 1
    assert {p.name for p in (tmp_path / "out").glob("[!.]*")} == {"a b.png"}
    assert main(["restore", str(photo), f"{tmp_path}/new/"]) == 0
    assert (tmp_path / "new" / "a b.png").is_file()
    assert main(["restore", str(tmp_path / "in" / "broken.jpg")]) == 1
    assert capsys.readouterr().err.count("broken.jpg") == 1
    (tmp_path / "empty").mkdir()
    assert main(["restore", str(tmp_path / "empty")]) == 1
    assert "holds no photos" in capsys.readouterr().err


@pytest.mark.skipif(os.name == "nt", reason="SIGKILL")
def test_a_folder_whose_command_was_killed_is_finished_by_the_same_command(
    tmp_path: Path, model_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DEBLUR_MODEL", str(model_folder))
    photos, out, whole = (tmp_path / name for name in ("photos", "out", "whole"))
    photos.mkdir()
    for i in range(6):
        (photos / f"{i}.png").write_bytes(png(np.random.default_rng(i).integers(0, 256, (40, 50, 3), dtype=np.uint8)))
    slowly = (
        "import sys, time; from deblur.cli import main; from deblur.inference import files\n"
        "real = files.restore_photo\n"
        "files.restore_photo = lambda *args, **how: (time.sleep(0.5), real(*args, **how))[1]\n"
        "main(sys.argv[1:])"
    )
    process = subprocess.Popen([sys.executable, "-c", slowly, "restore", str(photos), str(out)])
    while len(list(out.glob("*.png"))) < 2:
        assert process.poll() is None
        time.sleep(0.01)
    process.kill()
    process.wait()
    done = {path.name: path.stat().st_mtime_ns for path in out.glob("*.png")}
    assert 2 <= len(done) < 6
    assert main(["restore", str(photos), str(out)]) == 0
    told = capsys.readouterr().out
    assert f"{6 - len(done)} restored, {len(done)} were there already (--overwrite replaces them)." in told
    assert {name: (out / name).stat().st_mtime_ns for name in done} == done
    assert main(["restore", str(photos), str(whole)]) == 0
    assert "6 restored.\n" in capsys.readouterr().out
    assert {p.name: p.read_bytes() for p in out.iterdir()} == {p.name: p.read_bytes() for p in whole.iterdir()}


def test_what_may_not_fit_into_memory_needs_a_flag(
    tmp_path: Path, model_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DEBLUR_MODEL", str(model_folder))
    monkeypatch.setattr("deblur.image_limits.available_memory", lambda: 1000.0)
    photo = tmp_path / "a (large).png"
    photo.write_bytes(png())
    for each in (photo, tmp_path):
        assert main(["restore", str(each)]) == 1
        told = "".join(capsys.readouterr())
        assert f"{photo}': " in told, "a name is no option"
        assert "Or allow it to be tried all the same (--large).\n" in told
    assert main(["restore", str(photo), "--large"]) == 0


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["restore", "/nowhere.png"], "There is no "),
        (["restore", "/dev/null"], "There is no file or folder"),
        (["restore", "x" * 300], "File name too long"),
        (["restore", __file__, "--tile", "0"], "--tile is 0"),
        (["restore", __file__, "--tile", "512"], "--overlap"),
        (["restore", __file__, "--engine", "torch", "--threads", "0"], "deblur: --threads is 0"),
        (["restore", __file__, "--memory", "1"], "deblur: --memory is 1 MB"),
        (["compare", __file__, "--kernel", "99"], "deblur: --kernel is 99"),
        (["promote", "x", "--margin", "-1"], "deblur: --margin is -1 dB"),
        (["train", "--batch_size", "0"], "deblur: batch_size is 0"),
        (["serve", "--port", "99999"], "--port is 99999"),
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


def test_a_port_that_is_taken_is_told_before_anything_is_announced(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert main(["serve", "--port", str(taken.getsockname()[1])]) == 1
    said = capsys.readouterr()
    assert "(Address already in use). Choose another --port." in said.err
    assert "serving on" not in said.out


def test_the_address_of_a_service_on_ipv6_can_be_opened(model_folder: Path) -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6")
    command = [sys.executable, "-m", "deblur", "serve", "--model", str(model_folder), "--host", "::1", "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        address = process.stdout.readline().decode().split()[2]
        assert address.startswith("http://[::1]:")
        wait_until_healthy(address, process)
    finally:
        process.kill()
        process.communicate()


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


PLAIN = (str(ROOT / "src" / "train.py"),)
QUICK_EXPORT = ("-m", "tests.training.process")


def train_command(pairs: Path, output: Path, *more: str, program: Sequence[str] = PLAIN) -> list[str]:
    command = [sys.executable, *program, "--preset", "small", "--width", "8"]
    command += ["--train_data", str(pairs), "--test_data", str(pairs), "--output_dir", str(output)]
    command += ["--patch_size", "32", "--epoch_images", "8", "--val_images", "1", "--tracking", "off"]
    command += ["--doctor", "off"]
    return [*command, "--num_epochs", "30", *more]


def as_verb(command: list[str]) -> list[str]:
    """The same training, for ``main`` in this process."""
    return ["train", *command[command.index("--preset") :]]


@contextmanager
def training(command: list[str], until: str) -> Iterator["subprocess.Popen[str]"]:
    """A training that has said ``until``; its processes are one group, as in a terminal."""
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True, cwd=ROOT
    )
    try:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith(until):
                break
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_a_signal_saves_and_closes_a_run_and_the_same_command_goes_on(
    pair_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The signal goes to the loading processes, too, as Ctrl-C in a terminal does."""
    command = train_command(
        pair_folder, tmp_path / "o", "--num_workers", "2", "--eval_every", "17", program=QUICK_EXPORT
    )
    record = RunRecord(tmp_path / "o")
    for number, epoch in ((signal.SIGTERM, 3), (signal.SIGINT, 20)):
        with training(command, f"epoch {epoch}/") as process:
            os.killpg(process.pid, number)
            out, error = process.communicate(timeout=30)
        assert process.returncode == 128 + number
        saved = read_state(tmp_path / "o")
        assert out.count("stopping after this step or tile; Ctrl-C again ends it without saving\n") == 1
        assert out.endswith(
            f"stopped after epoch {saved.epoch}, step {saved.step}; the state is in {tmp_path / 'o'}: the same command "
            "goes on\n"
        )
        assert "Traceback" not in error
        assert record.run["status"] == "KILLED"
        assert read_state(tmp_path / "o").step >= epoch, "more than the last validation had saved"
    assert main(as_verb(command)) == 0
    assert "resumed after epoch" in capsys.readouterr().out
    assert [line["epoch"] for line in record.epochs if "lr" in line["metrics"]] == list(range(1, 31))
    assert main([*as_verb(command), "--resume"]) == 0
    assert "is finished; use fresh to begin anew" in capsys.readouterr().out


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_a_second_trainer_on_the_same_folder_is_refused(
    pair_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = train_command(pair_folder, tmp_path / "o")
    with training(command, "epoch 1/"):
        assert main(as_verb(command)) == 6
    assert f"Another trainer works in {tmp_path / 'o'}" in capsys.readouterr().err.replace("\n", "")


def test_a_full_disk_has_its_own_exit_code_and_the_run_goes_on_when_there_is_room(
    pair_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with small_disk(tmp_path / "disk", kilobytes=80_000) as disk:
        command = train_command(
            pair_folder, disk / "o", "--num_epochs", "12", "--save_minutes", "0", program=QUICK_EXPORT
        )
        filler = disk / "filler"
        with training(command, "epoch 2/") as process:
            with suppress(OSError), filler.open("wb", buffering=0) as stream:
                while True:
                    stream.write(bytes(65_536))
            _, error = process.communicate(timeout=60)
        assert process.returncode == 4
        assert "No space left on device" in error.replace("\n", " ")
        assert "make room" in error.replace("\n", " ")
        assert "Traceback" not in error
        filler.unlink()
        assert read_state(disk / "o").damaged == []
        assert main(as_verb(command)) == 0
        assert "resumed after epoch" in capsys.readouterr().out


def test_numbers_that_stop_being_numbers_have_their_own_exit_code(
    pair_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An absurd learning rate: real training, real overflow."""
    command = train_command(
        pair_folder, tmp_path / "o", "--learning_rate", "1e30", "--num_epochs", "20", "--nonfinite_limit", "2"
    )
    assert main(as_verb(command)) == 3
    assert "lower learning_rate" in capsys.readouterr().err.replace("\n", " ")
    assert RunRecord(tmp_path / "o").run["status"] == "FAILED"
    assert not (tmp_path / "o" / "model").exists()


def test_a_broken_image_can_be_left_out_and_is_listed(
    pair_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pairs = Path(shutil.copytree(pair_folder, tmp_path / "pairs"))
    broken = pairs / "blur" / "coffee.png"
    broken.write_bytes(broken.read_bytes()[:1500])
    more = ("--num_epochs", "1", "--test_data", str(pair_folder))
    command = as_verb(train_command(pairs, tmp_path / "o", *more, "--num_workers", "1"))
    assert main(command) == 1
    assert "coffee.png" in capsys.readouterr().err.replace("\n", "")
    assert main([*command, "--skip_bad", "1"]) == 0
    assert "left out: " in capsys.readouterr().out
    (event,) = [event for event in RunRecord(tmp_path / "o").events if event["event"] == "left_out"]
    assert "coffee.png" in event["reason"]


def test_bench_train_measures_and_writes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = ["--width", "8", "--patch-size", "32", "--batch-size", "2", "--rounds", "1", "--steps", "1"]
    assert main(["bench", "train", *small, "--workers", "0", "--json", str(tmp_path / "b.json")]) == 0
    assert "of peak" in capsys.readouterr().out
    figures = json.loads((tmp_path / "b.json").read_text())
    assert figures["speedup"] == pytest.approx(figures["plain"]["seconds"] / figures["ours"]["seconds"])
    assert 0 <= figures["data_wait"] <= 1
    ours = figures["ours"]
    assert 0 < ours["tflops_per_s"] < 2 * ours["peak_tflops_per_s"]
