"""Scenes by their names, and the parts that they are split into."""

import unicodedata

import pytest

from deblur.data.scenes import scene_of, split_scenes


@pytest.mark.parametrize(
    ("name", "scene"),
    [
        ("GOPR0410_11_00/000047.png", "GOPR0410_11_00"),
        ("GOPR0372_07_00-000047.webp", "GOPR0372_07_00"),
        ("GOPR0374_11_00-f000614-avg8.webp", "GOPR0374_11_00"),
        ("REDS027x4-00000020.png", "REDS027x4"),
        ("test_000-00000013.png", "test_000"),
        ("a/b/00000019.webp", "a/b"),
        ("00000019.webp", ""),
        ("church.jpg", "church"),
        ("DSC0001.jpg", "DSC"),
        ("cat1.png", "cat"),  # and car1.png is no scene "ca" with it
    ],
)
def test_the_scene_is_what_names_share(name: str, scene: str) -> None:
    assert scene_of(name) == scene


@pytest.mark.parametrize("scenes", [3, 4, 10, 33, 270])
def test_every_scene_is_in_one_part(scenes: int) -> None:
    names = {f"GOPR{number:04d}" for number in range(scenes)}
    training, validation, promotion = parts = split_scenes(names)
    assert set().union(*parts) == names
    assert sum(map(len, parts)) == scenes, "none is in two"
    assert all(1 <= len(part) <= max(scenes / 3, 1) for part in (validation, promotion))
    assert len(training) >= scenes / 3
    if scenes == 270:
        assert all(15 <= len(part) <= 40 for part in (validation, promotion)), "about a tenth"


def test_later_scenes_move_none() -> None:
    earlier = {f"GOPR{number:04d}" for number in range(60)}
    later = split_scenes(earlier | {f"film {number}" for number in range(60)})
    for before, after in zip(split_scenes(earlier), later, strict=True):
        assert set(before) == set(after) & earlier


def test_the_parts_are_those_of_every_machine() -> None:
    """Written down: a change here would train on what earlier models were promoted by."""
    letters = "abcdefghijkl"
    assert split_scenes(reversed(letters)) == split_scenes(letters * 2)
    assert split_scenes(letters).validation == ["j", "d"]
    assert split_scenes(letters).promotion == ["f", "c"]
    composed, apart = (unicodedata.normalize(form, "Übung") for form in ("NFC", "NFD"))
    for number in range(20):
        some, same = ([name, *"abc", str(number)] for name in (composed, apart))
        assert [composed in part for part in split_scenes(some)] == [apart in part for part in split_scenes(same)]
