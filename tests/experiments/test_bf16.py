"""bf16 emulated: rounding as the hardware's, and what it does to the bundled model."""

from pathlib import Path

import numpy as np
import pytest
import torch

from deblur.errors import SettingError
from deblur.inference.locating import bundled_model
from deblur.inference.openvino import OpenVinoEngine
from deblur.models.checkpoint import network_from
from experiments.bf16 import ExportedEngine, Rounded, main, rounded

TILES = np.random.default_rng(0).random((1, 3, 64, 96), dtype=np.float32)


def test_every_result_is_rounded_to_eight_bits_of_mantissa() -> None:
    assert rounded(torch.tensor([1 + 2**-9, 1 + 2**-7, 3.0])).tolist() == [1.0, 1 + 2**-7, 3.0]
    with Rounded():  # type: ignore[no-untyped-call]
        total = torch.tensor([1.0]) + torch.tensor([2.0**-9])
    assert total.item() == 1.0
    assert rounded(torch.arange(3)).dtype == torch.int64


def test_unrounded_it_is_the_network_and_rounded_it_is_near(model_folder: Path) -> None:
    network = network_from(model_folder)
    with torch.inference_mode():
        expected = network.eval()(torch.from_numpy(TILES)).numpy()
    assert np.abs(ExportedEngine(network, bf16=False)(TILES) - expected).max() < 1e-5
    assert 1e-4 < np.abs(ExportedEngine(network, bf16=True)(TILES) - expected).max() < 2e-2


def test_the_bundled_model_in_a_processors_own_bf16_is_as_near() -> None:
    folder = bundled_model()
    assert folder is not None
    try:
        engine = OpenVinoEngine(folder / "model.onnx", "bf16")
    except SettingError:
        pytest.skip("this processor has no bf16")
    f32, emulated = (ExportedEngine(network_from(folder), bf16)(TILES) for bf16 in (False, True))
    assert np.abs(engine(TILES) - f32).mean() < 2 * np.abs(emulated - f32).mean()


def test_it_prints_a_row_for_every_set(
    model_folder: Path, pair_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(model_folder, (pair_folder,), images=1)
    said = capsys.readouterr().out
    assert "golden input off by" in said
    assert "input dB" in said
