"""``deblur bench sources``: one training a mixture, scored on every set, and not trained twice."""

import json
from pathlib import Path

import pytest

from deblur import cli


def test_a_mixture_is_trained_once_and_scored_on_every_set(
    pair_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["bench", "sources", "--mixtures", "leaves=2 leaves", "--sets", str(pair_folder), "leaves"]
    command += ["--crops", "8", "--patch-size", "32", "--output", str(tmp_path)]
    command += ["--json", str(tmp_path / "sources.json")]
    assert cli.main(command) == 0
    figures = json.loads((tmp_path / "sources.json").read_text())
    assert figures["mixtures"] == {"a": ["leaves=2", "leaves"]}
    assert figures["sets"].keys() == {str(pair_folder), "leaves"}
    for by_mixture in figures["sets"].values():
        scores = by_mixture["a"]
        assert scores["gain_db"] == pytest.approx(scores["psnr_db"] - scores["input_db"], abs=1e-6)
    assert "gain in dB after 8 crops" in capsys.readouterr().out
    before = (tmp_path / "a" / "last.pth").stat().st_mtime_ns
    assert cli.main(command) == 0
    assert (tmp_path / "a" / "last.pth").stat().st_mtime_ns == before
