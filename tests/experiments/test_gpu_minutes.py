"""A few minutes on a GPU, rehearsed on the CPU: every stage, with no package that the GPU's machine lacks."""

import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from deblur.data import batches
from deblur.data.photos import SharpPhoto, installed_photos
from deblur.evaluation.ways import model_ways
from deblur.export.onnx import export_model
from deblur.inference.model_folder import open_model
from deblur.inference.tiling import Tiling
from deblur.models import build
from deblur.models.checkpoint import network_from
from experiments.gpu_minutes import judged, main

ROOT = Path(__file__).resolve().parents[2]
LACKING = ("mlflow", "tyro", "openvino", "pytorch_msssim", "av", "starlette", "uvicorn", "multipart", "pynvml")


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
    assert told["crops_per_s"] > 0
    assert 0 < told["codes_apart"] < 0.5, "blurred as on a GPU"
    assert "failed" not in told
    assert len(told["epochs"]) == 1
    assert told["crops"] == 8
    assert len(told["chose_the_epoch"]["real/val"]) == 2
    assert told["wins"] is None
    assert told["verdict"].startswith("none: The sets hold 4 pairs on which something can be gained")
    kept, trained, shipped = (network_from(out / name) for name in ("weights.pth", "model", "half"))
    assert torch.equal(kept.get_parameter("stem.weight"), trained.get_parameter("stem.weight"))
    assert len([path for path in out.rglob("*") if path.is_file()]) <= 7, "a GPU's machine sends back eight"
    assert trained.architecture == network.architecture
    assert not torch.equal(trained.get_parameter("stem.weight"), network.get_parameter("stem.weight"))
    assert torch.equal(trained.get_parameter("stem.weight").half().float(), shipped.get_parameter("stem.weight"))


def test_what_fails_costs_nothing_that_came_before(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The images do not fit on the device, and nothing can be exported: the weights are there all the same."""

    def broken(*what: object, **how: object) -> None:
        raise RuntimeError("no exporter here")

    monkeypatch.setattr("deblur.data.resident.available_memory", lambda: 1e5)
    monkeypatch.setattr("deblur.training.recipe.export_verified", broken)
    monkeypatch.setattr("experiments.gpu_minutes.export_verified", broken)
    out = tmp_path / "out"
    main(["--data", str(data), "--out", str(out), "--rehearse"])
    told = json.loads((out / "figures.json").read_text())
    failed = ["way to train 1", "training, or its export", "export in half precision", "the decision"]
    assert list(told["failed"]) == failed
    assert told["settings"]["data_on_device"] is False
    assert len(told["epochs"]) == 1
    assert network_from(out / "weights.pth").architecture["name"] == "FastUNet"
    assert (out / "weights.pth").stat().st_size < 10e6
    assert "no exporter here" in capsys.readouterr().out


def test_a_device_that_blurs_wrongly_is_left_out(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing would crash: the network would learn from what is wrong."""
    real = batches.degrade_batch

    def brighter(*given: Any) -> tuple[torch.Tensor, torch.Tensor]:
        blurry, sharp = real(*given)
        return blurry + 3 / 255, sharp

    monkeypatch.setattr(batches, "degrade_batch", brighter)
    out = tmp_path / "out"
    main(["--data", str(data), "--out", str(out), "--rehearse"])
    told = json.loads((out / "figures.json").read_text())
    assert told["settings"]["synthesis"] == "loader"
    assert told["codes_apart"] == 0
    assert "codes from the loaders'" in capsys.readouterr().out


def test_it_decides_by_the_rule_of_promote(tmp_path: Path) -> None:
    """On ten photographs, each blurred by two kernels; a network that does nothing does not win over one like it."""
    (tmp_path / "photos" / "cc0").mkdir(parents=True)
    for photo in [each for each in installed_photos() if min(each.pixels.shape[:2]) >= 400][:10]:
        Image.fromarray(photo.pixels).save(tmp_path / "photos" / "cc0" / f"{photo.name}.png")
    network = build({"name": "FastUNet", "width": 8})
    for name in ("first", "second"):
        tiling = Tiling(1024, 2 * network.halo_px, network.size_rule)
        export_model(network, tmp_path / name, name=name, tiling=tiling)
    ways = model_ways([(name, open_model(tmp_path / name)) for name in ("first", "second")])
    told = judged(argparse.Namespace(data=tmp_path, rehearse=False), ways)
    assert told["wins"] is False, told["verdict"]
    assert json.loads(json.dumps(told["verdict"]))["images"] == 20


def test_it_is_imported_where_much_is_missing() -> None:
    program = f"import sys\nfor name in {LACKING}: sys.modules[name] = None\nimport experiments.gpu_minutes"
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True)
