"""``deblur bench train``: our step beside the plain one, with real loading."""

import json
from pathlib import Path

import pytest

from deblur import cli


def test_the_verb_measures_both_steps(pair_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "train.json"
    options = ["--width", "8", "--batch-size", "2", "--patch-size", "32", "--rounds", "1", "--steps", "2"]
    options += ["--workers", "0", "--precision", "f32", "--train-data", str(pair_folder), "--json", str(file)]
    assert cli.main(["bench", "train", *options]) == 0
    shown = capsys.readouterr().out
    assert "batch 2 of 32 px: ours is" in shown
    figures = json.loads(file.read_text())
    for name in ("plain", "ours"):
        assert figures[name]["images_per_s"] == 2 / figures[name]["seconds"]
        assert 0 < figures[name]["tflops_per_s"] < 2 * figures[name]["peak_tflops_per_s"]
    assert figures["speedup"] == figures["plain"]["seconds"] / figures["ours"]["seconds"]
    assert 0 <= figures["data_wait"] < 1


@pytest.mark.parametrize("name", ["--rounds", "--steps", "--width", "--patch-size"])
def test_nothing_to_measure_is_told(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["bench", "train", name, "0"]) == 1
    assert f"{name} is 0; it must be at least 1" in capsys.readouterr().err
