"""``deblur bench tiles``: each tile size beside the whole image."""

import json
from pathlib import Path

from deblur import cli


def test_the_verb_tells_each_tile_size_and_the_whole(model_folder: Path, pair_folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "tiles.json"
    arguments = ["bench", "tiles", "--model", str(model_folder), "--pairs", str(pair_folder), "--json", str(file)]
    assert cli.main([*arguments, "--tiles", "64", "128"]) == 0
    figures = json.loads(file.read_text())
    assert figures["images"] == 6
    small, large, whole = figures["tiles"]
    assert (small["tile_px"], large["tile_px"], whole["tile_px"]) == (64, 128, None)
    assert small["computed_share"] > large["computed_share"] > 1
    assert small["drift_levels"] >= large["drift_levels"] > whole["drift_levels"] == 0.0
    assert whole["seam_ratio"] == 1.0
