"""What all architectures promise: their published sizes, sides, reach, exports, and a run from training to a photo."""

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from deblur.cli import main
from deblur.errors import SettingError
from deblur.export.onnx import export_model
from deblur.inference.engines import EngineName, open_engine
from deblur.inference.onnx_runtime import OnnxEngine
from deblur.inference.restorer import Restorer
from deblur.inference.tiling import Tiling
from deblur.models import build, parameter_count
from deblur.models.checkpoint import network_from
from deblur.models.engine import TorchEngine
from deblur.models.stacked_conv import StackedConv
from tests.models.reach import measured_reach
from tests.models.small import SMALL, small

ENGINES: tuple[EngineName, ...] = ("onnxruntime", "openvino") if find_spec("openvino") else ("onnxruntime",)
RESIDUAL = ("NAFNet", "SeUNet", "Msafn", "LightMsafn", "StackedConv")
"""Those that begin at doing nothing."""
SIZES: list[tuple[dict[str, Any], int, float]] = [
    ({"name": "DeblurUNet"}, 8_636_451, 16.370),
    ({"name": "FastUNet"}, 2_392_908, 2.479),
    ({"name": "NAFNet"}, 17_111_907, 15.956),
    ({"name": "NAFNet", "width": 16}, 4_347_827, 4.085),
    ({"name": "Restormer"}, 26_126_644, 154.882),
    ({"name": "EcaUNet"}, 2_143_006, 12.501),
    ({"name": "SeUNet"}, 2_155_283, 12.445),
    ({"name": "Msafn"}, 8_088_079, 275.224),
    ({"name": "LightMsafn"}, 793_631, 24.309),
    ({"name": "StackedConv"}, 557_443, 36.465),
]
"""Architecture, parameters, GMACs at 256x256. Published: NAFNet 17.1 M and 16 GMACs, 4.35 M; Restormer 26.1 M and 141
GMACs, without the products of its attention; MSAFN about 8.1 M, its student about 0.8 M."""


def operations(network: nn.Module) -> dict[str, float]:
    """GMACs at 256x256 by operation; computes nothing."""
    with torch.device("meta"), FlopCounterMode(display=False) as counter, torch.no_grad():
        network.eval()(torch.rand(1, 3, 256, 256))
    return {str(name): flops / 2e9 for name, flops in counter.get_flop_counts()["Global"].items()}


@pytest.mark.parametrize(("architecture", "parameters", "gmacs"), SIZES)
def test_it_has_the_published_size(architecture: dict[str, Any], parameters: int, gmacs: float) -> None:
    network = build(architecture, weights=False)
    assert parameter_count(network) == parameters
    counted = operations(network)
    assert sum(counted.values()) == pytest.approx(gmacs, abs=1e-3)
    if architecture["name"] == "Restormer":
        assert counted["aten.convolution"] == pytest.approx(140.99, abs=0.01)


@pytest.mark.parametrize("name", SMALL)
def test_it_takes_every_size_of_its_rule_and_is_made_again_from_json(name: str) -> None:
    network = small(name).eval()
    step, least = network.size_rule.multiple_of, network.size_rule.min_side_px
    assert 16 % step == 0, "crops are multiples of 16 px"
    again = build(json.loads(json.dumps(network.architecture)))
    assert again.architecture == network.architecture
    again.load_state_dict(network.state_dict())
    for shape in ((1, 3, least, least), (2, 3, least + step, 5 * step)):
        blurry = torch.rand(shape)
        restored = network(blurry)
        assert restored.shape == shape
        assert restored.isfinite().all()
        assert torch.equal(again.eval()(blurry), restored)


@pytest.mark.parametrize("name", SMALL)
def test_every_weight_gets_a_gradient(name: str) -> None:
    network = small(name)
    network(torch.rand(4, 3, 32, 32)).square().mean().backward()
    assert not [key for key, weight in network.named_parameters() if weight.grad is None or not weight.grad.any()]


@pytest.mark.parametrize("name", RESIDUAL)
def test_untrained_it_changes_little(name: str) -> None:
    torch.manual_seed(0)
    blurry, network = torch.rand(1, 3, 32, 48), build({"name": name, **SMALL[name]})
    if name == "NAFNet":  # as published: its blocks begin at doing nothing, its first and last layer do not
        for weight in network.ending.parameters():  # type: ignore[union-attr]
            nn.init.zeros_(weight)
    assert torch.equal(network(blurry), blurry)


def test_eca_answers_between_0_and_1() -> None:
    restored = small("EcaUNet").eval()(100 * torch.randn(1, 3, 32, 32))
    assert restored.min() >= 0
    assert restored.max() <= 1


@pytest.mark.parametrize("name", SMALL)
def test_it_sees_as_far_as_it_says(name: str) -> None:
    network = small(name).eval()
    if network.reach_px is not None:
        assert not network.has_statistics
        assert measured_reach(network) == network.reach_px
        return
    assert network.has_statistics
    assert network.halo_px == 0
    blurry = torch.rand(1, 3, 32, 640, dtype=torch.double)
    other = blurry.clone()
    other[..., :8] = 0
    with torch.no_grad():
        changed = (network.double()(other) - network(blurry)).abs()
    assert changed[..., -8:].max() > 1e-9, "beyond the reach of its convolutions"


def test_stacked_convolutions_fit_into_the_memory_that_is_given(tmp_path: Path) -> None:
    network = StackedConv(8, 4)
    tiling = Tiling(32, 2 * network.halo_px, network.size_rule, network.halo_px)
    info = export_model(network, tmp_path, name="m", tiling=tiling)
    assert info.bytes_per_px == 112
    assert info.tiling_within(50).tile_px > info.tiling_within(10).tile_px > 32


