"""``deblur compare``: a sheet that replaces nothing unasked, what makes none, and a page over a real socket."""

import json
import subprocess
import sys
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deblur.cli import main
from deblur.evaluation.panels import CAPTION_PX, GAP_PX
from deblur.images import read_rgb8
from deblur.synthesis.frozen import degraded


def test_a_sheet_of_models(
    pair_folder: Path, model_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    blurry = [str(pair_folder / "blur" / f"{name}.png") for name in ("coffee", "china")]
    out = tmp_path / "sheet.png"
    command = ["compare", *blurry, "--models", str(model_folder), "unsharp", "polyblur", "--crop", "160"]
    assert main([*command, "--out", str(out)]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0] == f"coffee.png, before; {model_folder}; unsharp; polyblur"
    assert said[-1] == str(out)
    sheet = np.asarray(Image.open(out))
    assert len(sheet) == 2 * (CAPTION_PX + 160 + GAP_PX)
    before = read_rgb8(pair_folder / "blur" / "coffee.png")
    top, left = (before.shape[0] - 160) // 2, (before.shape[1] - 160) // 2
    assert np.array_equal(sheet[CAPTION_PX:][:160, GAP_PX : GAP_PX + 160], before[top:, left:][:160, :160])

    assert main([*command, "--out", str(out)]) == 1, "it exists"
    assert "--overwrite" in capsys.readouterr().err
    assert np.array_equal(np.asarray(Image.open(out)), sheet)
    degraded_too = [*command, "--out", str(out), "--overwrite", "--kernel", "5", "--noise", "2"]
    assert main(degraded_too) == 0
    assert "kernel 5 (shake, 5 px), noise 2: " in capsys.readouterr().out


def test_the_model_of_the_package_and_the_one_that_restore_takes(
    pair_folder: Path,
    model_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    monkeypatch.setenv("DEBLUR_MODEL", str(model_folder))
    photo = str(pair_folder / "blur" / "coffee.png")
    assert main(["compare", photo, "--out", str(tmp_path / "a.png")]) == 0
    assert capsys.readouterr().out.startswith("coffee.png, before; tiny")
    assert main(["compare", photo, "--out", str(tmp_path / "b.png"), "--models", "bundled"]) == 0
    assert not np.array_equal(np.asarray(Image.open(tmp_path / "a.png")), np.asarray(Image.open(tmp_path / "b.png")))


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "Name the photos"),
        (["PHOTO", "--kernel", "24"], "numbered 0 to 23"),
        (["PHOTO", "--noise", "-1"], "--noise is -1"),
        (["PHOTO", "--crop", "0"], "--crop is 0"),
        (["PHOTO", "--out", "sheet.txt"], "ends in .png"),
        (["PHOTO", "--out", "PHOTO", "--overwrite"], "is what is read"),
        (["nowhere.png"], "cannot be read"),
        (["PHOTO", "--models", "/nowhere"], "not a model folder"),
        (["--live", "--port", "99999", "--models", "unsharp"], "--port is 99999"),
    ],
)
def test_what_cannot_be_compared_is_told(
    arguments: list[str],
    sentence: str,
    pair_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    photo = tmp_path / "photo.png"
    photo.write_bytes((pair_folder / "blur" / "coffee.png").read_bytes())
    assert main(["compare", *(str(photo) if word == "PHOTO" else word for word in arguments)]) == 1
    assert sentence in capsys.readouterr().err.replace("\n", " ")
    assert [path.name for path in tmp_path.iterdir()] == ["photo.png"]


def test_the_page_over_a_socket_of_this_machine(pair_folder: Path) -> None:
    photo = pair_folder / "sharp" / "coffee.png"
    command = [sys.executable, "-m", "deblur", "compare", str(photo), "--live", "--port", "0", "--kernel", "5"]
    process = subprocess.Popen([*command, "--models", "unsharp"], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        url = process.stdout.readline().split()[-1]
        assert url.startswith("http://127.0.0.1:")
        with urllib.request.urlopen(f"{url}/choices", timeout=30) as answer:
            choices = json.load(answer)
        assert (choices["images"][0]["name"], choices["models"]) == ("coffee.png", ["unsharp"])
        assert choices["start"] == {"kernel": 5, "noise": 0.0}
        with urllib.request.urlopen(f"{url}/compare?image=0&kernel=5", timeout=30) as answer:
            result = json.load(answer)
        sharp = read_rgb8(photo)
        assert (result["height"], result["width"]) == sharp.shape[:2] == degraded(sharp, 5).shape[:2]
        assert 15 < result["psnr_before_db"] < 40
    finally:
        process.kill()
        process.communicate()
