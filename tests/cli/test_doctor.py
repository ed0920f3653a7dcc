"""``deblur doctor``: a table, JSON, a contact sheet, and an exit code that says whether there are errors."""

import json
import shutil
from pathlib import Path

import pytest
from PIL import Image

from deblur.cli import main


def test_a_good_set_exits_with_0_and_a_broken_one_with_1(
    pair_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Path(shutil.copytree(pair_folder, tmp_path / "set"))
    assert main(["doctor", str(folder)]) == 0
    out = capsys.readouterr().out.replace("\n", " ")
    assert "7 notes; 6 pairs or photos" in out
    assert "6 decoded, 6 aligned." in out, "'registered' speaks of models"
    (folder / "sharp" / "china.png").unlink()
    figures, sheet = tmp_path / "found.json", tmp_path / "worst.png"
    assert main(["doctor", str(folder), "--json", str(figures), "--sheet", str(sheet)]) == 1
    out = capsys.readouterr().out
    assert "unpaired" in out
    assert "1 error, " in out
    found = json.loads(figures.read_text())
    first = found["findings"][0]
    assert (first["kind"], first["severity"]) == ("unpaired", "error")
    assert first["files"] == [str(folder / "blur" / "china.png")]
    assert len(found["pairs"]) == 5
    with Image.open(sheet) as picture:
        assert picture.height > 5 * 150


def test_options_reach_it(pair_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["doctor", str(pair_folder), "--val", str(pair_folder), "--patch_size", "300", "--quick"]
    assert main(arguments) == 1
    out = capsys.readouterr().out
    assert "too_small" in out
    assert "leak_same_file" in out
    assert main(["doctor", "/nowhere"]) == 1
    assert "is not a folder" in capsys.readouterr().err
