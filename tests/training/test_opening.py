"""What a training says before its first step."""

from pathlib import Path

from deblur.models import build, parameter_count
from deblur.training.recipe import Job, data_of, opening_lines
from deblur.training.settings import TrainSettings
from tests.training.tiny import tiny


def told(settings: TrainSettings) -> list[str]:
    return list(opening_lines(Job(settings, data_of(settings)), build(settings.network.architecture)))


def test_a_training_says_what_it_trains_on_what_and_where(pair_folder: Path, tmp_path: Path) -> None:
    settings = tiny(tmp_path / "o", str(pair_folder), "leaves", val_images=None, precision="f32", device="cpu")
    parameters = parameter_count(build(settings.network.architecture))
    (line,) = told(settings)
    assert line.startswith(
        f"training DeblurUNet ({parameters:,} parameters) on 6 pairs and dead leaves, validating on "
    )
    assert line.endswith(f", on the CPU in f32: 1 epoch of 2 steps, into {tmp_path / 'o'}")


def test_epochs_of_few_steps_that_are_all_validated_are_told(pair_folder: Path, tmp_path: Path) -> None:
    settings = tiny(tmp_path / "o", str(pair_folder), epoch_images=None, batch_size=4, num_epochs=200)
    first, second = told(settings)
    assert ": 200 epochs of 1 step, into" in first
    assert second == (
        "an epoch is 1 step of 4 crops, and a validation follows each: epoch_images 400 makes it 100 steps"
    )
    assert len(told(settings.but(eval_every=20))) == 1
    assert len(told(settings.but(epoch_images=40))) == 1
