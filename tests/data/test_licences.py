"""Licences as folders state them."""

from pathlib import Path

import pytest

from deblur.data.licences import licence_of


@pytest.mark.parametrize("column", ["licence", "License"])
def test_credits_are_counted(tmp_path: Path, column: str) -> None:
    rows = 'a.png,CC0,x\nb.png,"BSD-3-Clause, or later",y\nc.png,CC0,z\nd.png,,\n'
    (tmp_path / "CREDITS.csv").write_text(f"file,{column},source\n{rows}", encoding="utf-8-sig")
    (tmp_path / "LICENSE").write_text("MIT")
    assert licence_of(tmp_path) == "CC0 (2), BSD-3-Clause, or later (1)", "images' own licences come first"


@pytest.mark.parametrize("name", ["LICENSE", "licence.txt", "License.md"])
def test_the_first_line_of_a_licence_tells(tmp_path: Path, name: str) -> None:
    (tmp_path / "train").mkdir()
    (tmp_path / name).write_text("\n\n  Creative Commons Attribution 4.0 \nmore\n")
    assert licence_of(tmp_path) == licence_of(tmp_path / "train") == "Creative Commons Attribution 4.0"
    (tmp_path / "train" / "LICENSE").write_text("x" * 1000)
    assert licence_of(tmp_path / "train") == "x" * 300, "the folder's own comes first"


def test_what_says_nothing_is_told(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    assert licence_of(tmp_path / "set") == licence_of(tmp_path / "none" / "there") == "not stated"
    (tmp_path / "set" / "CREDITS.csv").write_text("file,source\na.png,b\n")
    (tmp_path / "set" / "LICENSE").write_bytes(b"\n")
    assert licence_of(tmp_path / "set") == "not stated"
