"""Every preset runs: a few steps on a real photograph, a verified and registered model, a photo restored with it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import deblur
from deblur.data.photos import SharpPhoto
from deblur.library import locate
from deblur.registry import versions
from deblur.training.presets import PRESETS
from deblur.training.recipe import run
from deblur.training.settings import TrainSettings
from tests.registry.untraced import log_version

SMALL: dict[str, Any] = {"patch_size": 64, "batch_size": 2, "accumulate": 1, "epoch_images": 2, "num_epochs": 2}
SMALLER_NETWORK: dict[str, dict[str, Any]] = {
    "DeblurUNet": {"width": 8},
    "FastUNet": {"width": 8},
    "NAFNet": {"width": 4, "encoder_blocks": (1, 1, 1, 1)},
    "EcaUNet": {"width": 8},
    "SeUNet": {"width": 8},
    "Msafn": {"width": 8, "blocks": 1},
    "LightMsafn": {"width": 8, "blocks": 1},
    "StackedConv": {"depth": 3},
}


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory, photos: dict[str, SharpPhoto]) -> Path:
    """The model folder of a small network that was trained for a moment."""
    folder = tmp_path_factory.mktemp("teacher")
    result = run(small("residual", folder, photo_folder(folder, photos), tracking="off"))
    assert result is not None
    return result.record.model_folder


def photo_folder(folder: Path, photos: dict[str, SharpPhoto]) -> Path:
    (folder / "photos").mkdir()
    Image.fromarray(photos["coffee"].pixels).save(folder / "photos" / "coffee.png")
    return folder / "photos"


def small(preset: str, folder: Path, sharp: Path, **more: Any) -> TrainSettings:
    settings = TrainSettings.of_preset(preset)
    source = settings.run.train_data or (f"photos:{sharp}",)
    network = SMALLER_NETWORK[settings.network.network]
    values = {"train_data": source, "test_data": ("leaves",), "val_images": 1, "tile_size": 1024, "num_workers": 0}
    return settings.but(output_dir=folder / "run", doctor="off", **SMALL, **values, **network, **more).resolved()


@pytest.mark.parametrize("preset", list(PRESETS)[4:])
def test_a_published_system_from_photo_to_restored_photo(
    preset: str, tmp_path: Path, teacher: Path, photos: dict[str, SharpPhoto], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Registered without the pt2: ``test_architectures`` has it."""
    monkeypatch.setattr(versions, "_log_version", log_version)
    asks = any(term.startswith("teacher:") for term in PRESETS[preset]["loss"])
    taught = {"teacher": str(teacher)} if asks else {}
    settings = small(preset, tmp_path, photo_folder(tmp_path, photos), registered_model_name=preset, **taught)
    result = run(settings)
    assert result is not None
    assert result.version == "1"
    trained = {name for line in result.record.epochs for name in line["metrics"] if name.startswith("train_")}
    terms = {f"train_{term.partition('=')[0].replace(':', '_')}" for term in PRESETS[preset]["loss"]}
    assert terms <= trained
    blurry = photos["chelsea"].pixels[:100, :130]
    restored = deblur.restore(blurry, deblur.open_model(locate(f"models:/{preset}/1")))
    assert isinstance(restored, np.ndarray)
    assert restored.shape == blurry.shape
