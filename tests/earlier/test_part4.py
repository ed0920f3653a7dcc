"""Runs, states, checkpoints, model folders and registered versions of the code before part 5 still do their work."""

import json
import shutil
import sqlite3
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch

from deblur import project
from deblur.cli import main
from deblur.inference.model_folder import open_model, read_info
from deblur.models.checkpoint import load_checkpoint, network_from, read_state
from deblur.registry.record import FINISHED, RunRecord
from deblur.registry.versions import fetch
from tests.registry.aliases import aliases_of

ARCHIVE = Path(__file__).parent / "part4.tar.xz"
ROOT_THEN = "/tmp/earlier-root"
STOPPED = (
    "train --preset fast --width 8 --tile_size 1024 --num_epochs 3 --tracking off --batch_size 2 --patch_size 32 "
    "--epoch_images 8 --num_workers 0 --precision f32 --device cpu --doctor off --learning_rate 0.001 --seed 7"
)


@pytest.fixture
def earlier(own_project: Path) -> Path:
    """The archive where the test's project is; paths inside follow."""
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(own_project, filter="data")
    for file in (*own_project.glob("*/run.json"), *own_project.glob("*/shipped.json")):
        file.write_text(file.read_text().replace(ROOT_THEN, str(own_project)))
    with sqlite3.connect(own_project / "mlflow.db") as database:
        for table, column in PLACES:
            database.execute(f"update {table} set {column} = replace({column}, ?, ?)", (ROOT_THEN, str(own_project)))
    database.close()
    assert project.root() == own_project
    return own_project


PLACES = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
    ("logged_models", "artifact_location"),
)


def command(root: Path) -> list[str]:
    """What ``stopped/`` was begun with."""
    data = ["--train_data", str(root / "train"), "--test_data", str(root / "val")]
    return [*STOPPED.split(), *data, "--output_dir", str(root / "stopped"), "--init", str(root / "FastUNet.pth")]


def test_a_stopped_run_goes_on_to_where_it_would_have_come(earlier: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (earlier / "FastUNet.pth").unlink()  # it goes on from its own state
    before = RunRecord(earlier / "stopped").epochs
    assert main(command(earlier)) == 0, capsys.readouterr().err
    record = RunRecord(earlier / "stopped")
    assert "resumed after epoch 1, step 7" in " ".join(capsys.readouterr().out.split())
    assert record.run["status"] == FINISHED
    assert record.epochs[: len(before)] == before
    state = load_checkpoint(read_state(record.folder).data)
    expected = torch.load(earlier / "continued.pth", weights_only=True)
    assert (state["epoch"], state["step"]) == (3, 12)
    for part in ("model_state_dict", "ema_state_dict"):
        for name, weight in expected[part].items():  # other machines round otherwise
            assert torch.allclose(state[part][name], weight, atol=2e-4), name
    second, third = (line["metrics"] for line in record.epochs[1:3])
    assert "train_ms-ssim" not in second, "its first steps were made before terms were recorded"
    assert third["train_loss"] == pytest.approx(0.84 * third["train_ms-ssim"] + 0.16 * third["train_charbonnier"])
    assert third["val_loss"] == pytest.approx(0.84 * third["val_ms-ssim"] + 0.16 * third["val_charbonnier"])


def test_it_is_set_aside_for_other_settings_only(earlier: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What an old record does not have (loss, optimizer, schedule) is as it was; and that is compared."""
    other = [*command(earlier), "--resume", "--num_workers", "1"]
    for changed in (["--loss", "charbonnier=1"], ["--optimizer", "adam"], ["--schedule", "constant"]):
        assert main([*other, *changed]) == 1
        assert f"has other settings: {changed[0].removeprefix('--')}:" in " ".join(capsys.readouterr().err.split())
    assert read_state(earlier / "stopped").step == 7


def test_a_finished_run_is_known_as_finished(earlier: Path) -> None:
    record = RunRecord(earlier / "registered")
    assert record.run["status"] == FINISHED
    assert main(["ship", str(record.folder)]) == 0
    assert json.loads((record.folder / "registered.json").read_text()) == {"name": "earlier", "version": "1"}


def test_its_checkpoint_registers_as_the_next_version(earlier: Path, capsys: pytest.CaptureFixture[str]) -> None:
    checkpoint = RunRecord(earlier / "registered").best_checkpoint
    assert checkpoint is not None
    state = load_checkpoint(checkpoint)
    state["settings"] = json.loads(json.dumps(state["settings"]).replace(ROOT_THEN, str(earlier)))
    torch.save(state, checkpoint)
    (earlier / "registered" / "last.json").unlink()  # it vouches for the file as it was
    assert main(["register", str(checkpoint), "--name", "earlier"]) == 0, capsys.readouterr().err
    assert "earlier version 2 (challenger)" in " ".join(capsys.readouterr().out.split())
    assert aliases_of("earlier", "1") == []


def test_the_registered_version_is_fetched_and_restores(earlier: Path) -> None:
    folder = fetch("models:/earlier/1")
    model, pixels = open_model(folder), np.random.default_rng(0).random((70, 90, 3), dtype=np.float32)
    assert model.info.label == "earlier/1"
    assert not np.array_equal(model.restorer(pixels), pixels)
    shutil.copytree(folder, earlier / "copy")
    assert network_from(earlier / "copy").architecture["width"] == 8


@pytest.mark.parametrize(("name", "statistics"), [("registered/model", True), ("frozen", False)])
def test_model_folders_say_what_is_true_of_them(earlier: Path, name: str, statistics: bool) -> None:
    """They had one field for reach, halo and statistics."""
    info = read_info(earlier / name)
    assert (info.reach_px, info.halo_px, info.statistics) == (None, 0, statistics)
    assert info.tiling == open_model(earlier / name).restorer.tiling
    assert (info.tiling.tile_px, info.tiling.overlap_px, info.tiling.halo_px) == (512, 32, 0)
    network = network_from(earlier / name)
    assert (network.has_statistics, network.can_freeze) == (statistics, statistics)
