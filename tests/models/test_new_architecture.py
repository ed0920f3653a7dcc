"""A new architecture is one file and one line: everything else finds it by itself."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

TOY = '''
"""Toy: one convolution more than nothing."""

from torch import Tensor, nn

from deblur.inference.tiling import SizeRule
from deblur.models.network import Network


class Toy(Network):
    """Input plus a small correction.

    Args:
        channels: Channels in the middle, an even number.
        depth: Convolutions in the middle.
        scale: set by the program.
    """

    size_rule = SizeRule(multiple_of=2, min_side_px=4)

    def __init__(self, channels: int = 4, depth: int = 1, *, scale: float = 0.1) -> None:
        super().__init__()
        if channels % 2:
            raise ValueError(f"channels is {channels}; it must be even.")
        self.channels, self.depth, self.scale = channels, depth, scale
        sides = [3, *[channels] * depth, 3]
        self.layers = nn.Sequential(*(nn.Conv2d(a, b, 3, padding=1) for a, b in zip(sides, sides[1:])))

    @property
    def reach_px(self) -> int:
        return self.depth + 1

    def forward(self, blurry: Tensor) -> Tensor:
        return blurry + self.scale * self.layers(blurry)
'''

ONE_LINE = "ARCHITECTURES['Toy'] = Toy"
PROGRAM = f"""
import sys
from deblur.models import ARCHITECTURES
from toy import Toy
{ONE_LINE}
from deblur.cli import main
sys.exit(main(sys.argv[1:]))
"""


def deblur(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    (folder / "toy.py").write_text(TOY)
    command = [sys.executable, "-c", PROGRAM, *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_it_has_flags_of_its_own_and_says_what_they_are(tmp_path: Path) -> None:
    done = deblur(tmp_path, "train", "--network", "Toy", "--help")
    assert done.returncode == 0, done.stderr
    said = " ".join(done.stdout.replace("│", " ").split())
    assert "{DeblurUNet,FastUNet," in said
    assert ",Toy}" in said
    assert "Channels in the middle, an even number. (default: 4)" in said
    for absent in ("--scale", "--width", "--residual"):
        assert absent not in done.stdout
    refused = deblur(tmp_path, "train", "--network", "Toy", "--channels", "3")
    assert refused.returncode == 1
    assert "Toy: channels is 3; it must be even." in refused.stderr


@pytest.mark.parametrize("preset", ["published", "fast"])
def test_it_is_trained_resumed_exported_and_restores(tmp_path: Path, pair_folder: Path, preset: str) -> None:
    train = f"train --preset {preset} --network Toy --depth 2 --tracking off --doctor off --val_images 1 --num_epochs 1"
    train += " --batch_size 2 --patch_size 32 --epoch_images 4 --num_workers 0 --output_dir o"
    arguments = [*train.split(), "--train_data", str(pair_folder), "--test_data", str(pair_folder)]
    done = deblur(tmp_path, *arguments)
    assert done.returncode == 0, done.stderr
    info = json.loads((tmp_path / "o" / "model" / "model.json").read_text())
    assert info["architecture"] == {"name": "Toy", "channels": 4, "depth": 2, "scale": 0.1}
    assert (info["reach_px"], info["halo_px"], info["statistics"]) == (3, 3, False)
    assert json.loads((tmp_path / "o" / "run.json").read_text())["settings"]["depth"] == 2
    again = deblur(tmp_path, *arguments)
    assert "is finished" in again.stdout
    photo = next(pair_folder.glob("blur/*"))
    restored = deblur(tmp_path, "restore", str(photo), "restored.png", "--model", "o/model")
    assert restored.returncode == 0, restored.stderr
    assert (tmp_path / "restored.png").is_file()


def test_an_argument_may_not_be_called_as_a_setting(tmp_path: Path) -> None:
    (tmp_path / "toy.py").write_text(TOY.replace("channels", "seed"))
    command = [sys.executable, "-c", PROGRAM, "train", "--network", "Toy"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "Toy has an argument seed, but that is a setting's name" in done.stderr
