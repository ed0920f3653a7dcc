"""The record on disk: complete without a tracker, and a new run loses nothing of an earlier one."""

from pathlib import Path

import pytest
from PIL import Image

from deblur.errors import SettingError
from deblur.registry.record import EVENTS_FILE, FINISHED, KILLED, METRICS_FILE, RUNNING, RunRecord


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


def test_what_a_run_does_twice_after_a_kill_is_recorded_once(tmp_path: Path) -> None:
    record = RunRecord.begin(tmp_path, "run", {}, {})
    record.log_epoch(1, {"psnr": 25.0})
    first = record.epochs
    record.log_epoch(1, {"psnr": 25.0})
    assert record.epochs == first, "the first time stays, and so does what a tracker has"
    record.log_epoch(1, {"psnr": 25.0, "verified_psnr": 24.9})
    assert [line["metrics"] for line in record.epochs] == [{"psnr": 25.0}, {"verified_psnr": 24.9}]
    record.log_panel("a", 1, Image.new("RGB", (4, 4), "red"))
    (panel,) = record.panels()
    before = panel[2].read_bytes()
    record.log_panel("a", 1, Image.new("RGB", (4, 4), "blue"))
    assert panel[2].read_bytes() == before


def test_half_a_line_that_a_kill_left_is_neither_read_nor_kept(tmp_path: Path) -> None:
    record = RunRecord.begin(tmp_path, "run", {}, {})
    record.log_epoch(1, {"psnr": 25.0})
    record.log_event("resumed", step=3)
    for file in (METRICS_FILE, EVENTS_FILE):
        with (tmp_path / file).open("a") as stream:
            stream.write('{"epoch": 2, "metr')
    assert len(record.epochs) == len(record.events) == 1
    record.log_epoch(2, {"psnr": 26.0})
    record.log_event("rolled_back")
    assert [line["epoch"] for line in record.epochs] == [1, 2]
    assert [event["event"] for event in record.events] == ["resumed", "rolled_back"]


def test_a_closed_run_is_opened_again(tmp_path: Path) -> None:
    record = RunRecord.begin(tmp_path, "run", {"num_workers": 1}, {"threads": "2"})
    record.end(KILLED)
    before = record.run
    record.reopen({"num_workers": 4}, {"threads": "8"})
    after = record.run
    assert (after["status"], after["id"], after["started_ms"]) == (RUNNING, before["id"], before["started_ms"])
    assert "ended_ms" not in after
    assert (after["settings"], after["tags"]) == ({"num_workers": 4}, {"threads": "8"})


def test_what_the_tracker_lacks_is_counted(tmp_path: Path) -> None:
    record = RunRecord.begin(tmp_path, "run", {}, {})
    for epoch in (1, 2, 3):
        record.log_epoch(epoch, {"psnr": 25.0})
    assert record.unshipped == "3 of 3 lines of metrics"
    (tmp_path / "shipped.json").write_text('{"epochs": 2}')
    assert record.unshipped == "1 of 3 lines of metrics"


def test_a_kill_while_an_earlier_run_is_set_aside_does_not_split_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = RunRecord.begin(tmp_path, "first", {}, {})
    first.log_epoch(1, {"psnr": 1.0})
    for name in ("last.pth", "last.json", "next.pth"):
        (tmp_path / name).write_bytes(b"state")
    started, moves, real = first.run["started_ms"], [], Path.rename

    def killed(self: Path, target: Path) -> Path:
        moves.append(self)
        if len(moves) == 3:
            raise KeyboardInterrupt
        return real(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", killed)
        with pytest.raises(KeyboardInterrupt):
            RunRecord.begin(tmp_path, "second", {}, {})
    RunRecord.begin(tmp_path, "second", {}, {})
    (aside,) = (tmp_path / "earlier").iterdir()
    assert aside.name == str(started)
    names = {path.name for path in aside.iterdir()}
    assert names == {"run.json", "metrics.jsonl", "last.pth", "last.json", "next.pth"}


def test_what_is_set_aside_replaces_nothing(tmp_path: Path) -> None:
    record = RunRecord.begin(tmp_path, "run", {}, {})
    for content in (b"one", b"two", b"three"):
        (tmp_path / "a.pth").write_bytes(content)
        record.move_aside([tmp_path / "a.pth"])
    assert sorted(path.read_bytes() for path in (tmp_path / "earlier").rglob("a.pth*")) == [b"one", b"three", b"two"]


def test_a_broken_record_is_told_in_a_sentence(tmp_path: Path) -> None:
    record = RunRecord.begin(tmp_path, "run", {}, {})
    (tmp_path / "run.json").write_text('{"id": "ab')
    with pytest.raises(SettingError, match=r"run\.json is broken"):
        _ = record.run


def shades(record: RunRecord) -> dict[tuple[str, int], int]:
    """The grey of each panel, by folder and epoch."""
    return {(photo, epoch): int(Image.open(path).getpixel((0, 0))) for photo, epoch, path in record.panels()}  # type: ignore[arg-type]


def test_photos_whose_names_become_the_same_keep_folders_of_their_own(tmp_path: Path) -> None:
    record = RunRecord.begin(tmp_path, "run", {}, {})
    names = ("写.png", "像.png", "a/b.png", "a-b.png", "a\udcff.png", "a\udcfe.png")
    for epoch in (0, 1):
        for shade, name in enumerate(names):
            record.log_panel(name, epoch, Image.new("L", (4, 4), shade))
    folders = ("-.png", "-.png-2", "a-b.png", "a-b.png-2", "a-.png", "a-.png-2")
    expected = {(folder, epoch): shade for shade, folder in enumerate(folders) for epoch in (0, 1)}
    assert shades(record) == expected


def test_a_run_from_before_keeps_its_panel_folders(tmp_path: Path) -> None:
    """Its panels do not say whose they are: who comes first goes on with the folder."""
    record = RunRecord.begin(tmp_path, "run", {}, {})
    old = tmp_path / "panels" / "-.png" / "00000.png"
    old.parent.mkdir(parents=True)
    Image.new("L", (4, 4), 9).save(old)
    for epoch in (1, 2):
        for shade, name in enumerate(("写.png", "像.png")):
            record.log_panel(name, epoch, Image.new("L", (4, 4), shade))
    assert shades(record) == {
        ("-.png", 0): 9, ("-.png", 1): 0, ("-.png-2", 1): 1, ("-.png", 2): 0, ("-.png-2", 2): 1}  # fmt: skip
