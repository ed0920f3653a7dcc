"""Two processes on the CPU train as one: the same steps, the same figures, and one of them writes."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from deblur.data.crops import RunOrder
from deblur.data.pair_crops import PairCrops
from deblur.data.pairs import find_pairs
from deblur.errors import SettingError
from deblur.models.checkpoint import read_state
from deblur.registry.record import RunRecord
from deblur.training.processes import is_first
from deblur.training.settings import TrainSettings
from tests.training.bits import bits_of, same_bits

ROOT = Path(__file__).resolve().parents[2]
FIRST_EPOCH, LATER = 1e-5, 1e-3
"""Largest relative difference of loss and gradient norm in the first epoch, and of the loss later: sums are made in
another order, and Adam, whose first steps are all of one size, makes much of the last bit of a small gradient."""
PSNR_DB = 0.005


def test_the_shares_of_a_step_are_disjoint_and_whole() -> None:
    orders = [RunOrder(26, 8, rank, 4) for rank in range(4)]
    for order in orders:
        order.start(2, 1)
    shares = [list(order) for order in orders]
    assert [len(order) for order in orders] == [4, 4, 4, 4]
    for step, first in enumerate((2 * 26 + 8, 2 * 26 + 16)):
        keys = [key for share in shares for key in share[2 * step : 2 * step + 2]]
        assert sorted(keys) == list(range(first, first + 8)) == list(orders[0].keys_of(step + 1))


def test_who_is_first_is_known_before_they_join(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RANK", raising=False)
    assert is_first()
    monkeypatch.setenv("RANK", "0")
    assert is_first()
    monkeypatch.setenv("RANK", "3")
    assert not is_first()


ONE_THREAD = {"OMP_NUM_THREADS": "1"}


def command_of(pairs: Path, output: Path, processes: int, *more: str) -> list[str]:
    command = [sys.executable, "-m", "torch.distributed.run", f"--nproc-per-node={processes}", "--master-port=0"]
    command += ["--nnodes=1", "--rdzv-backend=c10d", "--rdzv-endpoint=127.0.0.1:0"]
    if processes == 1:
        command = [sys.executable]
    command += ["-m", "tests.training.process", "--preset", "small", "--width", "8", "--tracking", "off"]
    command += ["--train_data", str(pairs), "--test_data", str(pairs), "--output_dir", str(output)]
    command += ["--patch_size", "32", "--epoch_images", "24", "--val_images", "1", "--num_workers", "0"]
    command += ["--doctor", "off"]
    command += ["--batch_size", "8", "--num_epochs", "3", "--precision", "f32", "--learning_rate", "0.001", *more]
    return command


def train(pairs: Path, output: Path, processes: int, *more: str) -> subprocess.CompletedProcess[str]:
    command = command_of(pairs, output, processes, *more)
    return subprocess.run(
        command, capture_output=True, text=True, check=False, env=os.environ | ONE_THREAD, timeout=300, cwd=ROOT
    )


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory, pair_folder: Path) -> Path:
    folder = tmp_path_factory.mktemp("alone")
    done = train(pair_folder, folder, 1)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory, pair_folder: Path) -> tuple[Path, str]:
    folder = tmp_path_factory.mktemp("together")
    done = train(pair_folder, folder, 2, "--accumulate", "2")
    assert done.returncode == 0, done.stderr
    return folder, done.stdout


def test_two_processes_reach_what_one_reaches(alone: Path, together: tuple[Path, str]) -> None:
    for a, b in zip(RunRecord(alone).epochs, RunRecord(together[0]).epochs, strict=True):
        assert a["epoch"] == b["epoch"]
        if a["epoch"] == 1:
            for key in ("train_loss", "grad_norm"):
                assert b["metrics"][key] == pytest.approx(a["metrics"][key], rel=FIRST_EPOCH), key
        if "train_loss" in a["metrics"]:
            assert b["metrics"]["train_loss"] == pytest.approx(a["metrics"]["train_loss"], rel=LATER)
            assert b["metrics"]["lr"] == a["metrics"]["lr"]
            assert b["metrics"]["psnr"] == pytest.approx(a["metrics"]["psnr"], abs=PSNR_DB)


def test_one_process_writes_and_speaks(together: tuple[Path, str]) -> None:
    folder, said = together
    assert said.count("epoch 1/3") == said.count("best: ") == 1
    record = RunRecord(folder)
    assert record.run["tags"]["processes"] == "2"
    assert [line["epoch"] for line in record.epochs if "train_loss" in line["metrics"]] == [1, 2, 3]
    assert (folder / "model" / "model.json").is_file()


@pytest.mark.skipif(sys.platform != "linux", reason="/proc")
def test_no_thread_of_the_group_outlives_it(together: tuple[Path, str]) -> None:
    """One that asks for Python's lock while Python ends would abort the process."""
    assert together[1].count("thread: ") >= 2
    assert "gloo" not in together[1]


def test_two_processes_go_on_to_the_same_bits(together: tuple[Path, str], pair_folder: Path, tmp_path: Path) -> None:
    """From the state before the last: as after a kill in the third epoch."""
    folder = Path(shutil.copytree(together[0], tmp_path / "o"))
    (folder / "last.pth").unlink()
    run = RunRecord(folder).run
    (folder / "run.json").write_text(json.dumps(run | {"status": "RUNNING"}))
    again = train(pair_folder, folder, 2, "--accumulate", "2")
    assert again.returncode == 0, again.stderr
    assert "resumed after epoch 2, step 6" in again.stdout
    assert same_bits(bits_of(folder), bits_of(together[0]))


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_a_signal_to_one_process_stops_all_with_the_state_saved(pair_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "o"
    process = subprocess.Popen(
        command_of(pair_folder, folder, 2, "--num_epochs", "500"), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, env=os.environ | ONE_THREAD, cwd=ROOT,
    )  # fmt: skip
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("epoch 2/"):
            break
    process.send_signal(signal.SIGTERM)  # torchrun passes it on to both
    process.communicate(timeout=60)
    assert process.returncode != 0
    assert RunRecord(folder).run["status"] == "KILLED"
    assert read_state(folder).step >= 6


def test_a_broken_image_in_one_process_ends_both_and_loses_no_step(pair_folder: Path, tmp_path: Path) -> None:
    """Of two samples a step the second process takes the odd ones; the pair of sample 5 comes in no sample before."""
    pairs = Path(shutil.copytree(pair_folder, tmp_path / "pairs"))
    broken = pairs / "blur" / PairCrops(find_pairs(pairs), 32, 0).name_of(5)
    broken.write_bytes(broken.read_bytes()[:1500])
    done = train(pairs, tmp_path / "o", 2, "--batch_size", "2", "--test_data", str(pair_folder))
    assert done.returncode != 0
    error = done.stderr.replace("\n", " ")
    assert broken.name in error
    assert "Another process met a broken image" in error
    assert "Connection closed by peer" not in error
    assert "gloo" not in done.stdout, "no thread of the group outlives it"
    assert RunRecord(tmp_path / "o").run["status"] == "FAILED"
    assert read_state(tmp_path / "o").step == 2


def test_a_setting_that_does_not_divide_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(SettingError, match="batch_size is 7; it must divide into 1 micro-batches for each of 2 pro"):
        TrainSettings().but(batch_size=7).resolved()
