"""The record on disk: complete without a tracker, and a new run loses nothing of an earlier one."""

from pathlib import Path

from PIL import Image

from deblur.registry.record import FINISHED, RUNNING, RunRecord


def test_a_run_is_written_as_it_goes(tmp_path: Path) -> None:
    record = RunRecord.begin(tmp_path / "run", "first", {"width": 8}, {"git_commit": "abc"})
    assert record.run["status"] == RUNNING
    record.log_epoch(1, {"psnr": 25.0})
    record.log_epoch(2, {"psnr": 26.0})
    record.log_panel("seq/photo één.png", 1, Image.new("RGB", (4, 4)))
    record.end(FINISHED, {"annealed": "true"})
    again = RunRecord(tmp_path / "run")
    assert again.run["status"] == FINISHED
    assert again.run["settings"] == {"width": 8}
    assert again.run["tags"] == {"git_commit": "abc", "annealed": "true"}
    assert [line["metrics"]["psnr"] for line in again.epochs] == [25.0, 26.0]
    assert [(photo, epoch) for photo, epoch, _ in again.panels()] == [("seq-photo---n.png", 1)]


def test_panels_come_in_the_order_of_their_making(tmp_path: Path) -> None:
    record = RunRecord.begin(tmp_path, "run", {}, {})
    seen = []
    for epoch in (1, 2, 10):
        for photo in ("b", "a"):
            record.log_panel(photo, epoch, Image.new("RGB", (4, 4)))
        panels = record.panels()
        assert panels[: len(seen)] == seen, "what was shipped stays in front"
        seen = panels


def test_an_earlier_run_in_the_same_folder_is_set_aside_whole(tmp_path: Path) -> None:
    first = RunRecord.begin(tmp_path, "first", {}, {})
    first.log_epoch(1, {"psnr": 1.0})
    (tmp_path / "best_model_epoch_1_psnr_1.00.pth").write_bytes(b"weights")
    started = first.run["started_ms"]
    second = RunRecord.begin(tmp_path, "second", {}, {})
    assert second.epochs == []
    assert second.best_checkpoint is None
    earlier = RunRecord(tmp_path / "earlier" / str(started))
    assert earlier.run["name"] == "first"
    assert len(earlier.epochs) == 1
    assert earlier.best_checkpoint is not None
