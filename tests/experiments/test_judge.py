"""New bests of a training are judged beside it: a better one takes the place, a worse one does not; none is lost."""

import errno
import shutil
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import Mock

import pytest

from deblur.errors import DataError
from deblur.evaluation import contest
from deblur.inference.model_folder import read_info
from deblur.models.checkpoint import best_name, network_from, save_checkpoint
from deblur.registry.record import FINISHED, RunRecord
from deblur.training.resuming import sole_trainer
from experiments import judge
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
        new_best(record, epoch, levels)
        main(record.folder, out, data, began_from=planted / "by4", wait_s=0.1)
        assert levels_of(out) == pytest.approx(10, abs=0.01), "of the first, in half precision"
    assert read_info(out).name == "lighter-4"
    assert sorted(each.name for each in tmp_path.iterdir()) == ["best", "run"]


def new_best(record: RunRecord, epoch: int, levels: float) -> Path:
    """A training's, which makes everything lighter."""
    network = lighter_by(levels)
    state = {"model_state_dict": network.state_dict(), "architecture": network.architecture}
    file = record.folder / best_name(epoch, 30.0)
    save_checkpoint(file, state)
    return file


def levels_of(folder: Path) -> float:
    return float(network_from(folder).state_dict()["head.bias"][0]) * 127.5


def test_every_best_of_a_training_that_runs_is_judged_until_it_ends(
    planted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """None at first, one by one then, and one just before the end."""
    record, judged = RunRecord.begin(tmp_path / "run", "a run", {}, {}), list[float]()

    def wins(challenger: Path, *rest: object) -> bool:
        judged.append(levels_of(challenger))
        return True

    def trains() -> Iterator[None]:
        for epoch, levels in ((1, 8.0), (2, 9.0), (3, 10.0)):
            yield
            new_best(record, epoch, levels)
        record.end(FINISHED)
        yield

    training = trains()
    next(training)
    monkeypatch.setattr(judge, "_wins", wins)
    monkeypatch.setattr(judge, "time", Mock(sleep=lambda seconds: next(training)))
    with sole_trainer(record.folder):
        main(record.folder, tmp_path / "best", (str(planted / "pairs"),), began_from=planted / "by4")
    assert judged == pytest.approx([8, 9, 10], abs=0.01)
    assert levels_of(tmp_path / "best") == pytest.approx(10, abs=0.01)


def test_a_killed_training_is_not_waited_for(
    planted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its record says for ever that it runs. Its last best is judged."""
    record = RunRecord.begin(tmp_path / "run", "a run", {}, {})
    new_best(record, 1, 10.0)
    monkeypatch.setattr(judge, "_wins", lambda *contestants: True)
    monkeypatch.setattr(judge, "time", Mock(sleep=lambda seconds: pytest.fail("it waits")))
    main(record.folder, tmp_path / "best", (str(planted / "pairs"),), began_from=planted / "by4")
    assert levels_of(tmp_path / "best") == pytest.approx(10, abs=0.01)
    assert "the training was killed" in capsys.readouterr().out
    monkeypatch.setattr("fcntl.flock", Mock(side_effect=OSError(errno.ENOLCK, "no locks")))
    assert not judge._killed(record), "where there are no locks, nobody knows"


def test_a_stop_while_a_model_takes_the_place_loses_none(
    planted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record, out, data = RunRecord.begin(tmp_path / "run", "a run", {}, {}), tmp_path / "best", (str(planted / "pairs"),)
    record.end(FINISHED)
    shutil.copytree(planted / "by10", out)  # the last winner
    best, rename = new_best(record, 1, 11.0), Path.rename

    def stopped(path: Path, target: Path) -> Path:
        if path.name == "challenger":
            raise KeyboardInterrupt
        return rename(path, target)

    monkeypatch.setattr(judge, "_wins", lambda *contestants: True)
    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", stopped)
        with pytest.raises(KeyboardInterrupt):
            main(record.folder, out, data, began_from=planted / "by4")
    best.unlink()
    main(record.folder, out, data, began_from=planted / "by4")
    assert levels_of(out) == pytest.approx(10, abs=0.01)


def test_too_few_pairs_are_told_before_the_first_best(planted: Path, tmp_path: Path) -> None:
    record = RunRecord.begin(tmp_path / "run", "a run", {}, {})
    record.end(FINISHED)
    with pytest.raises(DataError, match="hold 10 pairs"):
        main(record.folder, tmp_path / "best", (str(planted / "few"),), began_from=planted / "by4")
    assert not (tmp_path / "best").exists()
