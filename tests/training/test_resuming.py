"""Where a run begins: the same command goes on, other settings begin anew, and nothing is lost either way."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from deblur.errors import FolderInUse, ModelError, SettingError
from deblur.models.checkpoint import Best, save_checkpoint, save_state
from deblur.registry.record import FINISHED, KILLED, RunRecord
from deblur.training.resuming import Opened, open_run, sole_trainer
from deblur.training.settings import TrainSettings
from deblur.training.state import Counters

SETTINGS = {"learning_rate": 1e-3, "num_workers": 2}
TAGS = {"data_fingerprint": "abc", "torch": "2", "threads": "2", "processes": "1", "device": "cpu"}


def opened(folder: Path, settings: dict[str, Any] = SETTINGS, tags: dict[str, str] = TAGS, **how: bool) -> Opened:
    return open_run(folder, "test", settings, tags, TrainSettings().decisive(), **how)


def saved(folder: Path, step: int, counters: Counters | None = None) -> None:
    from dataclasses import asdict

    counters = counters or Counters(step=step)
    state = {"epoch": 0, "step": step, "model_state_dict": {}, "counters": asdict(counters)}
    save_state(folder, state, counters.best)


@pytest.fixture
def killed(tmp_path: Path) -> RunRecord:
    """A run that was killed after step 2, with a state of step 1 before it."""
    record = opened(tmp_path).record
    for step in (1, 2):
        saved(tmp_path, step)
    record.end(KILLED)
    return record


def test_the_same_command_goes_on_in_the_same_record(killed: RunRecord) -> None:
    again = opened(killed.folder)
    assert again.lines == ["resumed after epoch 0, step 2"]
    assert again.state
    assert (again.record.run["id"], again.record.run["status"]) == (killed.run["id"], "RUNNING")
    assert "ended_ms" not in again.record.run
    assert [event["event"] for event in again.record.events] == ["resumed"]


def test_a_setting_that_is_new_counts_as_its_default(killed: RunRecord, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the defaults would not suit so many processes."""
    monkeypatch.setenv("WORLD_SIZE", "16")
    assert opened(killed.folder, SETTINGS | {"milder": 0.0, "severity": 0.5}).state
    assert "milder: 0.0 -> 0.4" in opened(killed.folder, SETTINGS | {"milder": 0.4}).lines[0]


def test_what_does_not_change_the_result_may_change(killed: RunRecord) -> None:
    assert opened(killed.folder, SETTINGS | {"num_workers": 0, "freeze": "off"}).state


def test_other_settings_begin_a_new_run_and_keep_the_old_one(killed: RunRecord) -> None:
    other = opened(killed.folder, SETTINGS | {"learning_rate": 2e-3})
    assert not other.state
    assert "learning_rate: 0.001 -> 0.002" in other.lines[0]
    assert "earlier/" in other.lines[0]
    (aside,) = (killed.folder / "earlier").iterdir()
    assert {"run.json", "last.pth", "last.json", "previous.pth", "previous.json"} <= {p.name for p in aside.iterdir()}
    assert not (killed.folder / "last.pth").exists()


def test_other_images_begin_a_new_run_unless_going_on_is_demanded(killed: RunRecord) -> None:
    tags = TAGS | {"data_fingerprint": "def"}
    demanded = opened(killed.folder, tags=tags, resume=True)
    assert demanded.state
    assert "the images, or how they are blurred, have changed since this run began" in demanded.lines
    assert demanded.record.run["tags"]["data_fingerprint"] == "def"
    assert not opened(killed.folder, resume=False).state, "and back again is another change"


def test_data_that_changed_beside_the_settings_is_told_too(tmp_path: Path) -> None:
    before = SETTINGS | {"train_data": ("gopro/train",), "test_data": ("gopro/val",)}
    opened(tmp_path, before)
    now = before | {"learning_rate": 2e-3, "train_data": ["photos:mine", "leaves"]}
    (line,) = opened(tmp_path, now, TAGS | {"data_fingerprint": "def"}).lines
    assert line.endswith("(learning_rate: 0.001 -> 0.002; train_data: gopro/train -> photos:mine leaves)")
    (line,) = opened(tmp_path, before, TAGS | {"data_fingerprint": "ghi"}).lines
    assert "learning_rate: 0.002 -> 0.001; train_data: photos:mine leaves -> gopro/train)" in line
    (line,) = opened(tmp_path, before).lines
    assert "(other images, or another law of synthesis; with resume" in line


