"""``deblur evaluate`` and ``deblur card`` as a person gives them."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from deblur.cli import main
from deblur.cli.console import console
from deblur.data.report_sets import open_report_sets
from deblur.evaluation.card import write_card
from deblur.inference.model_folder import read_info
from tests.evaluation.planted import model_lighter_by


def test_figures_report_pictures_and_the_card(
    planted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(console, "width", 200)  # where COLUMNS says less, cells are folded
    model = model_lighter_by(10, tmp_path / "mine")
    command = ["evaluate", str(model), str(planted / "by4"), "--data", str(planted / "few")]
    command += [f"photos:{planted / 'few' / 'sharp'}", "--no-references", "--price", "0.00002"]
    assert main([*command, "--json", "e.json", "--html", "e.html", "--pictures", "pictures"]) == 0
    said = capsys.readouterr().out
    for word in ("lighter-10", "lighter-4", "do nothing", "after one shift", "sharp photographs", "per 1000 at 2 GB"):
        assert word in said, word
    told = json.loads(Path("e.json").read_text(encoding="utf-8"))
    assert [len(each["fingerprint"]) for each in told["sets"]] == [16, 16]
    assert len(told["images"]) == 2 * 2 * (10 + 10), "each model with the guard and without"
    assert "lighter-10, guard off" in said
    assert "lighter-10" in Path("e.html").read_text(encoding="utf-8")
    drawn = sorted(Path("pictures").rglob("*.png"))
    assert len(drawn) == 20
    with Image.open(drawn[0]) as picture:
        assert picture.width > 4 * 96, "reference, before, and both models"
    assert main([*command, "--pictures", "pictures"]) == 1
    assert "Name a new one" in capsys.readouterr().err

    assert main(["card", str(model), "--evaluation", "e.json"]) == 0
    card = (model / "CARD.md").read_text(encoding="utf-8")
    assert read_info(model).reported is not None
    fingerprint = told["sets"][0]["fingerprint"]
    (row,) = (line for line in card.splitlines() if fingerprint in line)
    gain = told["summaries"][0]["gain_db"]
    assert f"{gain['mean']:+.2f} [{gain['low']:+.2f}, {gain['high']:+.2f}]" in row
    assert "Sharp photographs" in card
    other = model_lighter_by(7, tmp_path / "other")
    assert main(["card", str(other), "--evaluation", "e.json"]) == 1
    assert "and not of lighter-7" in capsys.readouterr().err
    assert main(["card", str(other)]) == 0
    assert "Nobody has scored it" in (other / "CARD.md").read_text(encoding="utf-8")


def test_a_grid_of_degradations(planted: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photos = f"photos:{planted / 'few' / 'sharp'}"
    command = ["evaluate", str(planted / "by4"), "--data", photos, "--no-references", "--degrade"]
    assert main([*command, "noise=5 kernel=2,9 size=48"]) == 0
    said = capsys.readouterr().out
    assert "kernel 2, noise 5, 48 px: 10 images" in said
    assert "kernel 9, noise 5, 48 px: 10 images" in said
    assert main([*command, "kernel=99"]) == 1
    assert "numbered 0 to 23" in capsys.readouterr().err


def test_what_makes_no_sense_is_told_before_the_work(planted: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pairs = str(planted / "few")
    assert main(["evaluate", str(planted / "nothing"), "--data", pairs]) == 1
    assert "nothing is not a model folder: there is none of that name." in capsys.readouterr().err
    (planted / "photo.jpg").touch()
    assert main(["evaluate", str(planted / "photo.jpg"), "--data", pairs]) == 1
    assert "photo.jpg is not a model folder: it is a file." in capsys.readouterr().err
    (planted / "empty").mkdir()
    assert main(["evaluate", "bundled", "--data", str(planted / "empty")]) == 1
    assert "empty is empty. Put pairs (blur/NAME and sharp/NAME) or photos there." in capsys.readouterr().err
    assert main(["evaluate", str(planted / "by4"), "--data", pairs, "--lpips", str(planted / "no.pth")]) == 1
    assert "no.pth" in capsys.readouterr().err
    assert main(["evaluate", str(planted / "by4"), "--data", pairs, "--json", str(planted / "no" / "e.json")]) == 1
    assert "cannot be written" in capsys.readouterr().err


def test_figures_on_what_a_model_has_seen_are_told_to_be_too_good(
    planted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """On the terminal and in the report; promotion refuses such sets."""
    model, pairs = model_lighter_by(10, tmp_path / "mine"), str(planted / "few")
    said = "few trained lighter-10 or selected its checkpoint: figures on that say too much."
    for digest in ("0123456789abcdef", f"0123456789abcdef {open_report_sets([pairs])[0].fingerprint}"):
        dataset = {"name": "few", "context": "validation", "digest": digest, "source": "elsewhere"}
        dataset |= {"images": 10, "licence": "CC0"}
        write_card(model, replace(read_info(model), trained={"datasets": [dataset]}))
        report = tmp_path / f"{len(digest)}.html"
        assert main(["evaluate", str(model), "--data", pairs, "--no-references", "--html", str(report)]) == 0
        seen = len(digest) > 16
        assert (said in capsys.readouterr().out.replace("\n", " ")) == seen
        assert (said in report.read_text(encoding="utf-8")) == seen
