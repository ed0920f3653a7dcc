"""A budget by the clock: it is filled, recorded, and from there on as reproducible as any."""

from pathlib import Path

import pytest

from deblur.errors import SettingError
from deblur.registry.record import RunRecord
from deblur.training import recipe
from deblur.training.budget import Pace, epochs_within, measured
from deblur.training.progress import Progress
from deblur.training.recipe import run
from deblur.training.settings import TrainSettings
from tests.training.bits import bits_of, same_bits
from tests.training.tiny import tiny


@pytest.mark.parametrize("seconds", [30.0, 100.0, 1000.0, 50_000.0])
@pytest.mark.parametrize(("epoch_images", "epoch_s"), [(8, 0.5), (1000, 2.0), (1000, 9.0)])
def test_epochs_fill_the_time(seconds: float, epoch_images: int, epoch_s: float) -> None:
    pace = Pace(image_s=0.05, epoch_s=epoch_s)
    epochs, images = epochs_within(seconds, pace, epoch_images, 8)
    assert images % 8 == 0
    taken = epochs * (images * pace.image_s + pace.epoch_s) + pace.epoch_s
    assert 0 <= seconds - taken < epochs * 8 * pace.image_s + 1e-6, "what is left is less than a step an epoch"
    wished_s = epoch_images * pace.image_s + pace.epoch_s
    assert epochs == 1 or wished_s - 8 * pace.image_s < images * pace.image_s + pace.epoch_s < 1.5 * wished_s


def test_too_little_time_is_said_with_what_it_is_needed_for() -> None:
    with pytest.raises(SettingError, match=r"a validation takes 2\.00 .* Raise minutes"):
        epochs_within(200.0, Pace(0.1, 120.0), 100, 8)


def test_several_processes_are_refused(pair_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(SettingError, match="minutes is measured by one process"):
        settings_of(pair_folder, tmp_path, minutes=5.0)


def test_fewer_crops_than_a_batch_are_told_before_anything_is_measured(pair_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="4 crops, less than one batch of 8"):
        run(tiny(tmp_path, str(pair_folder), minutes=5.0, batch_size=8))


def settings_of(pairs: Path, output: Path, **changes: object) -> TrainSettings:
    network = {"network": "LightMsafn", "blocks": 1, "precision": "f32", "loss": ("l1",), "schedule": "onecycle"}
    crops = {"patch_size": ("32@0.5", "48"), "epoch_images": 40}
    return tiny(output, str(pairs), **(network | crops | changes))


def test_it_is_measured_once_recorded_and_reproducible(
    tmp_path: Path, pair_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def on_a_slower_machine(*how: object) -> Pace:
        """So that the test is over before its half minute."""
        pace = measured(*how)  # type: ignore[arg-type]
        return Pace(4 * pace.image_s, 4 * pace.epoch_s)

    monkeypatch.setattr(recipe, "measured", on_a_slower_machine)
    lines, seen = list[str](), [0]

    def stop(images: int) -> None:
        seen[0] += images
        if seen[0] == 20:
            raise SystemExit(143)

    by_clock = settings_of(pair_folder, tmp_path / "clock", minutes=0.5)
    with pytest.raises(SystemExit):
        run(by_clock, progress=Progress(on_images=stop, on_line=lines.append))
    recorded = RunRecord(tmp_path / "clock").run["settings"]
    numbers = {name: recorded[name] for name in ("num_epochs", "epoch_images")}
    assert recorded["minutes"] == 0.5
    assert any(line.endswith(f"{numbers['num_epochs']} epochs of {numbers['epoch_images']} crops") for line in lines)

    resumed = list[str]()
    run(by_clock, progress=Progress(on_line=resumed.append))
    assert not any("crops/s" in line for line in resumed), "not measured again"
    assert "resumed after epoch 0, step 10" in resumed
    assert len(RunRecord(tmp_path / "clock").epochs) >= numbers["num_epochs"]

    run(settings_of(pair_folder, tmp_path / "numbers", **numbers))
    assert same_bits(bits_of(tmp_path / "clock"), bits_of(tmp_path / "numbers"))

    seen[0] = 0
    other = settings_of(pair_folder, tmp_path / "clock", minutes=0.5, width=16)
    with pytest.raises(SystemExit):
        run(other, progress=Progress(on_images=stop, on_line=lines.append))
    assert sum("crops/s" in line for line in lines) == 2, "another network is measured anew"
