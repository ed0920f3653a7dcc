"""Models whose worth is known: pairs are too dark by some levels, and each model makes everything lighter."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from deblur.data.photos import SharpPhoto
from deblur.export.onnx import export_model
from deblur.inference import guard
from deblur.inference.tiling import Tiling
from deblur.models.unet import DeblurUNet

DARKER, SIDE_PX = 12, 96


@pytest.fixture(scope="module")
def trusted() -> Iterator[None]:
    """A guard that lets everything through: it would take a planted model's shift for a broken result."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(guard.Guard, "_decide", lambda self, row: None)
        yield


def lighter_by(levels: float) -> DeblurUNet:
    """Adds ``levels`` of 255 to every pixel."""
    network = DeblurUNet(8, residual=True)
    torch.nn.init.zeros_(network.head.weight)
    torch.nn.init.constant_(network.head.bias, levels / 127.5)
    return network


def model_lighter_by(levels: float, folder: Path) -> Path:
    """The same as a model folder."""
    network = lighter_by(levels)
    export_model(network, folder, name=f"lighter-{levels:g}", tiling=Tiling(128, 32, network.size_rule))
    return folder


def dark_pairs(folder: Path, photos: dict[str, SharpPhoto], scenes: int = 5, images: int = 4) -> Path:
    """A folder of pairs, ``images`` of each scene."""
    rng = np.random.default_rng(scenes)
    names = ("astronaut", "coffee", "chelsea", "camera", "china", "rocket", "flower", "grace_hopper")
    for kind in ("blur", "sharp"):
        (folder / kind).mkdir(parents=True)
    for scene in range(scenes):
        pixels = photos[names[scene % len(names)]].pixels
        for image in range(images):
            top, left = (int(rng.integers(side - SIDE_PX)) for side in pixels.shape[:2])
            sharp = np.clip(pixels[top : top + SIDE_PX, left : left + SIDE_PX], DARKER + 20, 235)
            noise = rng.normal(0, 4, sharp.shape)  # what no such model takes away
            name = f"scene{scene:02d}-{image:04d}.png"
            Image.fromarray(sharp).save(folder / "sharp" / name)
            dark = np.clip(np.rint(sharp - DARKER + noise), 0, 255).astype(np.uint8)
            Image.fromarray(dark).save(folder / "blur" / name)
    return folder


@pytest.fixture(scope="session")
def planted(tmp_path_factory: pytest.TempPathFactory, photos: dict[str, SharpPhoto]) -> Path:
    """``pairs`` (5 scenes, 20 images), ``few`` (5 scenes, 10 images), and models ``by4``, ``by4again``, ``by10``."""
    folder = tmp_path_factory.mktemp("planted")
    dark_pairs(folder / "pairs", photos)
    dark_pairs(folder / "few", photos, images=2)
    for name, levels in {"by4": 4.0, "by4again": 4.001, "by10": 10.0}.items():
        model_lighter_by(levels, folder / name)
    return folder
