"""The loop: it learns, keeps the best, skips what is not a number, stops early and says what that means."""

import os
import shutil
import signal
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset

from deblur.data.crops import RunOrder, Sample, to_float
from deblur.data.loading import feed_of
from deblur.data.pair_crops import PairCrops
from deblur.data.pairs import PairPixels, find_pairs
from deblur.data.resident import Resident
from deblur.data.sources import mixture, open_sources
from deblur.errors import DataError, NonFiniteTraining, PhotoError
from deblur.evaluation.scores import EvaluationSet
from deblur.inference.restorer import Restorer
from deblur.inference.tiling import Tiling
from deblur.losses.objective import Objective
from deblur.models.checkpoint import load_checkpoint, network_of, read_state
from deblur.models.unet import DeblurUNet
from deblur.registry.record import RunRecord
from deblur.training.energy import EnergyMeter
from deblur.training.loop import Trainer
from deblur.training.optimization import Optimization
from deblur.training.progress import Progress
from deblur.training.state import Counters, Timetable, TrainingState
from deblur.training.stopping import StopRequest, stop_signals
from deblur.training.validation import Validation
from tests.training.bits import bits_of, same_bits

PUBLISHED_KEYS = {"epoch", "model_state_dict", "optimizer_state_dict", "psnr", "ssim"}


def trainer_of(
    record: RunRecord,
    crops: Dataset[Sample],
    pairs: list,
    images: int = 8,
    workers: int = 0,
    stop: StopRequest | None = None,
    progress: Progress = Progress(),
    held: bool = False,
    **changes: float,
) -> Trainer:
    torch.manual_seed(0)
    network = DeblurUNet(8, residual=True)
    order = RunOrder(images, 4)
    optimized = {name: changes.pop(name) for name in ("learning_rate", "clip_norm", "ema_decay") if name in changes}
    optimization = Optimization(**({"learning_rate": 2e-3} | optimized))  # type: ignore[arg-type]
    timetable = Timetable(**({"num_epochs": 3, "patience": 9} | changes))  # type: ignore[arg-type]
    objective, steps = Objective({"ms-ssim": 0.84, "charbonnier": 0.16}), timetable.num_epochs * order.steps
    state = TrainingState(network, objective, optimization, steps, torch.device("cpu"))
    validation = Validation(state, EvaluationSet(pairs), Tiling(128, 32, network.size_rule), record, progress)
    resident = Resident(crops, torch.device("cpu")) if held else None
    feed = feed_of(crops, order, accumulate=1, workers=workers, pin_memory=False, resident=resident)
    return Trainer(state, feed, validation, timetable, record, stop=stop or StopRequest(), progress=progress)


def short_run(folder: Path, crops: Dataset[Sample], pairs: list, **settings: float) -> tuple[Counters, RunRecord]:
    record = RunRecord.begin(folder, "test", {}, {})
    return trainer_of(record, crops, pairs, **settings).fit(), record  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, pair_folder: Path) -> tuple[Counters, RunRecord]:
    pairs = find_pairs(pair_folder)
    return short_run(tmp_path_factory.mktemp("run"), PairCrops(pairs, 64, 0), pairs[:2], images=24, num_epochs=5)


def test_every_epoch_is_recorded_with_the_input_beside_it(finished: tuple[Counters, RunRecord]) -> None:
    epochs = finished[1].epochs
    assert [line["epoch"] for line in epochs] == [1, 2, 3, 4, 5]
    wanted = {"train_loss", "val_loss", "psnr", "ssim", "baseline_psnr", "baseline_ssim", "lr", "grad_norm", "seconds"}
    for line in epochs:
        assert wanted <= line["metrics"].keys()
        assert all(np.isfinite(value) for value in line["metrics"].values())
    assert len({line["metrics"]["baseline_psnr"] for line in epochs}) == 1


def test_it_learns(finished: tuple[Counters, RunRecord]) -> None:
    losses = [line["metrics"]["train_loss"] for line in finished[1].epochs]
    assert min(losses[1:]) < losses[0]


def test_the_cosine_ends_with_the_last_epoch(finished: tuple[Counters, RunRecord]) -> None:
    rates = [line["metrics"]["lr"] for line in finished[1].epochs]
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] == pytest.approx(1e-6, rel=1e-3)
    assert rates[0] == pytest.approx(1e-6 + (2e-3 - 1e-6) * (1 + np.cos(np.pi / 5)) / 2, rel=1e-6)


