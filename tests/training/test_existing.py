"""``deblur export``: the weights, their tile and their score, whatever they lie in."""

from pathlib import Path

import onnx
import pytest

from deblur import cli
from deblur.export.onnx import export_model
from deblur.inference.model_folder import read_info
from deblur.inference.tiling import Tiling
from deblur.models.checkpoint import save_checkpoint
from tests.conftest import sharpening_network
from tests.quick_export import quick_exports


@pytest.fixture(params=["checkpoint", "model folder"])
def weights(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Validated with tiles of 128 px that overlap by 32."""
    network = sharpening_network()
    if request.param == "model folder":
        with quick_exports():
            export_model(network, tmp_path / "in", name="in", tiling=Tiling(128, 32, network.size_rule))
        return tmp_path / "in"
    settings = {"tile_size": 128, "tile_overlap": 32, "average": None, "kernels": None}
    checkpoint = {
        "model_state_dict": network.state_dict(),
        "architecture": network.architecture,
        "settings": settings,
    }
    save_checkpoint(tmp_path / "in.pth", checkpoint)
    return tmp_path / "in.pth"


def test_it_is_verified_with_the_tile_it_was_validated_with(
    weights: Path, pair_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    with quick_exports():
        assert (
            cli.main(["export", str(weights), str(out), "--name", "n", "--half", "--test-data", str(pair_folder)]) == 0
        )
    info = read_info(out)
    assert (info.name, info.tile_px, info.overlap_px) == ("n", 128, 32)
    assert info.psnr_db is not None
    assert f"scores {info.psnr_db:.3f} dB" in capsys.readouterr().out


def test_a_file_in_the_way_is_told(weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "out").write_text("in the way")
    assert cli.main(["export", str(weights), str(tmp_path / "out")]) == 1
    assert "cannot hold a model" in capsys.readouterr().err.replace("\n", " ")


def test_frozen_over_other_sources(weights: Path, pair_folder: Path, tmp_path: Path) -> None:
    """A file without GroupNorm, verified against the frozen network; there is nothing to freeze a second time."""
    out = tmp_path / "out"
    with quick_exports():
        assert cli.main(["export", str(weights), str(out), "--freeze", "leaves", "--test-data", str(pair_folder)]) == 0
    assert read_info(out).architecture["frozen"] is True
    assert read_info(out).psnr_db is not None
    assert not any("over_group" in tensor.name for tensor in onnx.load(out / "model.onnx").graph.initializer)
    assert cli.main(["export", str(out), str(tmp_path / "again"), "--freeze", "leaves"]) == 1