def test_stacked_convolutions_are_the_same_however_a_photo_is_cut(tmp_path: Path) -> None:
    network = StackedConv(8, 4)
    nn.init.normal_(network.head.weight, std=0.1)
    export_model(network, tmp_path, name="m", tiling=Tiling(32, 8, network.size_rule, network.halo_px))
    engine, pixels = OnnxEngine(tmp_path / "model.onnx"), np.random.default_rng(0).random((75, 61, 3), dtype=np.float32)
    restored = Restorer(engine, Tiling(32, 8, network.size_rule, network.halo_px))(pixels)
    whole = engine(np.ascontiguousarray(pixels.transpose(2, 0, 1)[None]))[0].transpose(1, 2, 0)
    assert np.abs(restored - np.clip(whole, 0, 1)).max() < 1e-6


@pytest.mark.parametrize(
    ("architecture", "told"),
    [
        ({"name": "DeblurUNet", "width": 12}, "multiple of 8"),
        ({"name": "FastUNet", "width": 12}, "multiple of 8"),
        ({"name": "FastUNet", "blocks": 0}, "multiple of 8"),
        ({"name": "NAFNet", "encoder_blocks": (1, 1, 1)}, r"encoder_blocks \[1, 1, 1\].* 4 numbers"),
        ({"name": "Restormer", "heads": (1, 2, 5, 8)}, r"heads is \[1, 2, 5, 8\]; they must divide"),
        ({"name": "Restormer", "width": 15}, "width must be even"),
        ({"name": "EcaUNet", "width": 0}, "at least 1"),
        ({"name": "SeUNet", "width": 0}, "at least 1"),
        ({"name": "Msafn", "drop": 1.0}, "drop 1"),
        ({"name": "LightMsafn", "width": 7}, "an even number"),
        ({"name": "StackedConv", "depth": 1}, "depth 1"),
    ],
)
def test_what_cannot_be_built_is_refused(architecture: dict[str, Any], told: str) -> None:
    with pytest.raises(SettingError, match=told):
        build(architecture, weights=False)


@pytest.mark.parametrize("name", SMALL)
def test_the_file_equals_the_network_on_odd_sizes(name: str, tmp_path: Path) -> None:
    network = small(name).eval()
    info = export_model(network, tmp_path, name=name, tiling=Tiling(64, 16, network.size_rule, network.halo_px))
    assert (info.reach_px, info.halo_px) == (network.reach_px, network.halo_px)
    assert info.statistics == network.has_statistics
    pixels = [np.random.default_rng(1).random((*shape, 3), dtype=np.float32) for shape in ((1, 1), (101, 67))]
    expected = [Restorer(TorchEngine(network), info.tiling)(each) for each in pixels]
    for engine in ENGINES:
        restorer = Restorer(open_engine(tmp_path / "model.onnx", engine, "f32"), info.tiling)
        for each, wanted in zip(pixels, expected, strict=True):
            assert np.abs(restorer(each) - wanted).max() <= 1e-5, engine
    again = network_from(tmp_path).state_dict()
    for key, value in network.state_dict().items():
        assert key.endswith("num_batches_tracked") or torch.equal(again[key], value), key


@pytest.mark.parametrize("name", ["Restormer", "EcaUNet"])
def test_the_registered_form_takes_any_size_too(name: str) -> None:
    """As MLflow logs a network: ``torch.export``, which finds out by itself what may vary. Between them, these two have
    the operations of all."""
    network, any_size = small(name).eval(), torch.export.Dim.AUTO
    step = network.size_rule.multiple_of
    example = torch.rand(2, 3, 4 * step, 6 * step)
    program = torch.export.export(network, (example,), dynamic_shapes=[{0: any_size, 2: any_size, 3: any_size}])
    blurry = torch.rand(1, 3, 7 * step, 5 * step)
    assert torch.allclose(program.module()(blurry), network(blurry), atol=1e-6)


@pytest.mark.parametrize("name", SMALL)
def test_it_is_trained_verified_and_restores_a_photo(
    name: str, tmp_path: Path, pair_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = [
        word
        for option, value in SMALL[name].items()
        for word in (f"--{option}", *map(str, value if isinstance(value, tuple) else (value,)))
    ]
    train = f"train --network {name} --tracking off --doctor off --val_images 1 --num_epochs 1 --batch_size 2"
    train += " --patch_size 32 --epoch_images 4 --learning_rate 0.02 --ema_decay 0 --num_workers 0"
    train += " --tile_size 128 --tile_overlap 16"
    data = ["--train_data", str(pair_folder), "--test_data", str(pair_folder), "--output_dir", str(tmp_path)]
    assert main([*train.split(), *own, *data]) == 0
    info = json.loads((tmp_path / "model" / "model.json").read_text())
    assert info["architecture"] == json.loads(json.dumps(small(name).architecture))
    assert info["psnr_db"] > 5
    photo, restored = next(pair_folder.glob("blur/*")), tmp_path / "restored.png"
    assert main(["restore", str(photo), str(restored), "--model", str(tmp_path / "model"), "--guard", "off"]) == 0
    with Image.open(photo) as before, Image.open(restored) as after:
        assert after.size == before.size
        assert np.any(np.asarray(after) != np.asarray(before.convert("RGB")))
    capsys.readouterr()
    assert main([*train.split(), *own, *data]) == 0
    assert "is finished" in capsys.readouterr().out
    assert network_from(tmp_path).architecture == network_from(tmp_path / "model").architecture
