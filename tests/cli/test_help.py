"""The help pages, and what a command line that makes no sense is told."""

import re
from itertools import pairwise
from pathlib import Path

import pytest

from deblur.cli import VERBS, main
from deblur.cli.bench import BENCHES
from deblur.cli.options import flowing
from deblur.training.presets import PRESETS

ROOT = Path(__file__).parents[2]
PAGES = [[verb] for verb in VERBS] + [["bench", what] for what in BENCHES]


@pytest.fixture(autouse=True)
def columns(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal of 100 columns without colours."""
    monkeypatch.setenv("COLUMNS", "100")


def refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """What a command line that makes no sense is told, in one line."""
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    return " ".join(capsys.readouterr().err.replace("│", " ").replace("|", " ").split())


def page(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """A help page as it is printed."""
    with pytest.raises(SystemExit) as ended:
        main([*arguments, "--help"])
    assert ended.value.code == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("command", PAGES, ids=" ".join)
def test_a_wrong_option_points_to_the_help_of_its_command(
    command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    told = refused([*command, "--no-such-option", "3"], capsys)
    assert f"deblur {' '.join(command)} --help" in told


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["restore", "photo.jpg", "--tile", "abc"], "--tile: abc is not a whole number."),
        (["restore", "photo.jpg", "--memory", "much"], "--memory: much is not a number."),
        (["synth", "o", "leaves", "--size", "big"], "--size: big is not a whole number."),
        (["samples", "leaves", "--severity", "harsh"], "--severity: harsh is none of mild, medium, strong, a number."),
        (["train", "--minutes", "ten"], "--minutes: ten is not a number."),
        (["sweep", "o", "--vary", "seed=1,2", "--trials", "few"], "--trials: few is not a whole number."),
    ],
)
def test_a_wrong_value_is_told_in_words(
    arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    told = refused(arguments, capsys)
    assert sentence in told
    for notation in ("NoneType", "<class", "instantiated", "invalid literal"):
        assert notation not in told


@pytest.mark.parametrize("command", PAGES, ids=" ".join)
def test_help_breaks_lines_where_the_terminal_ends_and_nowhere_else(
    command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [line.strip("│|")[1:-1].rstrip() for line in page(command, capsys).splitlines()]
    early = [
        f"{above}\n{row}"
        for above, row in pairwise(rows)
        if row.startswith("    ")
        and (above.startswith("    ") or re.search(r"\S  +\S", above))
        and len(above) + 1 + len(row.split()[0]) <= 96
    ]
    assert not early, "\n".join(early)


def test_a_list_in_a_docstring_stays_a_list() -> None:
    text = """One sentence
        on two lines.

        * an item
          of two lines
        * another
        """
    assert flowing(text) == "One sentence on two lines.\n\n* an item of two lines\n* another"


@pytest.mark.parametrize("command", [*PAGES, ["train", "--network", "NAFNet"]], ids=" ".join)
def test_help_is_free_of_a_programmers_notation(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    told = page(command, capsys)
    for notation in ("None", "[STR", "[PATH", "[INT", "(default: )", "False", "True"):
        assert notation not in told


def test_a_usage_names_what_is_given_in_order(capsys: pytest.CaptureFixture[str]) -> None:
    assert "PHOTO [OUT]" in page(["restore"], capsys)
    assert "[IMAGES ...]" in page(["compare"], capsys)
    assert "--tile INT" in page(["restore"], capsys)


@pytest.mark.parametrize("command", [[], ["bench"]], ids=["deblur", "bench"])
def test_the_list_of_commands_has_a_line_for_each(
    command: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "98")  # without the box around it, which takes two
    told = page(command, capsys)
    verbs = BENCHES if command else VERBS
    rows = [line.strip("│| ") for line in told[told.index("(required)") :].splitlines()[1:-1]]
    assert [re.sub(r"[^\w ]", "", row).split()[0] for row in rows] == list(verbs)
    assert all(row.endswith(".") for row in rows)


def test_the_help_of_a_training_says_where_each_preset_is_explained(capsys: pytest.CaptureFixture[str]) -> None:
    assert "documentation/training.md" in page(["train"], capsys).partition("options")[0].replace("\n", " ")
    explained = (ROOT / "documentation" / "training.md").read_text(encoding="utf-8")
    assert [name for name in PRESETS if f"`{name}`" not in explained.partition("**The loss**")[0]] == []
