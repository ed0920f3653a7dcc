"""``deblur samples``: what a training will see, as a picture."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deblur.cli import main
from deblur.data.crops import Key
from deblur.data.sources import Reading, SourceName, mixture, open_source


def test_the_picture_shows_what_a_training_draws(
    pair_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = tmp_path / "sheet.png"
    arguments = [str(pair_folder), "leaves", "--out", str(picture), "--count", "5", "--patch-size", "64", "--seed", "2"]
    assert main(["samples", *arguments]) == 0
    crops = mixture([open_source(SourceName.parse(text), Reading()) for text in arguments[:2]], 64, seed=2)
    said = capsys.readouterr().out
    with Image.open(picture) as image:
        sheet = np.asarray(image.convert("RGB"))
    for key in range(5):
        assert crops.name_of(key) in said
        blurry, sharp = (part.numpy().transpose(1, 2, 0) for part in crops[Key(key, 0.5)][:2])
        assert holds(sheet, blurry)
        assert holds(sheet, sharp)
    assert main(["samples", *arguments, "--blind"]) == 0
    with Image.open(picture) as image:
        assert not holds(np.asarray(image.convert("RGB")), crops[Key(0, 0.5)][1].numpy().transpose(1, 2, 0))


@pytest.mark.parametrize("wrong", [("--count", "0"), ("--patch-size", "-5"), ("--seed", "-1")])
def test_what_cannot_be_drawn_is_told(wrong: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["samples", "leaves", "--out", str(tmp_path / "sheet.png"), *wrong]) == 1
    assert f"{wrong[0]} is {wrong[1]}; it must be at least" in capsys.readouterr().err


def holds(sheet: np.ndarray, part: np.ndarray) -> bool:
    """Whether ``part`` is somewhere in ``sheet``, to the bit."""
    height, width = part.shape[:2]
    corners = np.argwhere((sheet[: 1 - height, : 1 - width] == part[0, 0]).all(-1))
    return any(np.array_equal(sheet[y : y + height, x : x + width], part) for y, x in corners)
