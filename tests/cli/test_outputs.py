"""What a verb cannot write is said before it works."""

from pathlib import Path

import pytest

from deblur.cli import main

VERBS = {
    "doctor": ["doctor", "{pairs}"],
    "bench infer": ["bench", "infer"],
    "bench tiles": ["bench", "tiles", "--model", "{pairs}", "--pairs", "{pairs}"],
    "bench data": ["bench", "data", "{pairs}"],
    "bench train": ["bench", "train"],
}


@pytest.mark.parametrize("verb", VERBS)
def test_figures_that_have_no_place(
    verb: str, pair_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [word.format(pairs=pair_folder) for word in VERBS[verb]]
    for place in (tmp_path / "nowhere" / "figures.json", tmp_path):
        assert main([*arguments, "--json", str(place)]) == 1
        assert "cannot be written" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [["doctor", "{pairs}", "--sheet"], ["bench", "infer", "--picture"], ["samples", "{pairs}", "--out"]],
    ids=lambda arguments: arguments[0],
)
def test_pictures_that_are_none(
    arguments: list[str], pair_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [word.format(pairs=pair_folder) for word in arguments]
    assert main([*words, str(tmp_path / "picture.txt")]) == 1
    assert "ends in .png" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
