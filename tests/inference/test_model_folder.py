"""A model folder is served only as it was exported."""

import json
import shutil
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import torch

from deblur.errors import ModelError
from deblur.export.onnx import export_model
from deblur.files import sha256_of
from deblur.inference.engine import Precision
from deblur.inference.engines import EngineName, open_engine
from deblur.inference.model_folder import is_whole, open_model, read_info, stamp_version
from deblur.inference.tiling import Tiling
from deblur.models.engine import TorchEngine
from deblur.models.unet import DeblurUNet
from tests.conftest import sharpening_network


@pytest.fixture
def copy(model_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(model_folder, tmp_path / "copy"))


def set_field(folder: Path, **values: object) -> None:
    path = folder / "model.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_it_restores_with_the_tiling_it_was_validated_with(model_folder: Path) -> None:
    model = open_model(model_folder)
    assert (model.restorer.tiling.tile_px, model.restorer.tiling.overlap_px) == (128, 32)
    assert model.restorer(np.ones((20, 33, 3), np.float32)).shape == (20, 33, 3)


def test_a_flipped_bit_is_noticed(copy: Path) -> None:
    data = bytearray((copy / "model.onnx").read_bytes())
    data[len(data) // 2] ^= 1
    (copy / "model.onnx").write_bytes(data)
    with pytest.raises(ModelError, match="sha256"):
        open_model(copy)


@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
def test_weights_in_another_file_are_never_served(
    copy: Path, engine: EngineName, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No sha256 covers them. Both engines would look for them where the process is."""
    onnx = pytest.importorskip("onnx")
    file = copy / "model.onnx"
    onnx.save(onnx.load(file), file, save_as_external_data=True, location="weights.bin", size_threshold=0)
    set_field(copy, sha256=sha256_of(file))
    monkeypatch.chdir(copy)
    with pytest.raises(ModelError, match="keeps weights in another file"):
        open_model(copy, lambda path: open_engine(path, engine))
    assert not is_whole(copy)
    monkeypatch.chdir(copy.parent)
    with pytest.raises(ModelError, match="cannot load the model"):
        open_engine(file, engine)


def test_a_tensor_named_location_is_no_other_file(copy: Path) -> None:
    onnx = pytest.importorskip("onnx")
    file = copy / "model.onnx"
    model = onnx.load(file)
    for name, rank in (("other", 4), ("location", 4), ("location", 40)):  # types of one and of two bytes of length
        model.graph.value_info.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1] * rank))
    onnx.save(model, file)
    set_field(copy, sha256=sha256_of(file))
    assert is_whole(copy)


def test_another_network_under_a_right_checksum_is_noticed(copy: Path) -> None:
    info = read_info(copy)
    means = [value + 0.01 for value in info.golden.cell_means]
    set_field(copy, golden={"seed": info.golden.seed, "side_px": 64, "cell_means": means, "tolerance": 1e-3})
    with pytest.raises(ModelError, match="something else than at export"):
        open_model(copy)


@pytest.mark.parametrize("precision", ["f32", "bf16"])
def test_bf16_must_come_as_close_as_float32_where_it_can(copy: Path, precision: Precision) -> None:
    engine = TorchEngine(sharpening_network(), precision=precision)
    open_model(copy, lambda onnx: engine)
    golden = vars(read_info(copy).golden)
    golden["cell_means"] = [value + 0.005 for value in golden["cell_means"]]
    set_field(copy, golden=golden)
    with pytest.raises(ModelError, match=rf"off by 0\.005\d? in {precision}"):
        open_model(copy, lambda onnx: engine)
    del golden["tolerance_bf16"]  # as earlier versions wrote it
    set_field(copy, golden=golden)
    with nullcontext() if precision == "bf16" else pytest.raises(ModelError, match="something else"):
        open_model(copy, lambda onnx: engine)


def test_what_bf16_moves_further_may_lie_further_away(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = DeblurUNet(8)  # with a plain output, and untrained
    golden = export_model(network, tmp_path, name="plain", tiling=Tiling(128, 32, network.size_rule)).golden
    assert golden.tolerance < golden.distance(TorchEngine(network, precision="bf16")) < golden.tolerance_bf16 < 0.01


def test_bytes_that_are_no_model_are_an_error_with_a_sentence(copy: Path) -> None:
    (copy / "model.onnx").write_bytes(b"no model")
    set_field(copy, sha256=sha256_of(copy / "model.onnx"))
    with pytest.raises(ModelError, match="cannot load"):
        open_model(copy)


@pytest.mark.parametrize("file", ["model.onnx", "model.json"])
def test_a_missing_file_is_named(copy: Path, file: str) -> None:
    (copy / file).unlink()
    with pytest.raises(ModelError, match=file):
        open_model(copy)


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"format": 1}', '{"format": 99}'])
def test_a_broken_description_is_an_error_that_says_so(copy: Path, text: str) -> None:
    (copy / "model.json").write_text(text)
    with pytest.raises(ModelError, match=r"model\.json"):
        read_info(copy)


@pytest.mark.parametrize(
    "wrong",
    [
        *({"tile_px": "512"}, {"tile_px": None}, {"tile_px": 1}, {"multiple_of": 0}),
        {"format": 1, "receptive_px": None, "architecture": "SEUNet"},
    ],
)
def test_a_description_of_no_meaning_is_an_error_that_says_so(copy: Path, wrong: dict[str, object]) -> None:
    set_field(copy, **wrong)
    with pytest.raises(ModelError, match=r"model\.json is broken"):
        read_info(copy)


def test_a_fetched_copy_carries_its_version(copy: Path) -> None:
    assert read_info(copy).label == "tiny"
    stamp_version(copy, "other", "3", "run")
    assert read_info(copy).label == "other/3"
    open_model(copy)
