"""The demo, cut to seconds: every stage is the real one, only the training is too short to gain much."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from deblur import demo
from deblur.data.photos import HELD_BACK
from deblur.registry.record import RunRecord


def test_train_track_register_serve_post_look(own_project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "EPOCHS", 1)
    monkeypatch.setattr(demo, "EPOCH_IMAGES", 16)
    monkeypatch.setattr(demo, "SHAKES_PX", (7.5,))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{own_project / 'mlflow.db'}")  # the service reads it, too
    console = Console(record=True, width=160)
    gain = demo.run_demo(None, console)
    said = console.export_text()
    assert np.isfinite(gain.mean)
    for name in HELD_BACK:
        assert name in said
    for word in ("blurry", "restored", "gain", "run: ", "version 1", "mlflow", "serve --model", "curl", "width 16"):
        assert word in said
    assert ("not surely above zero" in said) != gain.above_zero
    record = RunRecord(own_project / "checkpoints" / "demo")
    assert record.run["status"] == "FINISHED"
    with Image.open(record.folder / "before_after.png") as picture:
        assert picture.width > 3 * 300
        assert picture.height > 3 * 300
