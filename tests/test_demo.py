"""The demo, cut to seconds: every stage is the real one, only the training is too short to gain much."""

import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from deblur import demo
from deblur.data.photos import HELD_BACK
from deblur.errors import FolderInUse
from deblur.registry.record import RunRecord
from deblur.training.resuming import sole_trainer


class Stopping(Console):
    """Gets Ctrl-C as soon as it was told of the first epoch."""

    def print(self, *objects: Any, **how: Any) -> None:
        super().print(*objects, **how)
        if str(objects[:1]).startswith("('epoch 1"):
            signal.raise_signal(signal.SIGINT)


def test_train_track_register_serve_post_look(own_project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "EPOCHS", 2)
    monkeypatch.setattr(demo, "EPOCH_IMAGES", 16)
    monkeypatch.setattr(demo, "SHAKES_PX", (7.5,))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{own_project / 'mlflow.db'}")  # the service reads it, too
    stopping, console = Stopping(record=True, width=160), Console(record=True, width=160)
    with pytest.raises(SystemExit):
        demo.run_demo(None, stopping)
    assert stopping.export_text().endswith(": the same command goes on\n")
    gain = demo.run_demo(None, console)
    said = console.export_text()
    assert "\nresumed after epoch 1, step 2\n" in said
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


def test_after_a_demo_that_came_to_its_end_a_new_run_begins(own_project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = own_project / "checkpoints" / "demo"
    found = list[bool]()
    monkeypatch.setattr(demo, "demo_data", lambda split, settings: None)
    monkeypatch.setattr(demo, "run", lambda *arguments: found.append(RunRecord(folder).exists) or "result")
    record = RunRecord.begin(folder, "demo", {}, {})
    for _ in range(2):
        demo.trained(demo.demo_settings(), demo.Split([], [], []), Console())
        record.log_version(demo.NAME, "1")
    assert found == [True, False]
    assert len(list(folder.glob("earlier/*/run.json"))) == 1


def test_a_second_demo_at_once_is_told_what_it_can_do(own_project: Path) -> None:
    folder = own_project / "checkpoints" / "demo"
    with (
        sole_trainer(folder),
        pytest.raises(FolderInUse, match=f"^Another demo trains in {folder}. Wait for it, or stop it.$"),
    ):
        demo.trained(demo.demo_settings(), demo.Split([], [], []), Console())
