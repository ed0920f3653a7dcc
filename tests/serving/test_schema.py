"""The OpenAPI document and the service agree: Schemathesis sends what the document allows, and what it does not."""

import subprocess
import sys
from pathlib import Path

import pytest

from deblur.inference.model_folder import open_model
from deblur.inference.onnx_runtime import OnnxEngine
from deblur.serving.api import create_app
from deblur.serving.metrics import FAMILIES
from deblur.serving.model_store import ModelStore
from deblur.serving.problems import STATUS
from deblur.serving.standalone import Standalone
from deblur.serving.wish import OPTIONS
from tests.evaluation.test_live import serving

KEY = "a-key-of-a-user-0123456789"


def test_schemathesis_finds_nothing(model_folder: Path, tmp_path: Path) -> None:
    """Random bytes are no photo, so that a valid request may be a 422."""
    pytest.importorskip("schemathesis", reason="schemathesis is not installed (dev.py installs it)")
    model = open_model(model_folder, OnnxEngine)
    app = create_app(ModelStore(Path, lambda folder: model), standalone=Standalone(KEY, hook_secret="shared"))
    with serving(app) as port:
        command = [Path(sys.executable).with_name("schemathesis"), "run", f"http://127.0.0.1:{port}/api/openapi.json"]
        options = ["--checks", "all", "--exclude-checks", "positive_data_acceptance", "--seed", "1", "--no-color"]
        few = ["--phases", "coverage,fuzzing", "--max-examples", "5", "-H", f"Authorization: Bearer {KEY}"]
        command += [*options, *few]  # it leaves a folder where it runs
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    assert "7 passed" in done.stdout


def test_the_page_for_people_names_every_option_code_and_metric() -> None:
    page = (Path(__file__).resolve().parents[2] / "documentation" / "api.md").read_text(encoding="utf-8")
    named = [*OPTIONS, *(error.code for error in STATUS), *(family for family in FAMILIES if "stage" not in family)]
    assert not [name for name in named if f"`{name}`" not in page]
