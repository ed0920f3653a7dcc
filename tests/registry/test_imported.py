"""An imported model in a real registry: scored, stored as ONNX, fetched, promoted."""

from pathlib import Path

import mlflow
import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from deblur.cli import main
from deblur.data.photos import SharpPhoto
from deblur.errors import SettingError
from deblur.evaluation.card import card
from deblur.files import sha256_of
from deblur.inference.locating import bundled_model
from deblur.inference.model_folder import open_model, read_info
from deblur.models.nafnet import NAFNet
from deblur.registry import promotion, versions
from deblur.registry.tracking import connect
from deblur.registry.versions import fetch
from deblur.training.existing import register_folder
from deblur.training.teacher import find_teacher
from tests.evaluation.planted import dark_pairs
from tests.export.foreign_networks import Graph
from tests.models.small import small
from tests.registry import untraced

pytestmark = pytest.mark.filterwarnings("ignore:unclosed database:ResourceWarning")


def lighter_by(levels: float, folder: Path) -> Path:
    """A model folder of a network of others that adds ``levels`` of 255 to every pixel."""
    graph = Graph("nhwc")
    file = graph.save(folder / "theirs.onnx", out=graph.add("Add", "image", levels / 255))
    model = folder / f"by{levels:g}"
    known = ["--licence", "MIT", "--range", "unit", "--order", "rgb"]
    assert main(["import", str(file), str(model), "--name", "theirs", *known]) == 0
    return model


def test_it_is_scored_registered_fetched_and_promoted(
    photos: dict[str, SharpPhoto], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(promotion, "bundled_model", lambda: None)  # these pairs are not blurred
    few, pairs = (str(dark_pairs(tmp_path / name, photos, images=n)) for name, n in (("few", 1), ("pairs", 4)))
    folder = lighter_by(10.0, tmp_path)
    command = ["register", str(folder), "--name", "theirs", "--test-data", few, "--val-images", "4"]
    assert main(command) == 0
    assert read_info(folder).psnr_db is None, "a copy was scored"
    assert "theirs version 1 (challenger); not champion" in capsys.readouterr().out

    info = open_model(fetch("models:/theirs@challenger")).info
    assert (info.version, info.licence, info.origin and info.origin["file"]) == ("1", "MIT", "theirs.onnx")
    assert info.psnr_db is not None
    assert info.psnr_input_db is not None
    assert info.psnr_db > info.psnr_input_db + 5
    assert info.scored_on is not None
    client = connect()
    found = client.get_model_version("theirs", "1")
    assert found.tags["psnr_db"] == f"{info.psnr_db:.3f}"
    assert "Licence: MIT." in found.description
    run = client.get_run(found.run_id)
    assert (run.info.status, run.data.params["licence"]) == ("FINISHED", "MIT")
    assert run.data.metrics["verified_psnr"] == pytest.approx(info.psnr_db)

    stored = mlflow.onnx.load_model("models:/theirs/1")
    tiles = np.full((1, 3, 16, 24), 0.5, np.float32)
    session = onnxruntime.InferenceSession(stored.SerializeToString())
    assert isinstance(stored, onnx.ModelProto)
    assert np.allclose(session.run(None, {"blurry": tiles})[0], 0.5 + 10 / 255)

    assert main(["promote", "theirs", "--data", pairs]) == 0
    assert str(client.get_registered_model("theirs").aliases["champion"]) == "1"


def test_so_are_official_weights_and_torch_has_their_network(
    photos: dict[str, SharpPhoto], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Registered without the pt2: ``test_architectures`` has it."""
    logged: list[object] = []

    def log_version(folder: Path, network: object, name: str, run_id: str) -> str:
        logged.append(network)
        return untraced.log_version(folder, network, name, run_id)

    monkeypatch.setattr(versions, "_log_version", log_version)
    file, folder = tmp_path / "official.pth", tmp_path / "model"
    torch.save({"params": small("NAFNet").state_dict()}, file)
    assert main(["import", str(file), str(folder), "--name", "official", "--licence", "MIT"]) == 0
    pairs = str(dark_pairs(tmp_path / "pairs", photos, images=1))
    assert main(["register", str(folder), "--name", "official", "--test-data", pairs]) == 0
    assert [type(network) for network in logged] == [NAFNet]

    info = read_info(fetch("models:/official@challenger"))
    assert (info.licence, info.origin) == ("MIT", {"file": "official.pth", "sha256": sha256_of(file)})
    assert info.psnr_db is not None
    assert "on the images it was registered with" in card(info)
    teacher = find_teacher("models:/official@challenger")
    assert teacher.network is not None


def test_what_cannot_be_registered_is_told(tmp_path: Path) -> None:
    bundled = bundled_model()
    assert bundled is not None
    with pytest.raises(SettingError, match="was exported, not imported"):
        register_folder(bundled, "theirs", ["nowhere"])
    with pytest.raises(SettingError, match="test_data is needed"):
        register_folder(lighter_by(4.0, tmp_path), "theirs")
