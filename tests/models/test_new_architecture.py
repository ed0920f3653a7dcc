"""A new architecture is one file and one line: everything else finds it by itself."""

import json
import subprocess
import sys
from collections.abc import Sequence
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
import io, json, sys
from contextlib import redirect_stderr, redirect_stdout
from deblur.models import ARCHITECTURES
from toy import Toy
{ONE_LINE}
from deblur.cli import main

for line in sys.stdin:
    with redirect_stdout(io.StringIO()) as out, redirect_stderr(io.StringIO()) as error:
        try:
            code = main(json.loads(line))
        except SystemExit as ended:
            code = ended.code
    print(json.dumps([code, out.getvalue(), error.getvalue()]))
"""


def deblur(folder: Path, *lines: Sequence[str], toy: str = TOY) -> list[tuple[int, str, str]]:
    """Of each command line its exit code and what it said, all in one process that has the toy."""
    (folder / "toy.py").write_text(toy)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        input="\n".join(map(json.dumps, lines)),
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [tuple(json.loads(line)) for line in done.stdout.splitlines()]


def test_it_has_flags_of_its_own_and_says_what_they_are(tmp_path: Path) -> None:
    toy = ["train", "--network", "Toy"]
    (code, told, _), refused = deblur(tmp_path, [*toy, "--help"], [*toy, "--channels", "3"])
    assert code == 0
    said = " ".join(told.replace("│", " ").split())
    assert "{DeblurUNet,FastUNet," in said
    assert ",Toy}" in said
    assert "Channels in the middle, an even number. (default: 4)" in said
    for absent in ("--scale", "--width", "--residual"):
        assert absent not in told
    assert refused[0] == 1
    assert "Toy: channels is 3; it must be even." in refused[2]


@pytest.mark.parametrize("preset", ["published", "fast"])
def test_it_is_trained_resumed_exported_and_restores(tmp_path: Path, pair_folder: Path, preset: str) -> None:
    train = f"train --preset {preset} --network Toy --depth 2 --tracking off --doctor off --val_images 1 --num_epochs 1"
    train += " --batch_size 2 --patch_size 32 --epoch_images 4 --num_workers 0 --output_dir o"
    arguments = [*train.split(), "--train_data", str(pair_folder), "--test_data", str(pair_folder)]
    restore = ["restore", str(next(pair_folder.glob("blur/*"))), "restored.png", "--model", "o/model"]
    done, again, restored = deblur(tmp_path, arguments, arguments, restore)
    assert (done[0], again[0], restored[0]) == (0, 0, 0), (done, restored)
    assert "is finished" in again[1]
    assert (tmp_path / "restored.png").is_file()
    info = json.loads((tmp_path / "o" / "model" / "model.json").read_text())
    assert info["architecture"] == {"name": "Toy", "channels": 4, "depth": 2, "scale": 0.1}
    assert (info["reach_px"], info["halo_px"], info["statistics"]) == (3, 3, False)
    assert json.loads((tmp_path / "o" / "run.json").read_text())["settings"]["depth"] == 2


def test_an_argument_may_not_be_called_as_a_setting(tmp_path: Path) -> None:
    ((code, _, error),) = deblur(tmp_path, ["train", "--network", "Toy"], toy=TOY.replace("channels", "seed"))
    assert code == 1
    assert "Toy has an argument seed, but that is a setting's name" in error