def test_the_best_is_kept_under_the_published_name_and_keys(finished: tuple[Counters, RunRecord]) -> None:
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
    assert last.keys() >= PUBLISHED_KEYS | {"scheduler_state_dict", "torch_rng_state", "ema_state_dict"}


def test_panels_of_the_same_photos_over_epochs(finished: tuple[Counters, RunRecord]) -> None:
    panels = finished[1].panels()
    assert {(photo, epoch) for photo, epoch, _ in panels} == {
        (photo, epoch) for photo in ("astronaut.png", "camera.png") for epoch in range(6)
    }


def test_panels_of_photos_of_one_name_are_all_kept(tmp_path: Path, pair_folder: Path) -> None:
    pairs = [PairPixels("000000.png", *pair.load()) for pair in find_pairs(pair_folder)[:2]]
    record = RunRecord.begin(tmp_path, "test", {}, {})
    trainer_of(record, PairCrops(pairs, 64, 0), pairs).validation.panels_of_doing_nothing(lambda: None)
    assert len(record.panels()) == 2


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
    assert outcome.stopped_early
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
    assert not outcome.stopped_early


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


class Poisoned(Dataset[Sample]):
    """Crops of which some are not numbers."""

    def __init__(self, crops: PairCrops, bad: set[int]) -> None:
        self.crops, self.bad, self.asked = crops, bad, list[int]()

    def __getitem__(self, key: int) -> Sample:
        self.asked.append(key)
        blurry, sharp = (to_float(image) for image in self.crops[key][:2])
        return Sample(blurry * float("nan") if key in self.bad else blurry, sharp, key)

    def name_of(self, key: int) -> str:
        return self.crops.name_of(key)


def finite_states(folder: Path) -> bool:
    """Whether every state and best checkpoint in ``folder`` holds numbers only."""
    files = list(folder.glob("*.pth"))
    tensors = [t for file in files for part in ("model_state_dict", "ema_state_dict") for t in tensors_in(file, part)]
    return bool(files) and all(bool(torch.isfinite(tensor).all()) for tensor in tensors)


def tensors_in(file: Path, part: str) -> list[torch.Tensor]:
    return list(load_checkpoint(file).get(part, {}).values())


def test_steps_that_are_not_numbers_change_nothing_and_are_named(tmp_path: Path, pair_folder: Path) -> None:
    pairs = find_pairs(pair_folder)
    crops = PairCrops(pairs, 32, 0)
    outcome, record = short_run(tmp_path, Poisoned(crops, {5, 14}), pairs[:1], images=8, num_epochs=2)
    assert outcome.skipped_steps == 2
    assert record.epochs[-1]["metrics"]["skipped_steps"] == 2
    skipped = [event for event in record.events if event["event"] == "skipped_step"]
    assert [event["step"] for event in skipped] == [2, 4]
    assert skipped[0]["samples"] == [crops.name_of(key) for key in range(4, 8)]
    assert skipped[0]["loss"] == "nan"
    assert finite_states(tmp_path)


def test_too_many_of_them_take_the_run_back_and_on_with_other_samples(tmp_path: Path, pair_folder: Path) -> None:
    pairs = find_pairs(pair_folder)
    images, epochs = 40, 2
    crops = Poisoned(PairCrops(pairs, 32, 0), set(range(8, 60)))
    outcome, record = short_run(tmp_path, crops, pairs[:1], images=images, num_epochs=epochs, nonfinite_limit=3)
    assert (outcome.epoch, outcome.rollbacks) == (2, 1)
    assert outcome.skipped_steps == 4, "three allowed, the fourth went back"
    (back,) = [event for event in record.events if event["event"] == "rolled_back"]
    assert (back["from_step"], back["to_step"]) == (6, 0), "nothing later was saved"
    after = crops.asked[6 * 4 :]
    assert min(after) == images * epochs, "samples that were not seen before"
    assert len(record.epochs) == 2
    assert finite_states(tmp_path)


