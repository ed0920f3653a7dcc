"""A line that cannot be printed costs no work: encodings, closed pipes, full disks, names that are commands."""

import os
import subprocess
import sys
import time
from io import BytesIO, TextIOWrapper
from pathlib import Path

import pytest
from PIL import Image

from deblur.cli import console, main
from deblur.cli.console import PlainConsole, Tolerant, complain, long_work, say
from deblur.registry.record import RunRecord
from tests.cli.test_cli import QUICK_EXPORT, ROOT, train_command

FULL = Path("/dev/full")  # a device on which every write fails as on a full disk
NAMES = ("A写真.png", "b1.png", "b2.png")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    for name in NAMES:
        Image.new("RGB", (40, 30), "gray").save(tmp_path / "in" / name)
    return tmp_path / "in"


def restore(folder: Path, model: Path, **options: object) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "deblur", "restore", str(folder), "--model", str(model)]
    environment = os.environ | {"PYTHONIOENCODING": "cp1252", "PYTHONUNBUFFERED": ""}  # as in most shells
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, **options)  # type: ignore[call-overload]


def test_long_work_without_a_terminal_tells_a_line_now_and_then(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for line_s in (60.0, -1.0):
        monkeypatch.setattr(console, "LINE_S", line_s)
        with long_work() as tell:
            for done in range(4):
                tell(f"{done} of 4 [a]", done, 4)
                time.sleep(0.01)
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "3 of 4 [a], about 0 min left"
    assert len(lines) <= 4, "none in the first minute"


def restored(folder: Path) -> set[str]:
    return {path.name for path in folder.with_name("in.deblurred").glob("[!.]*")}


def test_a_name_that_the_console_lacks_is_escaped_and_the_batch_goes_on(folder: Path, model_folder: Path) -> None:
    process = restore(folder, model_folder, stdout=subprocess.PIPE)
    said, error = process.communicate()
    assert (process.returncode, error) == (0, b"")
    assert rb"A\u5199\u771f.png" in said
    assert b"3 restored." in said
    assert restored(folder) == set(NAMES)


def test_a_batch_whose_reader_leaves_goes_on(folder: Path, model_folder: Path) -> None:
    """As in ``deblur restore FOLDER | head -0``."""
    process = restore(folder, model_folder, stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait() == 0
    assert restored(folder) == set(NAMES)


@pytest.mark.skipif(not FULL.exists(), reason="only Linux has a disk that is always full")
def test_a_full_disk_behind_the_log_is_told_and_the_batch_goes_on(folder: Path, model_folder: Path) -> None:
    with FULL.open("wb") as log:
        process = restore(folder, model_folder, stdout=log)
        _, error = process.communicate()
    assert process.returncode == 0
    assert error.count(b"\n") == 1
    assert b"No space left on device" in error
    assert restored(folder) == set(NAMES)


def test_a_training_whose_reader_leaves_goes_on_to_its_end(pair_folder: Path, tmp_path: Path) -> None:
    """As in ``deblur train ... | head -1``."""
    command = train_command(pair_folder, tmp_path / "o", "--num_epochs", "3", program=QUICK_EXPORT)
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT)
    assert process.stdout is not None
    assert process.stdout.readline()
    process.stdout.close()
    assert process.stderr is not None
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait() == 0
    assert RunRecord(tmp_path / "o").run["status"] == "FINISHED"
    assert len(RunRecord(tmp_path / "o").epochs) >= 3


def test_what_a_library_prints_is_no_danger_either(monkeypatch: pytest.MonkeyPatch) -> None:
    page = BytesIO()
    monkeypatch.setattr(sys, "stdout", TextIOWrapper(page, "ascii", write_through=True))
    monkeypatch.setattr("deblur.cli.VERBS", {"tell": lambda: print("写") or 0, "other": lambda: 0})
    assert main(["tell"]) == 0
    assert page.getvalue() == rb"\u5199" + os.linesep.encode()


def test_a_stream_tries_again_when_there_is_room() -> None:
    class Disk(BytesIO):
        full = True

        def write(self, data: object) -> int:
            if self.full:
                raise OSError(28, "No space left on device")
            return super().write(data)  # type: ignore[arg-type]

    disk = Disk()
    stream = Tolerant(TextIOWrapper(disk, "ascii", write_through=True))
    assert stream.write("lost\n") == 5
    disk.full = False
    assert stream.write("Übung 写\n") == 8
    stream.flush()
    assert disk.getvalue() == b"\\xdcbung \\u5199\n"
    assert str(stream.trouble) == "[Errno 28] No space left on device"


def test_a_name_is_printed_as_it_is_and_never_obeyed(capsys: pytest.CaptureFixture[str]) -> None:
    """No markup, no emoji codes, no wrapping, no escape sequences, no bytes that are no text."""
    name = "[red]a :dog: \x1b[31m\x9b\u202e" + os.fsdecode(b"\xff") + "x" * 200
    say(name)
    complain(name)
    shown = r"[red]a :dog: \x1b[31m\xc2\x9b\xe2\x80\xae\xff" + "x" * 200 + "\n"
    out, err = capsys.readouterr()
    assert out == shown
    assert err == "deblur: " + shown
    console = PlainConsole()
    with console.capture() as captured:
        console.print("a\nb")
    assert captured.get() == "a\nb\n"
