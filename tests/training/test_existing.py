"""``deblur export``: the weights, their tile and their score, whatever they lie in."""

import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest

from deblur import cli
from deblur.errors import DataError, SettingError
from deblur.export.onnx import export_model
from deblur.inference.model_folder import open_model, read_info
from deblur.inference.onnx_runtime import OnnxEngine
from deblur.inference.openvino import OpenVinoEngine, core
from deblur.inference.restorer import Restorer
from deblur.inference.tiling import Tiling
from deblur.models import parameter_count
from deblur.models.checkpoint import save_checkpoint
from deblur.models.unet import DeblurUNet
from deblur.registry.record import RunRecord
from deblur.training import existing
from deblur.training.existing import export_weights, register_checkpoint
from deblur.training.progress import Progress
from deblur.training.recipe import run
from deblur.training.resuming import DATA
from tests.conftest import sharpening_network
from tests.training.tiny import tiny


@pytest.fixture(params=["checkpoint", "model folder"])
def weights(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Validated with tiles of 128 px that overlap by 32."""
    network = sharpening_network()
    if request.param == "model folder":
        export_model(network, tmp_path / "in", name="in", tiling=Tiling(128, 32, network.size_rule))
        return tmp_path / "in"
    return saved(network, tmp_path / "in.pth", kernels=None)


def saved(network: DeblurUNet, path: Path, **settings: object) -> Path:
    checkpoint = {
        "model_state_dict": network.state_dict(),
        "architecture": network.architecture,
        "settings": {"tile_size": 128, "tile_overlap": 32, "average": None, **settings},
    }
    save_checkpoint(path, checkpoint)
    return path


def test_it_is_verified_with_the_tile_it_was_validated_with(
    weights: Path, pair_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert cli.main(["export", str(weights), str(out), "--name", "n", "--half", "--test-data", str(pair_folder)]) == 0
    info = read_info(out)
    assert (info.name, info.tile_px, info.overlap_px) == ("n", 128, 32)
    assert info.psnr_db is not None
    assert f"scores {info.psnr_db:.3f} dB" in capsys.readouterr().out


def test_how_many_images_are_scored_is_told(weights: Path, pair_folder: Path, tmp_path: Path) -> None:
    told = list[tuple[str, int, int]]()
    progress = Progress(on_work=lambda *work: told.append(work))
    export_weights(weights, tmp_path / "out", "n", [str(pair_folder)], progress=progress)
    count = told[0][2]
    assert count > 1
    assert told == [(words, done, count) for words in ("scoring", "verifying") for done in range(count + 1)]


def test_a_file_in_the_way_is_told(weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "out").write_text("in the way")
    assert cli.main(["export", str(weights), str(tmp_path / "out")]) == 1
    assert "cannot hold a model" in capsys.readouterr().err.replace("\n", " ")


def test_frozen_over_other_sources(weights: Path, pair_folder: Path, tmp_path: Path) -> None:
    """A file without GroupNorm, verified against the frozen network; there is nothing to freeze a second time."""
    out = tmp_path / "out"
    assert cli.main(["export", str(weights), str(out), "--freeze", "leaves", "--test-data", str(pair_folder)]) == 0
    assert read_info(out).architecture["frozen"] is True
    assert read_info(out).psnr_db is not None
    assert not any("over_group" in tensor.name for tensor in onnx.load(out / "model.onnx").graph.initializer)
    assert cli.main(["export", str(out), str(tmp_path / "again"), "--freeze", "leaves"]) == 1


@pytest.mark.parametrize("half", [False, True])
def test_openvinos_ir_restores_as_the_onnx_file_does(tmp_path: Path, half: bool) -> None:
    """Its weights are as wide; with the next export it goes."""
    pytest.importorskip("openvino", reason="OpenVINO is for x86-64 only")
    weights, out = saved(sharpening_network(), tmp_path / "in.pth"), tmp_path / "out"
    command = ["export", str(weights), str(out), *(["--half"] if half else [])]
    assert cli.main([*command, "--openvino-ir"]) == 0
    assert {file.name for file in out.iterdir()} == {"model.onnx", "model.json", "model.xml", "model.bin"}
    pixels = np.random.default_rng(1).random((101, 67, 3), dtype=np.float32)
    model = open_model(out, OnnxEngine)
    in_ir = Restorer(OpenVinoEngine(core().read_model(out / "model.xml"), "f32"), model.info.tiling)(pixels)
    assert np.abs(in_ir - model.restorer(pixels)).max() <= 1e-4
    assert np.abs(in_ir - pixels).max() > 1e-2, "the network does something"
    widths = 2 if half else 4
    assert widths <= (out / "model.bin").stat().st_size / parameter_count(sharpening_network()) < 1.1 * widths
    assert cli.main(command) == 0
    assert {file.name for file in out.iterdir()} == {"model.onnx", "model.json"}


def test_without_openvino_no_ir_is_promised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(existing, "find_spec", lambda name: None)
    with pytest.raises(SettingError, match="pip install openvino"):
        export_weights(saved(sharpening_network(), tmp_path / "in.pth"), tmp_path / "out", "n", openvino_ir=True)
    assert not (tmp_path / "out").exists()


def test_kernels_that_are_gone_are_missed_where_blur_is_drawn(pair_folder: Path, tmp_path: Path) -> None:
    weights = saved(sharpening_network(), tmp_path / "in.pth", kernels=str(tmp_path / "gone"), patch_size=64)
    export_weights(weights, tmp_path / "out", "n", [str(pair_folder)], freeze_over=[str(pair_folder)])
    with pytest.raises(DataError, match="gone holds 0 kernels"):
        export_weights(weights, tmp_path / "out", "n", ["leaves"])


def trained(output: Path, *sources: str, **more: object) -> tuple[Path, list[str]]:
    """A plain network after two steps: its checkpoint, and what the run decided."""
    lines: list[str] = []
    settings = tiny(output, *sources, **({"val_images": 2, "test_data": ()} | more))
    result = run(settings, progress=Progress(on_line=lines.append))
    assert result is not None
    assert result.record.best_checkpoint is not None
    return result.record.best_checkpoint, decisions(lines)


def decisions(lines: list[str]) -> list[str]:
    """Those about freezing."""
    return [line for line in lines if line.startswith(("GroupNorm frozen over", "exported as trained"))]


def test_register_decides_over_the_crops_of_the_training(tmp_path: Path, photo_folder: Path) -> None:
    """The photo that was held back to validate has no say in the statistics."""
    checkpoint, then = trained(tmp_path / "o", f"photos:{photo_folder}")
    now: list[str] = []
    register_checkpoint(checkpoint, "again", progress=Progress(on_line=now.append))
    assert len(then) == 1
    assert decisions(now) == then


def test_register_leaves_out_what_the_training_left_out(tmp_path: Path, pair_folder: Path) -> None:
    pairs = Path(shutil.copytree(pair_folder, tmp_path / "pairs"))
    broken = pairs / "blur" / "coffee.png"
    broken.write_bytes(broken.read_bytes()[:1500])
    checkpoint, then = trained(tmp_path / "o", str(pairs), test_data=(str(pair_folder),), skip_bad=1)
    now: list[str] = []
    register_checkpoint(checkpoint, "again", progress=Progress(on_line=now.append))
    assert decisions(now) == then
    shutil.rmtree(pairs)
    register_checkpoint(checkpoint, "again", progress=Progress(on_line=now.append))
    assert decisions(now)[-1].startswith("exported as trained, GroupNorm is not frozen")


def test_register_scores_what_the_training_validated_on(tmp_path: Path, photo_folder: Path) -> None:
    """Every tenth of those that are whole, so not the first here; and it knows what trained."""
    folder = Path(shutil.copytree(photo_folder, tmp_path / "photos"))
    (folder / "a.png").write_bytes(b"broken")
    checkpoint, _ = trained(tmp_path / "o", f"photos:{folder}", skip_bad=1)
    register_checkpoint(checkpoint, "again")
    then, now = RunRecord(tmp_path / "o"), RunRecord(tmp_path / "o" / "registered" / checkpoint.stem)
    assert then.run["tags"][DATA].endswith(f"-{now.run['tags'][DATA]}")
    trained_on = (read_info(now.model_folder).trained or {})["datasets"]
    assert [each["context"] for each in trained_on] == ["training", "validation"]
    assert trained_on == then.run["datasets"]


def test_what_cannot_work_is_refused_before_an_earlier_run_is_set_aside(tmp_path: Path, pair_folder: Path) -> None:
    record = RunRecord.begin(tmp_path, "precious", {}, {})
    for wrong in ({"tile_size": 8}, {"batch_size": 8}):
        with pytest.raises(SettingError, match=r"tile|less than one batch"):
            trained(tmp_path, str(pair_folder), test_data=(str(pair_folder),), **wrong)
    assert record.run["name"] == "precious"
    assert not (tmp_path / "earlier").exists()
