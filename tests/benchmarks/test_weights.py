"""The benchmark of weights: what it prints, writes and draws for one photograph."""

import json
from pathlib import Path

import pytest
from PIL import Image

from deblur.benchmarks import weights
from deblur.evaluation.references import REFERENCES


def test_it_prints_writes_and_draws(
    pair_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(weights, "HELD_BACK", ("astronaut",))
    monkeypatch.setattr(weights, "SHAKES_PX", (weights.PICTURED_SHAKE_PX,))
    figures, picture = tmp_path / "figures.json", tmp_path / "picture.png"
    weights.main((pair_folder,), json_file=figures, picture=picture)
    found = json.loads(figures.read_text())
    (astronaut,), *ways = found["images"].values()
    assert astronaut["psnr_db"] > astronaut["psnr_input_db"] + 1
    assert [len(images) for images in ways] == [6] * (1 + len(REFERENCES))
    assert found["sharp_kept_db"]["astronaut"] > 30
    assert "restored against themselves" in capsys.readouterr().out
    with Image.open(picture) as drawn:
        assert drawn.width > 3 * weights.PICTURED_SIDE_PX
