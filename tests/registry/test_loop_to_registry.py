"""Train, track, export, verify, register, fetch, restore: the real chain on a small run, against a real registry."""

import json
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import mlflow
import numpy as np
import onnx
import pytest
import torch

from deblur import project
from deblur.cli import main
from deblur.data.pairs import find_pairs, fingerprint
from deblur.demo import free_port
from deblur.errors import ModelError, RegistrationError, TrackerError
from deblur.inference.locating import bundled_model
from deblur.inference.model_folder import open_model, read_info
from deblur.models.checkpoint import network_from
from deblur.registry import versions
from deblur.registry.record import RunRecord
from deblur.registry.tracking import connect, ship
from deblur.registry.versions import BEATS_BUNDLED, fetch, local_champion
from deblur.serving.registry_client import fetch_over_http
from deblur.training.existing import register_checkpoint
from deblur.training.progress import Progress
from deblur.training.recipe import Result, run
from deblur.training.registering import ship_record
from deblur.training.settings import TrainSettings
from tests.quick_export import traced_anew
from tests.registry.aliases import aliases_of
from tests.registry.untraced import log_version

ROOT = Path(__file__).resolve().parents[2]

VAL_IMAGES = 6
"""Fewer than five cannot show that a gain is sure."""


@pytest.fixture(autouse=True)
def no_pt2(monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes seconds: only ``finished``, which is made before, is registered with it."""
    monkeypatch.setattr(versions, "_log_version", log_version)


def settings(pair_folder: Path, output: Path, **changes: object) -> TrainSettings:
    config = TrainSettings.of_preset("small").but(
        train_data=(str(pair_folder),),
        test_data=(str(pair_folder),),
        output_dir=output,
        doctor="off",  # the same pairs on both sides
        width=8,
        num_epochs=2,
        batch_size=4,
        patch_size=64,
        epoch_images=8,
        learning_rate=1e-3,  # small enough that the gain is sure after two epochs
        val_images=VAL_IMAGES,
        num_workers=0,
        tile_size=128,
        tile_overlap=32,
    )
    return config.but(**changes).resolved()


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("registry")
    (root / "mlruns").mkdir()
    return root


@pytest.fixture(autouse=True)
def own_project(registry: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One registry for this file: its tests read what the first run wrote."""
    monkeypatch.setattr(project, "root", lambda: registry)
    monkeypatch.setenv("HOME", str(registry))
    for name in ("MLFLOW_TRACKING_URI", "DEBLUR_MODEL"):
        monkeypatch.setenv(name, "")  # so that what a test leaves (mlflow sets its own) goes with the test
        monkeypatch.delenv(name)
    return registry


@pytest.fixture(scope="module")
def finished(registry: Path, pair_folder: Path) -> Result:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(project, "root", lambda: registry)
        patch.setenv("MLFLOW_TRACKING_URI", "")
        patch.delenv("MLFLOW_TRACKING_URI")
        return ran(settings(pair_folder, registry / "run", registered_model_name="tiny"))


def ran(config: TrainSettings, progress: Progress = Progress()) -> Result:
    """A run in this process, which is the main one."""
    result = run(config, progress=progress)
    assert result is not None
    return result


def test_the_run_is_tracked_in_sqlite_at_the_root(finished: Result, registry: Path) -> None:
    assert (registry / "mlflow.db").is_file()
    client = connect()
    tracked = client.get_run(finished.run_id or "")
    assert tracked.info.status == "FINISHED"
    assert str(registry / "mlruns") in tracked.info.artifact_uri
    for setting in ("batch_size", "learning_rate", "seed", "patch_size", "width", "residual", "parameters", "device"):
        assert setting in tracked.data.params
    assert {"git_commit", "git_dirty", "data_fingerprint", "annealed"} <= tracked.data.tags.keys()
    for metric in ("train_loss", "val_loss", "psnr", "ssim", "baseline_psnr", "lr", "grad_norm", "seconds"):
        history = client.get_metric_history(finished.run_id or "", metric)
        assert [point.step for point in history] == [1, 2], metric
    artifacts = [a.path for a in client.list_artifacts(finished.run_id or "", "checkpoints")]
    assert any("best_model_epoch_" in path for path in artifacts)
    images = [a.path for a in client.list_artifacts(finished.run_id or "", "images")]
    assert len([path for path in images if path.endswith(".png")]) == 9, (
        "three photos, before training and after two epochs, none twice"
    )


def test_a_quick_export_is_what_tracing_gives(finished: Result) -> None:
    exported = finished.record.model_folder
    assert onnx.load(exported / "model.onnx") == traced_anew(network_from(exported).eval())


def test_shipping_again_sends_nothing_twice(finished: Result) -> None:
    client = connect()
    before = client.get_metric_history(finished.run_id or "", "psnr")
    assert ship(finished.record) == finished.run_id
    assert len(client.get_metric_history(finished.run_id or "", "psnr")) == len(before)


def test_the_file_that_was_registered_was_scored(finished: Result) -> None:
    client, psnr_db = connect(), finished.scores.mean("psnr_db")
    if client.get_run(finished.run_id or "").data.tags["frozen"] == "true":
        assert psnr_db > finished.outcome.best_psnr_db
    else:
        assert psnr_db == pytest.approx(finished.outcome.best_psnr_db, abs=0.02)
    history = client.get_metric_history(finished.run_id or "", "verified_psnr")
    assert [point.value for point in history] == [psnr_db]


def test_the_version_carries_both_formats_and_any_size_fits(finished: Result) -> None:
    client = connect()
    version = client.get_model_version("tiny", finished.version or "")
    assert version.run_id == finished.run_id
    signature = mlflow.models.get_model_info(f"models:/tiny/{finished.version}").signature
    assert signature.inputs.inputs[0].shape == (-1, 3, -1, -1)
    network = network_from(finished.record.model_folder)
    loaded = mlflow.pytorch.load_model(f"models:/tiny/{finished.version}")
    for shape in ((1, 3, 64, 64), (3, 3, 96, 160)):
        tiles = torch.rand(shape)
        with torch.inference_mode():
            assert torch.abs(loaded(tiles) - network(tiles)).max() < 1e-4
    folder = Path(mlflow.artifacts.download_artifacts(f"models:/tiny/{finished.version}"))
    files = [p.name for p in folder.rglob("*") if p.is_file()]
    assert {"model.onnx", "model.json"} <= set(files)
    assert any(name.endswith(".pt2") for name in files)
    assert not [name for name in files if name.endswith((".pkl", ".pickle", ".pth"))]


def test_the_first_version_that_surely_beats_its_input_is_champion_and_later_ones_are_not(
    finished: Result, pair_folder: Path
) -> None:
    assert finished.scores.gain_db.above_zero, "two epochs from do-nothing are enough on these pairs"
    info = read_info(finished.record.model_folder)
    assert info.gain_db == finished.scores.gain_db
    assert info.scored_on == fingerprint(find_pairs(pair_folder))
    assert aliases_of("tiny", finished.version or "") == ["challenger", "champion"]
    checkpoint = finished.record.best_checkpoint
    assert checkpoint is not None
    version, scores = register_checkpoint(checkpoint, "tiny")
    assert scores.mean("psnr_db") == pytest.approx(finished.scores.mean("psnr_db"), abs=0.02), "frozen where it was"
    assert aliases_of("tiny", version) == ["challenger"]
    assert aliases_of("tiny", finished.version or "") == ["champion"]
    assert local_champion() is None, "nobody has compared it with the bundled model"
    bundled = bundled_model()
    assert bundled is not None
    connect().set_model_version_tag("tiny", finished.version or "", BEATS_BUNDLED, read_info(bundled).sha256)
    assert local_champion() == "models:/tiny@champion"


def test_a_version_is_fetched_and_restores(finished: Result, tmp_path: Path, pair_folder: Path) -> None:
    folder = fetch("models:/tiny@champion")
    info = read_info(folder)
    assert (info.version, info.run_id) == (finished.version, finished.run_id)
    assert fetch(f"models:/tiny/{finished.version}") == folder, "one copy in the cache"
    photo = shutil.copy(pair_folder / "blur" / "chelsea.png", tmp_path / "photo.png")
    assert main(["restore", str(photo)]) == 0, "the champion that has beaten the bundled model is the default"
    assert main(["restore", str(photo), str(tmp_path / "b.png"), "--engine", "torch"]) == 0
    from deblur.images import read

    a, b = (read(tmp_path / name).rgb.astype(int) for name in ("photo.deblurred.png", "b.png"))
    assert np.abs(a - b).max() <= 1


@pytest.mark.parametrize("uri", ["models:/nobody@champion", "models:/tiny/99", "models:/tiny@nobody", "models:/tiny"])
def test_what_is_not_in_the_registry_is_an_error_with_a_sentence(finished: Result, uri: str) -> None:
    with pytest.raises(ModelError, match="models:/"):
        fetch(uri)


def test_fine_tuning_starts_from_a_registered_version(finished: Result, pair_folder: Path, tmp_path: Path) -> None:
    config = settings(pair_folder, tmp_path / "tuned", init="models:/tiny@champion", num_epochs=1, learning_rate=1e-9)
    result = ran(config.but(width=32))  # the version's own architecture counts
    assert result.version is None
    assert result.outcome.best_psnr_db == pytest.approx(finished.scores.mean("psnr_db"), abs=0.01)
    assert result.record.run["settings"]["width"] == 8


def test_without_tracking_the_record_is_shipped_later(pair_folder: Path, tmp_path: Path) -> None:
    result = ran(settings(pair_folder, tmp_path / "off", tracking="off"))
    assert (result.run_id, result.version) == (None, None)
    assert not (tmp_path / "off" / "shipped.json").exists()
    run_id, version = ship_record(tmp_path / "off", "shipped")
    history = connect().get_metric_history(run_id, "psnr")
    recorded = result.record.epochs
    assert [(p.step, p.timestamp, p.value) for p in history] == [
        (line["epoch"], line["time_ms"], line["metrics"]["psnr"]) for line in recorded if "psnr" in line["metrics"]
    ]
    assert "challenger" in aliases_of("shipped", version or "")


def test_a_run_that_never_annealed_says_so_last(pair_folder: Path, tmp_path: Path) -> None:
    lines: list[str] = []
    config = settings(pair_folder, tmp_path / "o", learning_rate=0.5, num_epochs=40, patience=2)
    result = ran(config, progress=Progress(on_line=lines.append))
    assert lines[-1].startswith("never annealed: stopped at epoch")
    tracked = connect().get_run(result.run_id or "")
    assert tracked.data.tags["annealed"] == "false"


def test_training_without_tracking_works_where_mlflow_is_not_installed(pair_folder: Path, tmp_path: Path) -> None:
    program = (
        "import sys; sys.modules['mlflow'] = None\n"
        "from deblur.cli import main\n"
        "from tests.quick_export import quick_exports\n"
        "with quick_exports():\n"
        f"    sys.exit(main(['train', '--preset', 'small', '--train_data', {str(pair_folder)!r}, '--test_data', "
        f"{str(pair_folder)!r}, '--output_dir', {str(tmp_path / 'o')!r}, '--tracking', 'off', '--num_epochs', '1', "
        "'--width', '8', '--patch_size', '32', '--epoch_images', '8', '--val_images', '1', '--num_workers', '0', "
        "'--doctor', 'off']))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "o" / "model" / "model.json").is_file()


def test_a_dead_server_is_a_sentence_and_costs_no_fallback(
    finished: Result, pair_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    assert local_champion() is None
    lines: list[str] = []
    config = settings(pair_folder, tmp_path / "o", num_epochs=1, registered_model_name="later")
    with pytest.raises(RegistrationError, match="registers it later") as caught:
        run(config, progress=Progress(on_line=lines.append))
    assert caught.value.exit_code == 5
    assert [line for line in lines if line.startswith("not shipped yet, the run goes on")]
    assert f"'deblur ship {tmp_path / 'o'}' sends what is missing" in lines[-1]
    record = RunRecord(tmp_path / "o")
    assert record.run["status"] == "FINISHED"
    with pytest.raises(TrackerError):
        ship(record)
    # The tracker is back, the same command makes the registration, once.
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    result = ran(config)
    assert (result.outcome, result.version) == (None, "1"), "nothing was trained again"
    assert ran(config).version == "1"
    assert len(connect().search_model_versions("name='later'")) == 1


def test_a_file_that_scores_differently_is_not_registered(
    pair_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The exported weights are spoilt after training; the run must fail and say so."""
    from deblur.export import verified

    real = verified.export_model

    def spoilt(network: torch.nn.Module, *args: object, **kwargs: object) -> object:
        torch.nn.init.constant_(network.head.bias, 0.3)  # type: ignore[arg-type, union-attr]
        return real(network, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(verified, "export_model", spoilt)
    with pytest.raises(RegistrationError, match=r"apart"):
        run(settings(pair_folder, tmp_path / "bad", registered_model_name="spoilt", num_epochs=1))
    assert not connect().search_registered_models("name = 'spoilt'")
    record = json.loads((tmp_path / "bad" / "run.json").read_text())
    assert record["status"] == "FAILED"
    with pytest.raises(RegistrationError, match="never verified"):
        ship_record(tmp_path / "bad", "spoilt")


def test_a_model_that_was_altered_after_its_verification_is_not_registered(pair_folder: Path, tmp_path: Path) -> None:
    result = ran(settings(pair_folder, tmp_path / "o", tracking="off", num_epochs=1))
    file = result.record.model_folder / "model.onnx"
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 64
    file.write_bytes(data)
    with pytest.raises(ModelError, match="not the file that"):
        ship_record(tmp_path / "o", "altered")
    with pytest.raises(ModelError, match="not the file that"):
        network_from(result.record.model_folder)
    assert not connect().search_registered_models("name = 'altered'")


def test_the_record_goes_to_whatever_tracker_is_asked_for(
    pair_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = ran(settings(pair_folder, tmp_path / "o", num_epochs=1))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'other.db'}")
    run_id = ship(result.record)
    assert run_id != result.run_id
    assert connect().get_run(run_id).info.status == "FINISHED"
    (tmp_path / "o" / "shipped.json").write_text('{"epochs": ')
    assert ship(result.record) == run_id, "where it is not known how far it came, all is sent again, to the same run"
    assert len(connect().get_metric_history(run_id, "psnr")) == 1


def test_two_processes_do_not_send_the_same_record_at_once(finished: Result, monkeypatch: pytest.MonkeyPatch) -> None:
    from filelock import FileLock

    from deblur.registry import tracking

    monkeypatch.setattr(tracking, "LOCK_TIMEOUT_S", 0)
    with FileLock(finished.record.folder / tracking.SHIP_LOCK), pytest.raises(TrackerError, match="Another process"):
        ship(finished.record)


def test_what_init_named_is_not_needed_again(pair_folder: Path, tmp_path: Path, finished: Result) -> None:
    weights = Path(shutil.copytree(finished.record.model_folder, tmp_path / "weights"))
    config = settings(pair_folder, tmp_path / "o", init=str(weights), tracking="off", num_epochs=2, width=32)

    class Stop(Exception):
        pass

    def stop_after_one(line: str) -> None:
        if line.startswith("epoch 1/"):
            raise Stop

    with pytest.raises(Stop):
        run(config, progress=Progress(on_line=stop_after_one))
    shutil.rmtree(weights)
    lines: list[str] = []
    result = ran(config, progress=Progress(on_line=lines.append))
    assert lines[0].startswith("resumed after epoch 1")
    assert result.outcome is not None
    assert result.outcome.epoch == 2


def test_a_new_run_starts_from_the_weights_in_its_own_folder(pair_folder: Path, tmp_path: Path) -> None:
    first = settings(pair_folder, tmp_path / "o", tracking="off", num_epochs=1)
    before = ran(first).outcome
    after = ran(
        settings(
            pair_folder, tmp_path / "o", tracking="off", num_epochs=1, init=str(tmp_path / "o"), learning_rate=1e-9
        )
    )
    assert before is not None
    assert after.outcome is not None
    assert after.outcome.best_psnr_db == pytest.approx(before.best_psnr_db, abs=0.01)


@pytest.fixture
def server(registry: Path, finished: Result) -> Iterator[str]:
    """A real ``mlflow server`` over the same store."""
    port = free_port()
    command = [sys.executable, "-m", "mlflow", "server", "--workers", "1", "--port", str(port), "--host", "127.0.0.1"]
    command += ["--backend-store-uri", f"sqlite:///{registry / 'mlflow.db'}"]
    command += ["--default-artifact-root", (registry / "mlruns").as_uri()]
    with (registry / "server.log").open("w") as log:
        process = subprocess.Popen(command, cwd=registry, stdout=log, stderr=log)
        url = f"http://127.0.0.1:{port}"
        try:
            for _ in range(240):
                assert process.poll() is None, (registry / "server.log").read_text()
                try:
                    urllib.request.urlopen(f"{url}/health", timeout=5).close()
                    break
                except OSError:
                    time.sleep(0.25)
            yield url
        finally:
            process.terminate()
            process.wait(timeout=30)


def test_the_deployed_part_fetches_over_plain_http(server: str, finished: Result) -> None:
    folder = fetch_over_http("models:/tiny@champion", server)
    assert read_info(folder).version == finished.version
    open_model(folder)
    assert fetch_over_http(f"models:/tiny/{finished.version}", server) == folder, "a version is fetched once"
    (folder / "model.onnx").unlink()
    again = fetch_over_http("models:/tiny@champion", server)
    assert again != folder
    open_model(again)
    with pytest.raises(ModelError, match="404"):
        fetch_over_http("models:/nobody@champion", server)
    with pytest.raises(ModelError, match="cannot be reached"):
        fetch_over_http("models:/tiny@champion", f"http://127.0.0.1:{free_port()}")
    with pytest.raises(ModelError, match="MLFLOW_TRACKING_URI"):
        fetch_over_http("models:/tiny@champion")


def test_the_same_command_with_another_tracker_registers_there(
    pair_folder: Path, tmp_path: Path, finished: Result, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(shutil.copytree(finished.record.folder, tmp_path / "run"))
    monkeypatch.chdir(tmp_path)  # MLflow makes mlruns/ here
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'other.db'}")
    again = ran(settings(pair_folder, folder, registered_model_name="tiny"))
    assert (again.outcome, again.version) == (None, "1"), "nothing was trained again"
    assert again.run_id != finished.run_id
    assert aliases_of("tiny", "1") == ["challenger", "champion"]
