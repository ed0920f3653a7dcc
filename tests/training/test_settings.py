"""Settings: the published command line, presets, and mistakes answered with what is allowed."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from deblur.cli import main
from deblur.data.sources import KINDS
from deblur.errors import SettingError
from deblur.training.device import pick_precision
from deblur.training.settings import TrainSettings

ROOT = Path(__file__).resolve().parents[2]
PUBLISHED = (
    "--train_data data/train --test_data data/val --registered_model_name deblur_v4 --batch_size 24 "
    "--num_epochs 200 --learning_rate 0.0002 --patience 50"
)


def test_the_published_command_from_any_folder(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "src" / "train.py"), *PUBLISHED.split(), "--dry_run"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for setting in ("data/train", "deblur_v4", "0.0002", "learning_rate", "weight_decay", "clip_norm", "device"):
        assert setting in done.stdout
    assert str(ROOT / "checkpoints") in done.stdout
    assert not list(tmp_path.iterdir())


def test_it_is_the_default() -> None:
    published = TrainSettings.of_preset("published").flat()
    assert [published[name] for name in ("batch_size", "num_epochs", "learning_rate")] == [24, 200, 2e-4]
    assert [published[name] for name in ("patience", "weight_decay", "clip_norm")] == [50, 1e-4, 1.0]
    assert [published[name] for name in ("width", "patch_size", "residual")] == [32, 256, False]


@pytest.mark.parametrize(("preset", "width"), [("nafnet", 32), ("nafnet-small", 16)])
def test_nafnet_is_trained_as_long_as_was_published(preset: str, width: int) -> None:
    settings = TrainSettings.of_preset(preset).flat()
    assert settings["num_epochs"] * settings["epoch_images"] / settings["batch_size"] == 200_000
    assert settings["patience"] >= settings["num_epochs"]
    assert (settings["width"], settings["encoder_blocks"]) == (width, (1, 1, 1, 28))


def test_dry_run_shows_what_the_data_decides(pair_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = ["--train_data", str(pair_folder), "--test_data", str(pair_folder)]
    assert main(["train", *data, "--val_images", "2", "--doctor", "off", "--dry_run"]) == 0
    settings = dict(line.split(None, 1) for line in capsys.readouterr().out.splitlines())
    assert (settings["epoch_images"], settings["validation_pairs"], settings["parameters"]) == ("6", "2", "8636451")


def test_dashes_work_as_well_and_missing_data_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["train", *PUBLISHED.replace("_data", "-data").replace("num_epochs", "num-epochs").split()]) == 1
    assert "data/train is not a folder" in capsys.readouterr().err


def test_the_help_names_every_kind_of_source() -> None:
    """It is the docstring."""
    assert all(kind in (TrainSettings.__doc__ or "") for kind in KINDS)


def test_crops_may_grow(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--patch_size", "128@0.5", "192@0.8", "256", "--batch_size", "8", "--dry_run"]) == 0
    settings = dict(line.split(None, 1) for line in capsys.readouterr().out.splitlines())
    assert (settings["patch_size"], settings["batch_size"]) == ("('128@0.5', '192@0.8', '256')", "8")


def test_a_preset_sets_defaults_and_flags_win(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--preset", "small", "--width", "24", "--dry_run"]) == 0
    settings = dict(line.split(None, 1) for line in capsys.readouterr().out.splitlines())
    assert (settings["width"], settings["residual"], settings["patch_size"]) == ("24", "True", "128")


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"batch_size": 0}, "batch_size is 0"),
        ({"patch_size": 100}, "multiple of 16"),
        ({"patch_size": ("100@0.5", "128")}, "multiple of 16"),
        ({"patch_size": ("128", "256")}, "each up to a share"),
        ({"width": 12}, "multiple of 8"),
        ({"learning_rate": 0.0}, "above 0"),
        ({"val_images": 0}, "at least 1"),
        ({"ema_decay": 1.0}, "below 1"),
        ({"schedule": "onecycle", "warmup": 0.1}, "Leave warmup out"),
        ({"skip_bad": -1}, "0 or more"),
        ({"registered_model_name": "a/b"}, "without / :"),
        ({"batch_size": 8, "accumulate": 3}, "divide into 3 micro-batches"),
        ({"resume": True, "fresh": True}, "one of them"),
        ({"tracking": "off", "registered_model_name": "x"}, "deblur ship"),
    ],
)
def test_impossible_settings_are_refused(settings: dict[str, object], sentence: str) -> None:
    with pytest.raises(SettingError, match=sentence):
        TrainSettings().but(**settings).resolved()


def test_precision_is_what_the_hardware_has() -> None:
    here = "bf16" if torch.cpu._is_avx512_bf16_supported() else "f32"
    assert pick_precision("auto", torch.device("cpu")) == here
    assert pick_precision("fp16", torch.device("cpu")) == "fp16"


def test_relative_paths_belong_to_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert TrainSettings().but(output_dir=Path("out")).resolved().run.output_dir == tmp_path / "out"


def test_the_share_of_noise_is_the_blurs_own_unless_it_is_named() -> None:
    usual, settings = TrainSettings().ranges, TrainSettings.of_preset("weights")
    assert settings.ranges == replace(usual, noise_share=0.5, milder=0.8)
    assert settings.but(noise=None).ranges.noise_share == usual.noise_share
    with pytest.raises(SettingError, match="noise is 2; it must be 0 to 1"):
        settings.but(noise=2).resolved()
