"""New bests of a training are judged beside it: a better one takes the place, a worse one does not."""

from pathlib import Path

import pytest

from deblur.evaluation import contest
from deblur.inference.model_folder import read_info
from deblur.models.checkpoint import best_name, network_from, save_checkpoint
from deblur.registry.record import FINISHED, RunRecord
from experiments.judge import main
from tests.evaluation.planted import lighter_by


@pytest.mark.usefixtures("trusted")
def test_a_better_one_takes_the_place_and_a_worse_one_does_not(
    planted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contest, "SLOWER_AT_MOST", 100)
    record, out, data = RunRecord.begin(tmp_path / "run", "a run", {}, {}), tmp_path / "best", (str(planted / "pairs"),)
    record.end(FINISHED)
    for epoch, levels in ((1, 10.0), (2, 9.9)):
        network = lighter_by(levels)
        state = {"model_state_dict": network.state_dict(), "architecture": network.architecture}
        save_checkpoint(record.folder / best_name(epoch, 30.0), state)
        main(record.folder, out, data, began_from=planted / "by4", wait_s=0.1)
        bias = network_from(out).state_dict()["head.bias"][0]
        assert float(bias) == pytest.approx(10 / 127.5, abs=5e-5), "of the first, in half precision"
    assert read_info(out).name == "lighter-4"
    assert sorted(each.name for each in tmp_path.iterdir()) == ["best", "run"]
