"""Data on the device in a run: what it cannot hold is refused while an earlier run still stands."""

from pathlib import Path

import pytest

from deblur.cli import main
from deblur.data import resident
from deblur.errors import SettingError
from deblur.models import build
from deblur.models.checkpoint import save_checkpoint
from deblur.registry.record import RunRecord
from deblur.training.recipe import Job, data_of, pace_of, run
from deblur.training.settings import TrainSettings
from tests.training.tiny import tiny


def settings_of(pairs: Path, output: Path, **changes: object) -> TrainSettings:
    return tiny(output, str(pairs), network="FastUNet", tile_size=1024, epoch_images=2, **changes)


def test_too_large_a_set_leaves_the_earlier_run_in_its_place(
    pair_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(settings_of(pair_folder, tmp_path))
    before = RunRecord(tmp_path).run
    monkeypatch.setattr(resident, "available_memory", lambda: 1e5)
    with pytest.raises(SettingError, match="Leave data_on_device out"):
        run(settings_of(pair_folder, tmp_path, data_on_device=True, learning_rate=1e-3))
    assert RunRecord(tmp_path).run == before
    assert not (tmp_path / "earlier").exists()


def test_saved_answers_are_not_held(pair_folder: Path, tmp_path: Path) -> None:
    file, answers = tmp_path / "teacher.pth", tmp_path / "answers"
    network = build({"name": "FastUNet", "width": 8})
    save_checkpoint(file, {"architecture": network.architecture, "model_state_dict": network.state_dict()})
    assert main(["teach", str(pair_folder), str(answers), "--teacher", str(file), "--device", "cpu"]) == 0
    taught = {"teacher": str(answers), "loss": ("charbonnier", "teacher:l1=0.5")}
    with pytest.raises(SettingError, match="does not hold a teacher's saved answers"):
        run(settings_of(pair_folder, tmp_path / "run", data_on_device=True, **taught))
    assert not RunRecord(tmp_path / "run").exists


def test_a_pace_is_measured_with_the_images_on_the_device(pair_folder: Path, tmp_path: Path) -> None:
    settings = settings_of(pair_folder, tmp_path, data_on_device=True)
    pace = pace_of(Job(settings, data_of(settings)), 0.01)
    assert pace.image_s > 0
    assert pace.epoch_s > 0
