"""Pairs as people keep them: other folders, other suffixes, marks in names; what is not clear is refused by name."""

import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deblur.data.doctor import examine, examine_folder
from deblur.data.pairs import find_pairs
from deblur.data.sources import SourceName
from deblur.errors import DataError


def pair(root: Path, blurry: str, sharp: str) -> None:
    for name in (blurry, sharp):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.random.default_rng(len(name)).integers(0, 256, (16, 16, 3), np.uint8)).save(root / name)


def partners(root: Path) -> dict[str, str]:
    return {pair.blurry.name: pair.sharp.name for pair in find_pairs(root)}


@pytest.mark.parametrize(
    ("blurry", "sharp"),
    [("blur", "sharp"), ("input", "target"), ("blurry", "sharp"), ("blurred", "sharp"), ("lq", "gt")],
)
@pytest.mark.parametrize("inside", [".", "GOPR1"])
def test_folders_of_pairs(tmp_path: Path, blurry: str, sharp: str, inside: str) -> None:
    pair(tmp_path, f"{inside}/{blurry}/1.png", f"{inside}/{sharp}/1.png")
    (found,) = find_pairs(tmp_path)
    assert found.name == (Path(inside) / "1.png").as_posix()
    assert (found.blurry.parent.name, found.sharp.parent.name) == (blurry, sharp)
    assert SourceName.parse(str(tmp_path)).kind == "pairs"
    assert examine_folder(tmp_path).looked_at["items"] == 1


def test_two_kinds_of_pairs_in_one_place_are_refused(tmp_path: Path) -> None:
    pair(tmp_path, "blur/1.png", "sharp/1.png")
    pair(tmp_path, "lq/1.png", "gt/1.png")
    for look in (find_pairs, examine_folder):
        with pytest.raises(DataError, match=r"more than one way: blur/ with sharp/, lq/ with gt/"):
            look(tmp_path)


def test_gopros_gamma_is_no_second_kind(tmp_path: Path) -> None:
    pair(tmp_path, "blur/1.png", "sharp/1.png")
    pair(tmp_path, "blur_gamma/1.png", "sharp/1.png")
    assert [find_pairs(tmp_path, gamma)[0].blurry.parent.name for gamma in (False, True)] == ["blur", "blur_gamma"]


@pytest.mark.parametrize(
    "names",
    [
        {"a.jpg": "a.png", "b.JPG": "b.jpg", "c.webp": "c.webp"},
        {"1_blur.png": "1_sharp.png", "2_blur.png": "2_sharp.jpg"},
        {"0001_blur.png": "0001_sharp.png"},
        {"blur_1.png": "sharp_1.png", "blur_2.png": "sharp_2.png"},
        {"a-in.png": "a.png", "b-in.png": "b.png"},
        {"1_blurred.png": "1_blur_free.png"},
        {"a 1 (b).png": "a 1 (s).png"},
        {"Übung.png": "Übung.jpg"},
    ],
)
def test_partners(tmp_path: Path, names: dict[str, str]) -> None:
    for blurry, sharp in names.items():
        pair(tmp_path, f"blur/{blurry}", f"sharp/{sharp}")
    assert partners(tmp_path) == names
    assert not [finding for finding in examine_folder(tmp_path).findings if finding.kind == "unpaired"]


@pytest.mark.parametrize("forms", ["NFC NFD", "NFD NFC"])
def test_names_that_look_equal_are_partners(tmp_path: Path, forms: str) -> None:
    blurry, sharp = (unicodedata.normalize(form, "Übung.png") for form in forms.split())
    pair(tmp_path, f"blur/{blurry}", f"sharp/{sharp}")
    pair(tmp_path, "blur/a.png", "sharp/a.png")
    assert partners(tmp_path) == {"a.png": "a.png", blurry: sharp}


@pytest.mark.parametrize(
    ("files", "told"),
    [
        (["blur/a.jpg", "sharp/a.png", "sharp/a.webp"], r"not clear .*blur/a\.jpg, sharp/a\.png, sharp/a\.webp"),
        (["blur/a.jpg", "blur/a.png", "sharp/a.webp"], r"not clear .*blur/a\.jpg, blur/a\.png, sharp/a\.webp"),
        (["blur/a.png", "sharp/a.png", "sharp/b.png"], r"1 file has no partner .*sharp/b\.png"),
        (["blur/0001.png", "sharp/0002.png"], r"2 files have no partner"),
        (["blur/cat.png", "sharp/car.png"], r"2 files have no partner"),
        (["blur/a.png", "sharp/a.png", "blur/b_blur.png", "sharp/b_sharp.png"], r"2 files .*b_blur\.png"),
        (["blur/a_b.png", "sharp/a_c.png", "sharp/a_d.png"], r"3 files have no partner"),
    ],
)
def test_what_is_not_clear_is_refused_by_name(tmp_path: Path, files: list[str], told: str) -> None:
    for file in files:
        pair(tmp_path, file, file)
    with pytest.raises(DataError, match=told):
        find_pairs(tmp_path)
    troubles = [finding for finding in examine_folder(tmp_path).errors if finding.kind == "unpaired"]
    assert {Path(name).name for finding in troubles for name in finding.files} >= {Path(files[-1]).name}


def test_marks_that_are_assumed_are_told(tmp_path: Path) -> None:
    pair(tmp_path, "blur/1_blur.png", "sharp/1_sharp.png")
    pair(tmp_path, "blur/2_blur.png", "sharp/2_sharp.png")
    for report in (examine_folder(tmp_path), examine(find_pairs(tmp_path), quick=True)):
        (told,) = (finding for finding in report.findings if finding.kind == "assumed_partners")
        assert told.text == "2 pairs whose names differ, such as 1_blur.png and 1_sharp.png"
    pair(tmp_path / "other", "blur/1.png", "sharp/1.jpg")
    assert not [f for f in examine_folder(tmp_path / "other").findings if f.kind == "assumed_partners"]