def test_the_second_time_the_run_stops(tmp_path: Path, pair_folder: Path) -> None:
    pairs = find_pairs(pair_folder)
    everything = Poisoned(PairCrops(pairs, 32, 0), set(range(4, 10_000)))
    with pytest.raises(NonFiniteTraining, match="learning_rate") as caught:
        short_run(tmp_path, everything, pairs[:1], images=4 * 10, num_epochs=1, nonfinite_limit=3)
    assert caught.value.exit_code == 3
    assert [event["event"] for event in RunRecord(tmp_path).events].count("rolled_back") == 1
    assert finite_states(tmp_path)


@pytest.mark.parametrize("at_step", [3, 6])
def test_weights_that_stop_being_numbers_are_never_saved(tmp_path: Path, pair_folder: Path, at_step: int) -> None:
    """Spoilt in mid-epoch (the next steps show it) and by an epoch's last step (the validation shows it)."""
    pairs = find_pairs(pair_folder)
    record = RunRecord.begin(tmp_path, "test", {}, {})
    crops = PairCrops(pairs, 32, 0)
    trainer = trainer_of(record, crops, pairs[:1], images=24, num_epochs=2, nonfinite_limit=1, save_minutes=0)
    spoilt = []

    def spoil(images: int) -> None:
        if trainer.state.counters.step == at_step and not spoilt:
            spoilt.append(at_step)
            for network in (trainer.state.network, trainer.state.served):
                network.head.weight.data.fill_(float("nan"))

    trainer.progress = Progress(on_images=spoil)
    outcome = trainer.fit()
    assert spoilt
    assert (outcome.epoch, outcome.rollbacks) == (2, 1)
    assert [line["epoch"] for line in record.epochs] == [1, 2]
    assert finite_states(tmp_path)


def test_the_average_is_what_is_validated_and_kept(tmp_path: Path, pair_folder: Path) -> None:
    pairs = find_pairs(pair_folder)
    record = RunRecord.begin(tmp_path, "test", {}, {})
    trainer = trainer_of(record, PairCrops(pairs, 32, 0), pairs[:1], num_epochs=1)
    trainer.fit()
    assert not torch.equal(trainer.state.network.head.weight, trainer.state.served.head.weight)
    assert record.best_checkpoint is not None
    kept = network_of(load_checkpoint(record.best_checkpoint))
    assert torch.equal(kept.head.weight, trainer.state.served.head.weight)
    assert torch.equal(network_of(load_checkpoint(tmp_path / "last.pth")).head.weight, kept.head.weight)


def test_without_decay_the_average_is_the_weights(tmp_path: Path, pair_folder: Path) -> None:
    pairs = find_pairs(pair_folder)
    record = RunRecord.begin(tmp_path, "test", {}, {})
    trainer = trainer_of(record, PairCrops(pairs, 32, 0), pairs[:1], num_epochs=2, ema_decay=0.0)
    trainer.fit()
    weights = zip(trainer.state.network.parameters(), trainer.state.served.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in weights)


@pytest.mark.parametrize(("workers", "held"), [(0, False), (2, False), (2, True)])
def test_a_run_that_was_stopped_goes_on_to_the_same_bits(
    tmp_path: Path, pair_folder: Path, photo_folder: Path, workers: int, held: bool
) -> None:
    """Asked to stop in the middle of an epoch and in the middle of a validation, and resumed each time. Held images
    are pairs, and photos that the device blurs."""
    pairs = find_pairs(pair_folder)
    crops: Dataset[Sample] = PairCrops(pairs, 32, 0)
    if held:
        crops = mixture(open_sources([str(pair_folder), f"photos:{photo_folder}"]), 32, 1, on_device=True)
    _, whole = short_run(tmp_path / "whole", crops, pairs[:2], images=16, patience=1, held=held)
    record = RunRecord.begin(tmp_path / "parts", "test", {}, {})
    for stop_at in ("step 2", "validation", "step 9", None):
        stop = StopRequest()
        trainer = trainer_of(record, crops, pairs[:2], images=16, workers=workers, stop=stop, patience=1, held=held)
        if (record.folder / "last.json").exists():
            trainer.state.load_state_dict(load_checkpoint(read_state(record.folder).data))
        stop_there(trainer, stop, stop_at)
        if stop_at:
            with pytest.raises(SystemExit) as caught:
                trainer.fit()
            assert caught.value.code == 128 + 15
        else:
            outcome = trainer.fit()
    assert same_bits(bits_of(whole.folder), bits_of(record.folder))
    assert [line["epoch"] for line in record.epochs] == [line["epoch"] for line in whole.epochs]
    for a, b in zip(whole.epochs, record.epochs, strict=True):
        for key in ("train_loss", "grad_norm", "lr", "psnr", "ssim", "val_loss"):
            assert a["metrics"][key] == b["metrics"][key], key
    assert outcome.best_epoch > 0


