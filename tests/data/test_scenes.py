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
    ],
)
def test_the_scene_is_what_names_share(name: str, scene: str) -> None:
    assert scene_of(name) == scene


@pytest.mark.parametrize(("scenes", "sizes"), [(3, (1, 1, 1)), (10, (8, 1, 1)), (33, (27, 3, 3)), (270, (216, 27, 27))])
def test_every_scene_is_in_one_part(scenes: int, sizes: tuple[int, int, int]) -> None:
    names = {f"GOPR{number:04d}" for number in range(scenes)}
    parts = split_scenes(names)
    assert tuple(map(len, parts)) == sizes
    assert set().union(*parts) == names
    assert sum(map(len, parts)) == scenes, "none is in two"


def test_the_parts_are_those_of_every_machine() -> None:
    """Written down: a change here would train on what earlier models were promoted by."""
    letters = "abcdefghijkl"
    assert split_scenes(reversed(letters)) == split_scenes(letters * 2)
    assert split_scenes(letters).validation == ["j"]
    assert split_scenes(letters).promotion == ["d"]
    composed, apart = (unicodedata.normalize(form, "Übung") for form in ("NFC", "NFD"))
    for number in range(20):
        some, same = ([name, *"abc", str(number)] for name in (composed, apart))
        assert [composed in part for part in split_scenes(some)] == [apart in part for part in split_scenes(same)]
