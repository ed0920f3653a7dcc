"""FastUNet: starts at doing nothing, sees as far as it says, and is the same however a photo is cut."""

from pathlib import Path

import numpy as np
import pytest
import torch

from deblur.export.onnx import export_model
from deblur.inference.model_folder import open_model, read_info
from deblur.inference.onnx_runtime import OnnxEngine
from deblur.inference.restorer import Restorer
from deblur.inference.tiling import Tiling
from deblur.models.fast_unet import FastUNet
from tests.models.reach import measured_reach


def shaken_up(width: int = 8) -> FastUNet:
    """Weights that make everything count."""
    torch.manual_seed(0)
    network = FastUNet(width).eval()
    torch.nn.init.normal_(network.head.weight, std=0.05)
    return network


def test_an_untrained_network_returns_its_input() -> None:
    blurry = torch.rand(2, 3, 48, 64)
    assert torch.equal(FastUNet(8)(blurry), blurry)


@pytest.mark.parametrize("blocks", [1, 2])
def test_it_sees_as_far_as_it_says_and_not_much_less(blocks: int) -> None:
    torch.manual_seed(0)
    network = FastUNet(8, blocks)
    assert 0.8 * network.reach_px <= measured_reach(network) <= network.reach_px


def test_tiled_is_whole_to_the_bit(tmp_path: Path) -> None:
    network = shaken_up()
    export_model(network, tmp_path, name="fast", tiling=Tiling(544, 0, network.size_rule))
    engine = OnnxEngine(tmp_path / "model.onnx")
    tiling = read_info(tmp_path).tiling
    assert tiling.halo_px == network.reach_px
    pixels = np.random.default_rng(0).random((656, 800, 3), dtype=np.float32)
    restored = Restorer(engine, tiling)(pixels)
    whole = engine(np.ascontiguousarray(pixels.transpose(2, 0, 1)[None]))[0].transpose(1, 2, 0)
    assert np.array_equal(restored, np.clip(whole, 0, 1))
    assert not np.array_equal(restored, pixels)
    assert np.abs(open_model(tmp_path).restorer(pixels) - restored).max() < 0.03, "on the machine's own engine, too"
