"""What is exported: the network as it is or frozen, whichever restores the validation images better."""

from math import inf
from pathlib import Path

import pytest
import torch
from torch import Tensor

from deblur.data.pairs import find_pairs
from deblur.errors import SettingError
from deblur.evaluation.scores import EvaluationSet
from deblur.export import verified
from deblur.export.verified import Exported, export_verified
from deblur.inference.model_folder import read_info
from deblur.inference.tiling import Tiling
from deblur.models.fast_unet import FastUNet
from deblur.models.network import Network
from deblur.models.unet import DeblurUNet
from deblur.training.recipe import run
from deblur.training.settings import TrainSettings
from tests.training.tiny import tiny

CROPS = [torch.rand(8, 3, 32, 32, generator=torch.Generator().manual_seed(0)) for _ in range(2)]


def settings(pairs: Path, output: Path, **more: object) -> TrainSettings:
    """A plain network, crops of 32 px, tiles that are far larger."""
    return tiny(output, str(pairs), val_images=2, **more)


@pytest.fixture
def images(pair_folder: Path) -> EvaluationSet:
    return EvaluationSet(find_pairs(pair_folder)[:2])


def test_the_better_is_taken_and_told(images: EvaluationSet, tmp_path: Path) -> None:
    said, told, work = list[str](), list[str](), list[tuple[str, int, int]]()

    def say(line: str) -> None:
        (told if "exported" in line else said).append(line)

    def export(network: Network, psnr_db: float | None, freeze: verified.Freeze = "auto") -> Exported:
        tile = Tiling(544, 2 * network.halo_px or 32, network.size_rule, network.halo_px)
        return export_verified(
            network,
            tmp_path,
            images,
            tile,
            name="n",
            freeze=freeze,
            crops=CROPS,
            psnr_db=psnr_db,
            on_line=say,
            on_work=lambda *part: work.append(part),
        )

    network = DeblurUNet(8).eval()
    frozen = export(network, -inf)
    assert frozen.frozen
    assert read_info(tmp_path).architecture["frozen"] is True
    assert told[-1].endswith("exported frozen")
    assert said == ["trying GroupNorm frozen, on 2 whole images", "exporting", "verifying on 2 whole images"]
    assert work == [(words, done, 2) for words in ("scoring", "verifying") for done in range(3)]
    assert frozen.scores is not None
    as_trained = export(network, None, freeze="off").trained
    assert as_trained is not None
    assert len(told) == 1, "nothing was decided"
    frozen_db, trained_db = frozen.scores.mean("psnr_db"), as_trained.mean("psnr_db")
    always = export(network, -inf, freeze="always").trained
    assert always is not None, "the frozen network is what its file is compared with"
    assert always.mean("psnr_db") == pytest.approx(frozen_db, abs=0.02)
    assert export(network, None).frozen == (frozen_db > trained_db)
    assert told[-1].endswith("exported frozen" if frozen_db > trained_db else "exported as trained")
    assert export(frozen.network, None).network is frozen.network
    assert len(told) == 2, "what is frozen cannot be frozen again"
    export(FastUNet(8).eval(), None)
    assert len(told) == 2
    with pytest.raises(SettingError, match="no GroupNorm"):
        export(FastUNet(8).eval(), None, freeze="always")


def test_a_stop_between_crops_is_obeyed(images: EvaluationSet, tmp_path: Path) -> None:
    def crops() -> "list[Tensor]":
        raise SystemExit(143)
        yield

    with pytest.raises(SystemExit):
        export_verified(
            DeblurUNet(8).eval(), tmp_path, images, Tiling(128, 32), name="n", freeze="auto", crops=crops(), psnr_db=0.0
        )


def test_a_run_exports_it_and_goes_on_from_it(
    pair_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        better = verified._better
        patch.setattr(verified, "_better", lambda network, _, *rest: better(network, -inf, *rest))
        assert run(settings(pair_folder, tmp_path / "a")) is not None
    model = tmp_path / "a" / "model"
    assert read_info(model).architecture["frozen"] is True
    assert read_info(model).psnr_db is not None, "verified against what the frozen network scored in torch"

    tuned = run(settings(pair_folder, tmp_path / "b", init=str(model), num_epochs=2))
    assert tuned is not None
    assert tuned.record.run["settings"]["frozen"] is True
    again = run(settings(pair_folder, tmp_path / "b", init=str(model), num_epochs=2))
    assert again is not None
    assert again.record.run["status"] == "FINISHED"

    as_trained = run(settings(pair_folder, tmp_path / "c", freeze="off"))
    assert as_trained is not None
    assert as_trained.outcome is not None
    assert as_trained.scores is not None
    assert as_trained.scores.mean("psnr_db") == pytest.approx(as_trained.outcome.best_psnr_db, abs=0.02)
    assert read_info(tmp_path / "c" / "model").architecture["frozen"] is False
