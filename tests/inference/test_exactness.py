"""A network without global statistics gives the same bits tiled as whole, when the halo holds its receptive field."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from deblur.export.onnx import export_model
from deblur.images import from_rgb8
from deblur.inference.model_folder import open_model, read_info
from deblur.inference.onnx_runtime import OnnxEngine
from deblur.inference.restorer import Restorer
from deblur.inference.tiling import SizeRule, Tiling
from deblur.models.network import Network


class NormFree(Network):
    """Convolutions, pooling and bilinear upsampling on three levels; sees 22 px around a pixel, at most."""

    size_rule = SizeRule(multiple_of=4, min_side_px=4)
    reach_px = 22
    architecture = {"name": "NormFree"}  # noqa: RUF012

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.ModuleList([nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 16, 3, padding=1)])
        self.bottom = nn.Conv2d(16, 16, 3, padding=1)
        self.up = nn.ModuleList([nn.Conv2d(32, 8, 3, padding=1), nn.Conv2d(16, 3, 3, padding=1)])

    def forward(self, x: Tensor) -> Tensor:
        blurry, skips = x, []
        for conv in self.down:
            x = functional.relu(conv(x))
            skips.append(x)
            x = functional.max_pool2d(x, 2)
        x = functional.relu(self.bottom(x))
        for conv, skip in zip(self.up, reversed(skips), strict=True):
            x = functional.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
            x = conv(torch.cat([x, skip], dim=1))
        return blurry + x


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(4)
    path = tmp_path_factory.mktemp("normfree")
    network = NormFree()
    export_model(network, path, name="norm-free", tiling=Tiling(128, 32, network.size_rule))
    return path


def whole(engine: OnnxEngine, pixels: np.ndarray) -> np.ndarray:
    """The network on the whole image at once, padded as it needs."""
    rule = NormFree.size_rule
    height, width = pixels.shape[:2]
    lacking = ((0, rule.fit(height) - height), (0, rule.fit(width) - width), (0, 0))
    batch = np.ascontiguousarray(np.pad(pixels, lacking, mode="reflect").transpose(2, 0, 1)[None])
    return np.clip(engine(batch)[0].transpose(1, 2, 0)[:height, :width], 0, 1)


def test_the_receptive_field_is_what_it_says(folder: Path) -> None:
    """A change further away than 22 px changes nothing; one within changes something."""
    engine = OnnxEngine(folder / "model.onnx")
    batch = np.random.default_rng(0).random((1, 3, 128, 128), dtype=np.float32)
    reaches = []
    for at in range(60, 68):  # every phase of the pooling
        changed = batch.copy()
        changed[..., at, at] += 9
        touched = np.argwhere((engine(changed) != engine(batch)).any(axis=(0, 1)))
        reaches.append(np.abs(touched - at).max())
    assert max(reaches) <= NormFree.reach_px
    assert max(reaches) > NormFree.reach_px // 2


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(
    "shape", [(1, 1), (5, 400), (127, 129), (128, 128), (131, 257), (200, 333), (384, 512), (511, 259), (620, 405)]
)
def test_tiled_is_whole_to_the_bit(folder: Path, shape: tuple[int, int], threads: int) -> None:
    pixels = from_rgb8(np.random.default_rng(1).integers(0, 256, (*shape, 3), dtype=np.uint8))
    engine = OnnxEngine(folder / "model.onnx", threads)
    restorer = Restorer(engine, read_info(folder).tiling)
    assert restorer.tiling.halo_px == NormFree.reach_px
    assert restorer.tiling.feather_px == 0
    assert np.array_equal(restorer(pixels), whole(engine, pixels))


def test_a_halo_too_narrow_is_not_exact(folder: Path) -> None:
    pixels = np.random.default_rng(1).random((300, 300, 3), dtype=np.float32)
    engine = OnnxEngine(folder / "model.onnx")
    narrow = Restorer(engine, Tiling(128, 8, NormFree.size_rule, halo_px=4))
    assert not np.array_equal(narrow(pixels), whole(engine, pixels))


def test_the_engine_that_suits_the_machine_is_as_good(folder: Path) -> None:
    """OpenVINO may choose other instructions for another shape: equal to float32's rounding, in bf16 to bf16's."""
    pixels = np.random.default_rng(1).random((300, 300, 3), dtype=np.float32)
    expected = whole(OnnxEngine(folder / "model.onnx"), pixels)
    assert np.abs(open_model(folder).restorer(pixels) - expected).max() < 0.02
