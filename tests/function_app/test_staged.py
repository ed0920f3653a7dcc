"""The staged folder in an environment that has what its requirements name and nothing else, as Azure runs it."""

import json
import os
import subprocess
import sys
import venv
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import deblur
from deblur.data.photos import SharpPhoto
from deblur.errors import PhotoError
from deblur.images import decode
from deblur.inference.locating import bundled_model
from deblur.staging import stage
from dev import WORKER
from tests.conftest import SHARED

ROOT = Path(__file__).resolve().parents[2]
EVERY = int(os.environ.get("DEBLUR_BAD_FILES_EVERY", "60"))
"""Of the list of bad files every so-manieth is sent; 1 sends all 2,165 (some minutes)."""


@dataclass(frozen=True)
class Asked:
    function: str
    method: str
    path: str
    file: Path | None = None


@dataclass(frozen=True)
class Answered:
    status: int
    headers: dict[str, str]
    body: bytes
    seconds: float


Ask = Callable[[list[Asked]], list[Answered]]


@pytest.fixture(scope="module")
def staged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("staged") / "azure"
    stage(ROOT, {"": bundled_model() or Path()}, folder)
    return folder


@pytest.fixture(scope="module")
def clean_python(staged: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of an environment with the staged requirements alone, and Microsoft's library."""
    home = tmp_path_factory.mktemp("clean")
    venv.create(home, symlinks=os.name != "nt")
    python = home / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    pip = [sys.executable, "-m", "pip", "--python", str(python), "--quiet", "--disable-pip-version-check"]
    worker = ["--no-deps", "--ignore-requires-python", *WORKER]
    reached = subprocess.run(
        [*pip, "download", "--retries=1", "--timeout=20", "--dest", str(home), *worker],
        capture_output=True,
        text=True,
        check=False,
    )
    if reached.returncode:
        pytest.skip("no package index can be reached, and a clean environment needs one")
    for what in (["--requirement", str(staged / "requirements.txt")], worker):
        done = subprocess.run([*pip, "install", "--no-compile", *what], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    return python


@pytest.fixture(scope="module")
def ask(staged: Path, clean_python: Path, tmp_path_factory: pytest.TempPathFactory) -> Ask:
    """A process answers all requests that it is given."""

    def send(requests: list[Asked]) -> list[Answered]:
        answers = tmp_path_factory.mktemp("answers")
        lines = "".join(json.dumps(vars(each), default=str) + "\n" for each in requests)
        program = [str(clean_python), str(Path(__file__).with_name("requests_to_staged.py")), str(staged), str(answers)]
        quiet = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "DEBLUR_MODEL")}
        done = subprocess.run(program, cwd=staged, env=quiet, input=lines, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-2000:]
        functions, *told = map(json.loads, done.stdout.splitlines())
        assert {"about", "deblur"} <= set(functions)
        return [Answered(**each, body=(answers / str(number)).read_bytes()) for number, each in enumerate(told)]

    return send


def test_it_restores_a_photo_as_this_checkout_does(ask: Ask, photos: dict[str, SharpPhoto], tmp_path: Path) -> None:
    file = tmp_path / "photo.png"
    Image.fromarray(photos["astronaut"].pixels[:200, :300]).save(file)
    health, photo = ask([Asked("about", "GET", "/api/health"), Asked("deblur", "POST", "/api/deblur", file)])
    assert (health.status, json.loads(health.body)["model"]) == (200, "deblur-fast")
    assert (photo.status, photo.headers["content-type"]) == (200, "image/png")
    expected = np.asarray(deblur.restore(file, bundled_model()), np.float32)
    assert np.abs(np.asarray(Image.open(BytesIO(photo.body)), np.float32) - expected).max() <= 1


def test_its_page_comes_with_it(ask: Ask) -> None:
    (page,) = ask([Asked("about", "GET", "/")])
    assert (page.status, page.headers["content-type"].partition(";")[0]) == (200, "text/html")


@pytest.mark.skipif(not SHARED.is_dir(), reason="shared/data is not beside this clone")
def test_bad_files_are_answered_with_a_word(ask: Ask) -> None:
    """No crash, and no answer of 500."""
    lines = (SHARED / "bad" / "manifest.jsonl").read_text(encoding="utf-8").splitlines()[::EVERY]
    entries = [json.loads(line) for line in lines]
    files = [SHARED / "bad" / entry["file"] for entry in entries]
    answers = ask([Asked("deblur", "POST", "/api/deblur", file) for file in files])
    seconds = sorted(answer.seconds for answer in answers)
    statuses = [answer.status for answer in answers]
    print({status: statuses.count(status) for status in sorted(set(statuses))}, file=sys.stderr)
    print(f"median {seconds[len(seconds) // 2]:.3f} s, longest {seconds[-1]:.2f} s", file=sys.stderr)
    assert len(answers) == len(entries)
    assert not [line for line in map(fault, entries, files, answers) if line]


def fault(entry: dict[str, str], file: Path, answer: Answered) -> str | None:
    """What is wrong with an answer to one of the bad files: it must be what this checkout's decoder makes of it."""
    if answer.status == 200 and entry["expected"] == "refuse":
        return f"{file.name} was restored"
    try:
        size_px = decode(file.read_bytes()).rgb.shape[1::-1]
    except PhotoError as error:
        refused = 400 <= answer.status < 500 and json.loads(answer.body)["code"] == error.code
        return None if refused else f"{file.name}: {answer.status}, not {error.code}"
    if answer.status != 200 or Image.open(BytesIO(answer.body)).size != size_px:
        return f"{file.name}: {answer.status}, or another size"
    return None
