"""Export: the file computes what the network does, on every size, and is proved before it is relied on."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from deblur.data.pairs import find_pairs
from deblur.errors import DiskFull, ModelError, RegistrationError
from deblur.evaluation.scores import EvaluationSet
from deblur.export.onnx import export_model
from deblur.export.verified import verify_model
from deblur.files import sha256_of
from deblur.inference.locating import bundled_model
from deblur.inference.model_folder import CARD_FILE, open_model, read_info
from deblur.inference.onnx_runtime import OnnxEngine
from deblur.inference.restorer import Restorer
from deblur.inference.tiling import Tiling
from deblur.models import parameter_count
from deblur.models.checkpoint import network_from
from deblur.models.engine import TorchEngine
from deblur.models.unet import DeblurUNet
from tests.conftest import sharpening_network, small_disk


@pytest.mark.parametrize("shape", [(1, 1), (15, 33), (101, 67), (128, 128), (129, 257)])
def test_the_file_equals_the_network_on_odd_sizes(model_folder: Path, shape: tuple[int, int]) -> None:
    tiling = Tiling(128, 32, DeblurUNet.size_rule)
    pixels = np.random.default_rng(1).random((*shape, 3), dtype=np.float32)
    in_torch = Restorer(TorchEngine(sharpening_network()), tiling)(pixels)
    in_onnx = open_model(model_folder, OnnxEngine).restorer(pixels)
    assert np.abs(in_torch - in_onnx).max() <= 1e-4


@pytest.mark.parametrize("batch", [1, 2, 5])
def test_batches_of_any_size(model_folder: Path, batch: int) -> None:
    tiles = np.random.default_rng(1).random((batch, 3, 48, 16), dtype=np.float32)
    expected = TorchEngine(sharpening_network())(tiles)
    assert np.abs(OnnxEngine(model_folder / "model.onnx")(tiles) - expected).max() <= 1e-4


def test_the_plain_network_of_full_width_is_exported_too(tmp_path: Path) -> None:
    network = DeblurUNet()
    (tmp_path / CARD_FILE).write_text("of an earlier file")
    info = export_model(network, tmp_path, name="full", tiling=Tiling(512, 64, network.size_rule))
    assert not (tmp_path / CARD_FILE).exists()
    tiles = np.random.default_rng(1).random((1, 3, 80, 112), dtype=np.float32)
    engine = open_model(tmp_path, OnnxEngine).restorer.engine
    assert np.abs(engine(tiles) - TorchEngine(network)(tiles)).max() <= 1e-4
    assert info.architecture == {"name": "DeblurUNet", "width": 32, "residual": False, "frozen": False}


def test_no_file_tells_where_it_was_made(model_folder: Path) -> None:
    """The exporter notes the source's path and line beside every operation."""
    bundled = bundled_model()
    assert bundled is not None
    for folder in (model_folder, bundled):
        data = (folder / "model.onnx").read_bytes()
        assert b"stack_trace" not in data
        assert b".py" not in data


def test_half_precision_saves_two_bytes_a_weight(model_folder: Path, tmp_path: Path) -> None:
    network = sharpening_network()
    export_model(network, tmp_path, name="half", tiling=Tiling(128, 32, network.size_rule), half=True)
    sizes = [(folder / "model.onnx").stat().st_size for folder in (tmp_path, model_folder)]
    assert sizes[1] - sizes[0] > 1.9 * parameter_count(network)
    for name, weight in network_from(tmp_path).state_dict().items():
        assert torch.equal(weight, network.state_dict()[name].half().float()), name
    tiles = np.random.default_rng(1).random((1, 3, 48, 64), dtype=np.float32)
    assert np.abs(OnnxEngine(tmp_path / "model.onnx")(tiles) - TorchEngine(network)(tiles)).max() <= 2e-3
    next(network.parameters()).data[0] = 1e5
    with pytest.raises(ModelError, match="float16 cannot hold"):
        export_model(network, tmp_path / "m", name="m", tiling=Tiling(128, 32, network.size_rule), half=True)


def test_the_description_holds_what_the_server_needs(model_folder: Path) -> None:
    values = json.loads((model_folder / "model.json").read_text())
    wanted = {"format", "name", "run_id", "git_commit", "sha256", "precision", "multiple_of", "min_side_px"}
    wanted |= {"reach_px", "halo_px", "statistics", "tile_px", "overlap_px", "psnr_db", "psnr_input_db", "golden"}
    assert wanted <= values.keys()
    assert values["sha256"] == sha256_of(model_folder / "model.onnx")
    assert (values["multiple_of"], values["reach_px"], values["statistics"]) == (16, None, True)


def test_verification_scores_the_file_and_writes_it_down(tmp_path: Path, pair_folder: Path) -> None:
    network = sharpening_network()
    tiling = Tiling(128, 32, network.size_rule)
    export_model(network, tmp_path, name="tiny", tiling=tiling)
    images = EvaluationSet(find_pairs(pair_folder))
    trained = images.score(Restorer(TorchEngine(network), tiling)).mean("psnr_db")
    scores = verify_model(tmp_path, images, trained)
    assert scores.mean("psnr_db") == pytest.approx(trained, abs=0.02)
    info = read_info(tmp_path)
    assert info.psnr_db == scores.mean("psnr_db")
    assert info.psnr_input_db == scores.mean("psnr_input_db")
    with pytest.raises(RegistrationError, match=r"more than 0\.02 dB apart"):
        verify_model(tmp_path, images, trained + 0.03)
    with pytest.raises(RegistrationError, match="apart"):
        verify_model(tmp_path, images, float("nan"))


def test_a_full_disk_is_told_and_no_model_is_left_that_claims_to_be_verified(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", kilobytes=700) as disk:
        network = sharpening_network()
        with pytest.raises(DiskFull, match="No space left"):
            export_model(network, disk / "m", name="m", tiling=Tiling(128, 32, network.size_rule))
        assert not (disk / "m" / "model.json").exists()