def test_time_and_energy_are_those_of_the_whole_run(tmp_path: Path, pair_folder: Path) -> None:
    """Every step takes 2 J of a counter as Linux has it; the run is stopped after three of eight and goes on."""
    pairs = find_pairs(pair_folder)
    record = RunRecord.begin(tmp_path / "run", "test", {}, {})
    package = tmp_path / "intel-rapl:0"
    package.mkdir()
    for file, text in (("name", "package-0"), ("energy_uj", "0"), ("max_energy_range_uj", "5000000")):
        (package / file).write_text(text)
    for last in (3, 8):
        stop = StopRequest()
        trainer = trainer_of(record, PairCrops(pairs, 32, 0), pairs[:1], images=16, stop=stop, num_epochs=2)
        trainer.energy = EnergyMeter(torch.device("cpu"), tmp_path)
        if last == 8:
            trainer.state.load_state_dict(load_checkpoint(read_state(record.folder).data))
            assert trainer.state.counters.joules == 6

        def on_step(images: int, trainer: Trainer = trainer, stop: StopRequest = stop, last: int = last) -> None:
            if images == 4:
                taken = int((package / "energy_uj").read_text()) + 2_000_000
                (package / "energy_uj").write_text(str(taken % 5_000_000))
                trainer._save()  # a look in time
                if trainer.state.counters.step == last == 3:
                    stop.signal = 15

        trainer.progress = Progress(on_images=on_step)
        if last == 3:
            with pytest.raises(SystemExit):
                trainer.fit()
        else:
            trainer.fit()
    metrics = [line["metrics"] for line in record.epochs]
    assert [each["train_energy_kj"] for each in metrics] == pytest.approx([0.008, 0.016])
    assert record.facts["energy_kj"] == pytest.approx(0.016)
    assert record.facts["seconds"] == pytest.approx(sum(each["seconds"] for each in metrics))
    earlier = {key: value for key, value in asdict(Counters()).items() if key not in ("seconds", "joules")}
    assert Counters.of(earlier).seconds is None, "what a version before did not measure is not known"


def stop_there(trainer: Trainer, stop: StopRequest, place: str | None) -> None:
    def on_images(images: int) -> None:
        if place == f"step {trainer.state.counters.step}":
            stop.signal = 15

    trainer.progress = Progress(on_images=on_images)
    if place == "validation":
        real = trainer.validation

        class Stopped(Validation):
            @property
            def restorer(self) -> Restorer:
                def stopping(tiles: np.ndarray) -> np.ndarray:
                    stop.signal = 15
                    return real.restorer.engine(tiles)

                return Restorer(stopping, self.tiling)

        trainer.validation = Stopped(real.state, real.images, real.tiling, real.record)


def test_a_broken_image_ends_the_run_by_name_and_loses_nothing(tmp_path: Path, pair_folder: Path) -> None:
    copy = Path(shutil.copytree(pair_folder, tmp_path / "pairs"))
    pairs = find_pairs(copy)
    crops = PairCrops(pairs, 32, 0)
    broken = copy / "blur" / crops.name_of(5)
    broken.write_bytes(broken.read_bytes()[:-3000])
    record = RunRecord.begin(tmp_path / "run", "test", {}, {})
    with pytest.raises(PhotoError, match=broken.name):
        trainer_of(record, crops, pairs[:1], images=8).fit()
    assert read_state(record.folder).step == 1, "the step before it is saved"
    broken.unlink()
    with pytest.raises(DataError, match=rf"{broken.name} cannot be read \(No such file"):
        trainer_of(record, crops, pairs[:1], images=8).fit()


