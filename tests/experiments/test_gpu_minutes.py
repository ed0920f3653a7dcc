"""A few minutes on a GPU, rehearsed on the CPU: every stage, with no package that the GPU's machine lacks."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

from deblur.data.photos import SharpPhoto
from deblur.export.onnx import export_model
from deblur.inference.tiling import Tiling
from deblur.models import build
from deblur.models.checkpoint import network_from
from experiments.gpu_minutes import main

ROOT = Path(__file__).resolve().parents[2]
LACKING = ("mlflow", "tyro", "openvino", "pytorch_msssim", "av", "starlette")


@pytest.fixture
def data(tmp_path: Path, pair_folder: Path, photos: dict[str, SharpPhoto]) -> Path:
    for part in ("train", "val"):
        shutil.copytree(pair_folder, tmp_path / "data" / "pairs" / "real" / part)
    for folder, name in (("some", "coffee"), ("more", "rocket"), ("cc0", "chelsea"), ("cc0", "astronaut")):
        (tmp_path / "data" / "photos" / folder).mkdir(parents=True, exist_ok=True)
        Image.fromarray(photos[name].pixels).save(tmp_path / "data" / "photos" / folder / f"{name}.png")
    return tmp_path / "data"


def test_a_rehearsal_does_everything(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in LACKING:
        monkeypatch.setitem(sys.modules, name, None)
    out = tmp_path / "out"
    first, network = tmp_path / "first", build({"name": "FastUNet", "width": 8})
    export_model(network, first, name="first", tiling=Tiling(1024, 2 * network.halo_px, network.size_rule))
    main(["--data", str(data), "--out", str(out), "--rehearse", "--init", str(first)])
    told = json.loads((out / "figures.json").read_text())
    assert [Path(each["source"]).name for each in told["datasets"]] == ["more", "some", "train", "val"]
    assert told["benchmark"]["plain"]["crops_per_s"] > 0
    assert len(told["epochs"]) == 1
    assert told["crops"] == 8
    assert len(told["chose_the_epoch"]["real/val"]) == 2
    assert told["wins"] is None
    assert told["verdict"].startswith("none: The sets hold 4 pairs on which something can be gained")
    trained, shipped = (network_from(out / name) for name in ("model", "half"))
    assert trained.architecture == network.architecture
    assert not torch.equal(trained.get_parameter("stem.weight"), network.get_parameter("stem.weight"))
    assert torch.equal(trained.get_parameter("stem.weight").half().float(), shipped.get_parameter("stem.weight"))


def test_it_is_imported_where_much_is_missing() -> None:
    program = f"import sys\nfor name in {LACKING}: sys.modules[name] = None\nimport experiments.gpu_minutes"
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True)
