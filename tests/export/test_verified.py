"""What a training exports: the network as it is or frozen, whichever restores the validation images better."""

from math import inf
from pathlib import Path

import pytest
import torch

from deblur.inference.model_folder import read_info
from deblur.models.fast_unet import FastUNet
from deblur.models.unet import DeblurUNet
from deblur.training import recipe
from deblur.training.config import TrainConfig
from deblur.training.data import data_of
from deblur.training.freezing import frozen_if_better
from deblur.training.recipe import run


def config(pairs: Path, output: Path, **settings: object) -> TrainConfig:
    """A plain network, crops of 32 px, tiles that are far larger."""
    small = {"width": 8, "patch_size": 32, "batch_size": 2, "epoch_images": 4, "num_epochs": 1, "tile_size": 128}
    rest = {"val_images": 2, "num_workers": 0, "tracking": "off", "doctor": "off", "output_dir": output}
    data = {"train_data": (str(pairs),), "test_data": (str(pairs),)}
    return TrainConfig(**(small | rest | data | settings)).resolved()  # type: ignore[arg-type]


def test_the_better_is_taken_and_told(pair_folder: Path, tmp_path: Path) -> None:
    settings, told = config(pair_folder, tmp_path), list[str]()
    network, fast = DeblurUNet(8).eval(), FastUNet(8).eval()
    rest = (data_of(settings), 1.0, settings.tiling(network), torch.device("cpu"), lambda: None, told.append)
    frozen, frozen_db = frozen_if_better(network, -inf, *rest)
    assert isinstance(frozen, DeblurUNet)
    assert frozen.frozen
    assert told[-1].endswith("exported frozen")
    assert frozen_if_better(network, frozen_db, *rest) == (network, frozen_db)
    assert told[-1].endswith("exported as trained")
    assert frozen_if_better(frozen, 20.0, *rest) == (frozen, 20.0)
    assert frozen_if_better(fast, 20.0, *rest) == (fast, 20.0)
    assert len(told) == 2


def test_a_stop_between_crops_is_obeyed(pair_folder: Path, tmp_path: Path) -> None:
    settings, network = config(pair_folder, tmp_path), DeblurUNet(8).eval()

    def stop() -> None:
        raise SystemExit(143)

    with pytest.raises(SystemExit):
        frozen_if_better(
            network, 0.0, data_of(settings), 1.0, settings.tiling(network), torch.device("cpu"), stop, lambda _: None
        )


@pytest.mark.usefixtures("quick_export")
def test_a_run_exports_it_and_goes_on_from_it(
    pair_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(recipe, "frozen_if_better", lambda network, _, *rest: frozen_if_better(network, -inf, *rest))
        assert run(config(pair_folder, tmp_path / "a")) is not None
    model = tmp_path / "a" / "model"
    assert read_info(model).architecture["frozen"] is True
    assert read_info(model).psnr_db is not None, "verified against what the frozen network scored in torch"

    tuned = run(config(pair_folder, tmp_path / "b", init=str(model), num_epochs=2))
    assert tuned is not None
    assert tuned.record.run["settings"]["frozen"] is True
    again = run(config(pair_folder, tmp_path / "b", init=str(model), num_epochs=2))
    assert again is not None
    assert again.record.run["status"] == "FINISHED"

    as_trained = run(config(pair_folder, tmp_path / "c", freeze="off"))
    assert as_trained is not None
    assert as_trained.outcome is not None
    assert as_trained.scores is not None
    assert as_trained.scores.mean("psnr_db") == pytest.approx(as_trained.outcome.best_psnr_db, abs=0.02)
    assert read_info(tmp_path / "c" / "model").architecture["frozen"] is False
