"""What a training shows: a bar for crops and one for validating, and plain lines where there is no terminal."""

from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console
from rich.progress import Progress as Bar

from deblur.data.pair_crops import PairCrops
from deblur.data.pairs import find_pairs
from deblur.registry.record import RunRecord
from deblur.training import terminal
from deblur.training.progress import Progress
from deblur.training.terminal import progress_of
from tests.training.test_loop import trainer_of


def shown(is_terminal: bool) -> str:
    console = Console(file=StringIO(), force_terminal=is_terminal, width=100)
    with progress_of(console) as progress:
        progress.on_start(4800)
        progress.on_images(48)
        for done in range(23):
            progress.on_work("validating", done, 22)
        progress.on_line("epoch 1/200")
        progress.on_work("verifying", 0, 6)
    assert isinstance(console.file, StringIO)
    return console.file.getvalue()


def test_a_validation_is_counted_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    real = Bar.update
    monkeypatch.setattr(Bar, "update", lambda bar, *which, **values: (real(bar, *which, **values), bar.refresh()))
    out = shown(is_terminal=True)
    assert "crops 48 of 4,800" in out
    assert "validating 3 of 22" in out
    assert "validating 22 of 22" not in out, "what is done is not shown"
    assert "verifying 0 of 6" in out


def test_a_log_gets_a_line_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    assert shown(is_terminal=False) == "epoch 1/200\n"
    monkeypatch.setattr(terminal, "LINE_S", -1.0)
    assert "validating 3 of 22\n" in shown(is_terminal=False)


def test_every_validated_image_is_told(tmp_path: Path, pair_folder: Path) -> None:
    pairs, told = find_pairs(pair_folder), list[tuple[str, int, int]]()
    record = RunRecord.begin(tmp_path, "test", {}, {})
    progress = Progress(on_work=lambda *work: told.append(work))
    trainer_of(record, PairCrops(pairs, 32, 0), pairs[:2], num_epochs=1, progress=progress).fit()
    untrained, validating = (
        [(words, done, 2) for done in range(3)] for words in ("panels before training", "validating")
    )
    assert told == [*untrained, *validating]
