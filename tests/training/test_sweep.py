"""``deblur sweep``: combinations, trials as child runs of one, resumed and compared."""

from pathlib import Path

import mlflow
import pytest

from deblur import cli
from deblur.cli.sweep import _settings
from deblur.errors import SettingError
from deblur.registry.tracking import tracker_address
from deblur.training.sweep import PARENT, Trial, trials_of

SMALL = ["--width", "8", "--patch_size", "32", "--batch_size", "2", "--epoch_images", "2", "--num_epochs", "1"]


def test_every_combination_is_a_trial() -> None:
    trials = trials_of({"width": ["4", "8"], "loss": ["charbonnier=1", "ms-ssim=1"]}, None)
    assert [dict(trial.values) for trial in trials] == [
        {"width": "4", "loss": "charbonnier=1"},
        {"width": "4", "loss": "ms-ssim=1"},
        {"width": "8", "loss": "charbonnier=1"},
        {"width": "8", "loss": "ms-ssim=1"},
    ]
    assert trials[1].name == "02-width=4-loss=ms-ssim=1"


def test_more_trials_by_chance_begin_with_the_same() -> None:
    varied = {"learning_rate": ["1e-4..1e-2"], "width": ["4", "8", "16"]}
    few, many = trials_of(varied, 2), trials_of(varied, 8)
    assert many[:2] == few
    rates = [float(trial.values["learning_rate"]) for trial in many]
    assert len(set(rates)) == 8
    assert all(1e-4 <= rate <= 1e-2 for rate in rates)
    assert min(rates) < 1e-3 < max(rates)
    assert len(trials_of({"width": ["4", "8", "16"]}, 8)) == 3  # no combination twice


@pytest.mark.parametrize(
    ("varied", "count", "told"),
    [
        ({}, None, "Nothing to try"),
        ({"width": ["4"]}, 0, "Nothing to try"),
        ({"learning_rate": ["1e-4..1e-2"]}, None, "how many trials"),
        ({"learning_rate": ["1e-2..1e-4"]}, 3, "LOW..HIGH"),
    ],
)
def test_what_makes_no_sense_is_refused(varied: dict[str, list[str]], count: int | None, told: str) -> None:
    with pytest.raises(SettingError, match=told):
        trials_of(varied, count)


def test_a_sweep_is_one_run_with_a_child_a_trial_and_trains_nothing_twice(
    pair_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["sweep", str(tmp_path / "rates"), "--vary", "learning_rate=1e-4,1e-3", "--data", str(pair_folder)]
    command += ["--train_data", "leaves", "--test_data", str(pair_folder), *SMALL]
    assert cli.main(command) == 0
    told = capsys.readouterr().out
    assert "trial 2 of 2: learning_rate=1e-3" in told
    assert "01-learning_rate=1e-4" in told  # scored side by side
    client = mlflow.MlflowClient(tracker_address())
    (experiment,) = client.search_experiments(filter_string="name = 'deblur'")
    runs = client.search_runs([experiment.experiment_id])
    children = [run for run in runs if PARENT in run.data.tags]
    (parent,) = [run for run in runs if PARENT not in run.data.tags]
    assert {run.data.tags[PARENT] for run in children} == {parent.info.run_id}
    assert {run.data.params["learning_rate"] for run in children} == {"0.0001", "0.001"}
    assert {run.info.run_name for run in children} == {"learning_rate=1e-4", "learning_rate=1e-3"}
    states = sorted(tmp_path.glob("rates/*/last.pth"))
    before = [state.stat().st_mtime_ns for state in states]
    assert len(before) == 2
    assert cli.main(command) == 0
    assert [state.stat().st_mtime_ns for state in states] == before
    assert len(client.search_runs([experiment.experiment_id])) == 3


def test_wrong_settings_are_told_before_anything_trains(
    pair_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["sweep", str(tmp_path / "out"), "--vary", "batch_size=2,0", "--tracking", "off"]
    assert cli.main([*command, "--train_data", str(pair_folder), *SMALL]) == 1
    assert "batch_size is 0" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_switch_is_on_and_off_whatever_the_preset_says(tmp_path: Path) -> None:
    for preset, name, more in (("small", "residual", []), ("light-msafn", "centralise", ["--teacher", "msafn"])):
        trials = trials_of({name: ["true", "false"]}, None)
        command = ["--preset", preset, *more, "--train_data", "leaves"]
        made = [_settings(command, trial, tmp_path) for trial in trials]
        assert [each.flat()[name] for each in made] == [True, False]
    with pytest.raises(SettingError, match="learning_rate: a training has no such setting"):
        _settings(["--train_data", "leaves"], Trial(1, {"learning_rate": "true"}), tmp_path)


def test_a_trial_is_named_for_a_folder() -> None:
    assert Trial(3, {"train_data": "photos:a/b leaves"}).name == "03-train_data=photos-a-b-leaves"


def test_a_trial_that_fails_leaves_the_others_to_train(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["sweep", str(tmp_path), "--vary", "learning_rate=1e30,1e-3", "residual=true", "--tracking", "off"]
    command += ["--nonfinite_limit", "0", "--train_data", "leaves", "--test_data", "leaves", "--val_images", "1"]
    assert cli.main([*command, *SMALL, "--num_epochs", "3"]) == 1
    told = capsys.readouterr().out
    assert "trial 1 failed" in told
    assert "trial 2 of 2: learning_rate=1e-3" in told
    assert (tmp_path / "02-learning_rate=1e-3-residual=true" / "model" / "model.onnx").is_file()


@pytest.mark.parametrize(("more", "sentence"), [(["--vary", "width=8"], "behind one"), (["--dry_run"], "no dry run")])
def test_what_a_sweep_does_not_do_is_told(
    more: list[str], sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["sweep", str(tmp_path), "--vary", "width=8", "--train_data", "leaves", *more]) == 1
    assert sentence in capsys.readouterr().err