def test_resume_demands_a_run_of_the_same_settings(killed: RunRecord, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=r"learning_rate: 0\.001 -> 0\.1.*\(init\)"):
        opened(killed.folder, SETTINGS | {"learning_rate": 0.1}, resume=True)
    with pytest.raises(SettingError, match="holds no run"):
        opened(tmp_path / "empty", resume=True)
    assert opened(killed.folder, resume=True).state


def test_fresh_begins_anew(killed: RunRecord) -> None:
    assert not opened(killed.folder, fresh=True).state
    assert (killed.folder / "earlier").is_dir()


def test_a_damaged_state_is_named_and_the_one_before_it_taken(killed: RunRecord) -> None:
    last = killed.folder / "last.pth"
    last.write_bytes(last.read_bytes()[:-10])
    again = opened(killed.folder)
    assert again.lines[0] == "resumed after epoch 0, step 1"
    assert "last.pth" in again.lines[1]
    assert opened(killed.folder).lines == ["resumed after epoch 0, step 1"], "told once"


def test_where_all_states_are_damaged_nothing_is_touched(killed: RunRecord) -> None:
    for name in ("last.pth", "previous.pth"):
        (killed.folder / name).write_bytes(b"damaged")
    with pytest.raises(ModelError, match="use fresh"):
        opened(killed.folder)
    assert (killed.folder / "last.pth").read_bytes() == b"damaged"


def test_a_run_killed_before_its_first_state_is_the_same_run(tmp_path: Path) -> None:
    record = opened(tmp_path).record
    again = opened(tmp_path)
    assert (again.state, again.record.run["id"]) == (b"", record.run["id"])


def test_a_finished_run_is_not_trained_again(killed: RunRecord) -> None:
    killed.end(FINISHED)
    again = opened(killed.folder)
    assert again.finished
    assert "use fresh" in again.lines[0]
    assert killed.run["status"] == FINISHED


def test_another_machine_is_told(killed: RunRecord) -> None:
    assert "not to the same bits: threads: 2 -> 8" in opened(killed.folder, tags=TAGS | {"threads": "8"}).lines


def test_best_checkpoints_that_the_state_does_not_know_move_aside(killed: RunRecord) -> None:
    folder = killed.folder
    own, later = folder / "best_model_epoch_1_psnr_26.00.pth", folder / "best_model_epoch_2_psnr_27.00.pth"
    best = Best(own.name, save_checkpoint(own, {"model_state_dict": {}}), 1, 26.0)
    later.write_bytes(b"of work that was lost")
    saved(folder, 3, Counters(step=3, best=best))
    again = opened(folder)
    assert (again.best_lost, own.exists(), later.exists()) == (False, True, False)
    assert list(folder.rglob(later.name)), "set aside, not deleted"
    own.write_bytes(b"damaged")
    again = opened(folder)
    assert again.best_lost
    assert "sought anew" in again.lines[-1]


def test_a_second_trainer_is_refused_until_the_first_is_gone(tmp_path: Path) -> None:
    program = (
        "import sys, time; from pathlib import Path; from deblur.training.resuming import sole_trainer\n"
        f"with sole_trainer(Path({str(tmp_path)!r})): print('held', flush=True); time.sleep(60)"
    )
    first = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    try:
        assert first.stdout is not None
        assert first.stdout.readline() == "held\n"
        with pytest.raises(FolderInUse, match="Another trainer works in") as caught, sole_trainer(tmp_path):
            pass
        assert caught.value.exit_code == 6
    finally:
        first.kill()
        first.communicate()
    with sole_trainer(tmp_path):
        pass
