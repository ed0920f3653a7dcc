"""The loop: it learns, keeps the best, skips what is not a number, stops early and says what that means."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from deblur.data.crops import RunOrder
from deblur.data.pairs import PairCrops, find_pairs
from deblur.errors import DataError, NonFiniteTraining
from deblur.evaluation.scores import Benchmark
from deblur.inference.tiling import Tiling
from deblur.models.unet import DeblurUNet
from deblur.registry.record import RunRecord
from deblur.training.checkpoint import load_checkpoint
from deblur.training.loop import SKIPPED_STEPS_LIMIT, Outcome, Schedule, fit

PUBLISHED_KEYS = {"epoch", "model_state_dict", "optimizer_state_dict", "psnr", "ssim"}


def short_run(
    folder: Path,
    crops: Dataset[tuple[Tensor, Tensor]],
    pairs: list,
    images: int = 8,
    workers: int = 0,
    **schedule: float,
) -> tuple[Outcome, RunRecord]:
    torch.manual_seed(0)
    network = DeblurUNet(8, residual=True)
    order = RunOrder(images)
    record = RunRecord.begin(folder, "test", {}, {})
    settings = {"num_epochs": 3, "learning_rate": 2e-3, "weight_decay": 1e-4, "clip_norm": 1.0}
    plan = Schedule(**(settings | {"patience": 9, "eval_every": 1} | schedule))  # type: ignore[arg-type]
    outcome = fit(
        network,
        DataLoader(crops, batch_size=4, sampler=order, num_workers=workers),
        order,
        Benchmark(pairs),
        Tiling(128, 32, network.size_rule),
        plan,
        record,
        torch.device("cpu"),
    )
    return outcome, record


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, pair_folder: Path) -> tuple[Outcome, RunRecord]:
    pairs = find_pairs(pair_folder)
    return short_run(tmp_path_factory.mktemp("run"), PairCrops(pairs, 64, 0), pairs[:2], images=24, num_epochs=5)


def test_every_epoch_is_recorded_with_the_input_beside_it(finished: tuple[Outcome, RunRecord]) -> None:
    epochs = finished[1].epochs
    assert [line["epoch"] for line in epochs] == [1, 2, 3, 4, 5]
    wanted = {"train_loss", "val_loss", "psnr", "ssim", "baseline_psnr", "baseline_ssim", "lr", "grad_norm", "seconds"}
    for line in epochs:
        assert wanted <= line["metrics"].keys()
        assert all(np.isfinite(value) for value in line["metrics"].values())
    assert len({line["metrics"]["baseline_psnr"] for line in epochs}) == 1


def test_it_learns(finished: tuple[Outcome, RunRecord]) -> None:
    losses = [line["metrics"]["train_loss"] for line in finished[1].epochs]
    assert min(losses[1:]) < losses[0]


def test_the_cosine_ends_with_the_last_epoch(finished: tuple[Outcome, RunRecord]) -> None:
    rates = [line["metrics"]["lr"] for line in finished[1].epochs]
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] == pytest.approx(1e-6, rel=1e-3)
    assert rates[0] == pytest.approx(1e-6 + (2e-3 - 1e-6) * (1 + np.cos(np.pi / 5)) / 2, rel=1e-6)


def test_the_best_is_kept_under_the_published_name_and_keys(finished: tuple[Outcome, RunRecord]) -> None:
    outcome, record = finished
    psnrs = [line["metrics"]["psnr"] for line in record.epochs]
    assert outcome.best_psnr_db == max(psnrs)
    assert outcome.best_epoch == 1 + psnrs.index(max(psnrs))
    assert not list(record.folder.glob("*.part"))
    (best,) = record.folder.glob("best_model_*.pth")
    assert best.name == f"best_model_epoch_{outcome.best_epoch}_psnr_{max(psnrs):.2f}.pth"
    state = load_checkpoint(best)
    assert state.keys() >= PUBLISHED_KEYS
    assert state["psnr"] == max(psnrs)
    last = load_checkpoint(record.folder / "last.pth")
    assert last["epoch"] == 5
    assert last.keys() >= PUBLISHED_KEYS | {"scheduler_state_dict", "torch_rng_state", "best_psnr"}


def test_panels_of_the_same_photos_over_epochs(finished: tuple[Outcome, RunRecord]) -> None:
    panels = finished[1].panels()
    assert {(photo, epoch) for photo, epoch, _ in panels} == {
        (photo, epoch) for photo in ("astronaut.png", "camera.png") for epoch in range(6)
    }


def test_gradients_are_logged_before_clipping(tmp_path: Path, pair_folder: Path) -> None:
    pairs = find_pairs(pair_folder)
    norms = []
    for clip_norm in (1.0, 1e-9):
        _, record = short_run(
            tmp_path / str(clip_norm), PairCrops(pairs, 32, 0), pairs[:1], images=4, num_epochs=1, clip_norm=clip_norm
        )
        norms.append(record.epochs[0]["metrics"]["grad_norm"])
    assert norms[0] == norms[1] > 1e-6


def test_early_stopping_says_that_it_never_annealed(tmp_path: Path, pair_folder: Path) -> None:
    pairs = find_pairs(pair_folder)
    outcome, record = short_run(
        tmp_path, PairCrops(pairs, 32, 0), pairs[:1], images=4, num_epochs=40, learning_rate=0.5, patience=2
    )
    assert not outcome.annealed
    assert outcome.epoch == outcome.best_epoch + 2 == len(record.epochs) < 40


def test_validation_every_few_epochs_and_after_the_last(tmp_path: Path, pair_folder: Path) -> None:
    pairs = find_pairs(pair_folder)
    _, record = short_run(tmp_path, PairCrops(pairs, 32, 0), pairs[:1], images=4, num_epochs=5, eval_every=2)
    assert ["psnr" in line["metrics"] for line in record.epochs] == [False, True, False, True, True]


def test_patience_counts_only_where_it_was_looked(tmp_path: Path, pair_folder: Path) -> None:
    pairs = find_pairs(pair_folder)
    outcome, record = short_run(
        tmp_path, PairCrops(pairs, 32, 0), pairs[:1], images=4, num_epochs=4, eval_every=4, patience=2
    )
    assert len(record.epochs) == 4
    assert record.best_checkpoint is not None
    assert outcome.annealed


def test_a_checkpoint_that_somebody_put_there_is_never_deleted(tmp_path: Path, pair_folder: Path) -> None:
    pairs = find_pairs(pair_folder)
    (tmp_path / "best_model_epoch_103_psnr_26.80.pth").write_bytes(b"precious")
    short_run(tmp_path, PairCrops(pairs, 32, 0), pairs[:1], images=4, num_epochs=3)
    (kept,) = tmp_path.rglob("best_model_epoch_103_psnr_26.80.pth")
    assert kept.read_bytes() == b"precious"


def test_an_error_in_a_loading_process_comes_out_as_a_sentence(tmp_path: Path, pair_folder: Path) -> None:
    pairs = find_pairs(pair_folder)
    with pytest.raises(DataError) as caught:
        short_run(tmp_path, PairCrops(pairs, 512, 0), pairs[:1], images=4, num_epochs=1, workers=1)
    assert "smaller than the crop" in str(caught.value)
    assert "\n" not in str(caught.value)


class Poisoned(Dataset[tuple[Tensor, Tensor]]):
    """Crops of which some are not numbers."""

    def __init__(self, crops: PairCrops, bad: set[int]) -> None:
        self.crops, self.bad = crops, bad

    def __getitem__(self, key: int) -> tuple[Tensor, Tensor]:
        blurry, sharp = self.crops[key]
        return (blurry * float("nan"), sharp) if key in self.bad else (blurry, sharp)


def test_steps_that_are_not_numbers_change_nothing_and_are_counted(tmp_path: Path, pair_folder: Path) -> None:
    pairs = find_pairs(pair_folder)
    crops = PairCrops(pairs, 32, 0)
    outcome, record = short_run(tmp_path, Poisoned(crops, {5, 14}), pairs[:1], images=8, num_epochs=2)
    assert outcome.skipped_steps == 2
    assert record.epochs[-1]["metrics"]["skipped_steps"] == 2
    state = load_checkpoint(record.folder / "last.pth")
    assert all(torch.isfinite(tensor).all() for tensor in state["model_state_dict"].values())


def test_too_many_of_them_stop_the_run(tmp_path: Path, pair_folder: Path) -> None:
    pairs = find_pairs(pair_folder)
    everything = Poisoned(PairCrops(pairs, 32, 0), set(range(4, 10_000)))
    with pytest.raises(NonFiniteTraining, match="learning_rate"):
        short_run(tmp_path, everything, pairs[:1], images=4 * (SKIPPED_STEPS_LIMIT + 3), num_epochs=1)
