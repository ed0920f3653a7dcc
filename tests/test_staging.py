"""The folder that is deployed: the app, what it imports, a model. What it does is in ``function_app/test_staged``."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from deblur import project
from deblur.cli import main
from deblur.errors import ModelError, SettingError
from deblur.inference.locating import bundled_model
from deblur.staging import deployed_modules, stage

ROOT = Path(__file__).resolve().parents[1]


def written(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def test_the_folder_holds_the_app_its_modules_and_the_model_and_nothing_else(tmp_path: Path) -> None:
    out = tmp_path / "azure"
    stage(ROOT, {"": bundled_model() or Path()}, out)
    assert {path.name for path in out.iterdir()} == {
        *("host.json", "function_app.py", "function_app", "deblur", "model", "requirements.txt", ".funcignore")
    }
    assert {path.name for path in (out / "model").iterdir()} == {"model.onnx", "model.json", "CARD.md"}
    rooms = {path.name for path in (out / "deblur").iterdir() if path.is_dir()}
    assert rooms == {"inference", "serving"}
    assert (out / "deblur" / "serving" / "openapi.json").is_file()
    assert not [path for path in out.rglob("*") if path.suffix == ".pyc"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["azure"]


def test_imports_are_followed_into_functions_and_not_where_only_types_are_checked(tmp_path: Path) -> None:
    files = {
        "function_app/__init__.py": "import os\nfrom deblur.rooms import door\ndef f():\n    import deblur.late\n",
        "src/deblur/__init__.py": "from deblur import everything",
        "src/deblur/everything.py": "",
        "src/deblur/rooms/__init__.py": "",
        "src/deblur/rooms/door.py": "if TYPE_CHECKING:\n    from deblur.training import Heavy\nfrom .. import nothing",
        "src/deblur/late.py": "from deblur.rooms.window import Glass",
        "src/deblur/rooms/window.py": "class Glass: ...",
        "src/deblur/training.py": "",
    }
    root = written(tmp_path, files)
    found = {path.relative_to(root).as_posix() for path in deployed_modules(root)}
    assert found == files.keys() - {"src/deblur/everything.py", "src/deblur/training.py"}


def test_what_only_the_other_engine_needs_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(project, "root", lambda: ROOT)
    folders = {engine: tmp_path / engine for engine in ("openvino", "onnxruntime")}
    for engine, folder in folders.items():
        assert main(["package", "--model", "bundled", "--engine", engine, "--out", str(folder)]) == 0
    names = {
        engine: {line.partition("==")[0] for line in (folder / "requirements.txt").read_text().splitlines()}
        for engine, folder in folders.items()
    }
    assert names["openvino"] - names["onnxruntime"] == {"openvino", "openvino-telemetry"}
    assert names["onnxruntime"] - names["openvino"] == {"onnxruntime", "flatbuffers", "packaging", "protobuf"}
    assert {"numpy", "pillow", "simplejpeg", "starlette", "azure-functions"} <= names["openvino"]


def test_several_are_staged_by_name_and_the_first_is_the_default(
    tmp_path: Path, model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(project, "root", lambda: ROOT)
    out = tmp_path / "azure"
    assert main(["package", "--model", f"small={model_folder}", "fast=bundled", "--out", str(out)]) == 0
    program = (
        "import asyncio, json, azure.functions as func, function_app as f\n"
        "request = func.HttpRequest('GET', 'https://app.example/api/models', body=b'')\n"
        "print(f.__file__, asyncio.run(f.anonymous.handle_async(request, None)).get_body().decode())"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=out, capture_output=True, text=True, check=True)
    where, _, listed = done.stdout.partition(" ")
    assert Path(where).is_relative_to(out)
    assert list(out.joinpath("models", "names.txt").read_text().split()) == ["small", "fast"]
    assert [model["name"] for model in json.loads(listed)["models"]] == ["small", "fast"]


def test_a_new_one_takes_the_place_of_the_last_one_or_leaves_it(tmp_path: Path) -> None:
    out, broken = tmp_path / "azure", tmp_path / "broken"
    good = bundled_model() or Path()
    stage(ROOT, {"": good}, out)
    (out / "leftover").touch()
    broken.mkdir()
    for name in ("model.json", "model.onnx"):
        (broken / name).write_bytes((good / name).read_bytes())
    (broken / "model.onnx").write_bytes((good / "model.onnx").read_bytes()[:-1])
    with pytest.raises(ModelError):
        stage(ROOT, {"": broken}, out)
    assert (out / "leftover").exists()
    stage(ROOT, {"": good}, out)
    assert not (out / "leftover").exists()
    assert (out / "model" / "model.onnx").read_bytes() == (good / "model.onnx").read_bytes()


def test_a_folder_of_somebody_is_left_alone(tmp_path: Path) -> None:
    home = written(tmp_path / "home", {"letter.txt": "dear"})
    with pytest.raises(SettingError, match="no folder that was staged"):
        stage(ROOT, {"": bundled_model() or Path()}, home)
    assert (home / "letter.txt").read_text() == "dear"