def test_after_going_back_the_whole_allowance_is_there_again(tmp_path: Path, pair_folder: Path) -> None:
    """However often states were saved on the way, and so whatever count the last one holds."""
    pairs = find_pairs(pair_folder)
    images, epochs = 40, 2
    bad = set(range(8, 60)) | {images * epochs + 1, images * epochs + 9}
    crops = Poisoned(PairCrops(pairs, 32, 0), bad)
    settings = {"images": images, "num_epochs": epochs, "nonfinite_limit": 3, "save_minutes": 0}
    outcome, _ = short_run(tmp_path, crops, pairs[:1], **settings)
    assert (outcome.epoch, outcome.rollbacks) == (2, 1)


def test_no_epoch_is_recorded_that_going_back_makes_unhappen(tmp_path: Path, pair_folder: Path) -> None:
    pairs = find_pairs(pair_folder)
    crops = Poisoned(PairCrops(pairs, 32, 0), set(range(16, 32)))
    settings = {"images": 16, "num_epochs": 4, "nonfinite_limit": 1, "eval_every": 4}
    outcome, record = short_run(tmp_path, crops, pairs[:1], **settings)
    assert (outcome.epoch, outcome.rollbacks) == (4, 1)
    assert [line["epoch"] for line in record.epochs] == [1, 2, 3, 4]
    first, _ = short_run(tmp_path / "first", PairCrops(pairs, 32, 0), pairs[:1], **(settings | {"num_epochs": 1}))
    assert first.epoch == 1
    before = RunRecord(tmp_path / "first").epochs[0]["metrics"]["train_loss"]
    assert record.epochs[0]["metrics"]["train_loss"] != before, "these are the figures of the samples after going back"


def test_a_best_that_was_lost_after_the_last_epoch_is_made_again(tmp_path: Path, pair_folder: Path) -> None:
    pairs = find_pairs(pair_folder)
    crops = PairCrops(pairs, 32, 0)
    _, record = short_run(tmp_path, crops, pairs[:1], num_epochs=2)
    assert record.best_checkpoint is not None
    record.best_checkpoint.unlink()
    trainer = trainer_of(record, crops, pairs[:1], num_epochs=2)
    trainer.state.load_state_dict(load_checkpoint(read_state(tmp_path).data))
    trainer.state.counters.best = None
    outcome = trainer.fit()
    assert outcome.best_epoch == 2
    assert torch.equal(
        network_of(load_checkpoint(tmp_path / outcome.best.file)).head.weight,  # type: ignore[union-attr]
        trainer.state.served.head.weight,
    )


class Stuck(Poisoned):
    """A set whose disk hangs at sample 12, where a signal comes."""

    def __getitem__(self, key: int) -> Sample:
        if key == 12:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(60)
        return super().__getitem__(key)


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_a_signal_is_obeyed_while_waiting_for_data(tmp_path: Path, pair_folder: Path) -> None:
    pairs = find_pairs(pair_folder)
    record = RunRecord.begin(tmp_path, "test", {}, {})
    started = time.monotonic()
    with stop_signals() as stop, pytest.raises(SystemExit) as caught:
        trainer_of(record, Stuck(PairCrops(pairs, 32, 0), set()), pairs[:1], images=24, stop=stop).fit()
    assert caught.value.code == 128 + signal.SIGTERM
    assert time.monotonic() - started < 20
    assert read_state(tmp_path).step == 3


def test_a_black_pair_decides_nothing_and_is_told(pair_folder: Path, tmp_path: Path) -> None:
    pairs = find_pairs(pair_folder)[:2]
    black = PairPixels("black", *[np.zeros((64, 64, 3), np.uint8)] * 2)
    lines, metrics = list[str](), list[dict[str, float]]()
    for number, images in enumerate((pairs, [black, *pairs])):
        record = RunRecord.begin(tmp_path / str(number), "test", {}, {})
        trainer = trainer_of(record, PairCrops(pairs, 32, 0), images, num_epochs=1)
        trainer.progress = Progress(on_line=lines.append)
        trainer.fit()
        metrics.append({name: value for name, value in record.epochs[0]["metrics"].items() if name != "seconds"})
        assert record.best_checkpoint is not None
    assert metrics[1].pop("left_out_pairs") == 1
    same = [name for name in metrics[0] if name.startswith(("val", "psnr", "ssim", "baseline"))]
    assert {name: metrics[1][name] for name in same} == {name: metrics[0][name] for name in same}
    assert "left out" not in lines[0]
    assert "left out: 1 (nothing to gain)" in lines[1]
