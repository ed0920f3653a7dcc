"""A film never trains and validates, whatever it is called and however often it was encoded."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deblur.cli import main
from deblur.data.report_sets import open_report_sets
from deblur.data.sources import Reading, hold_back, open_sources
from deblur.errors import DataError, SettingError
from deblur.inference.locating import bundled_model
from deblur.registry.promotion import check_sets
from deblur.training.data import Synthesis, open_data

pytest.importorskip("av")
cv2 = pytest.importorskip("cv2")
from deblur.data.film import Film, open_film  # noqa: E402
from deblur.data.film_leaks import film_leaks  # noqa: E402
from tests.data.test_film import panned, written  # noqa: E402


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``a.mp4``; its copy, renamed; its first two thirds, smaller and much compressed; another film."""
    place = tmp_path_factory.mktemp("leaks")
    frames = panned("china", 48)
    shutil.copy(written(place / "a.mp4", frames), place / "copy.mp4")
    written(place / "again.mkv", [cv2.resize(each, (200, 160)) for each in frames[:32]])
    written(place / "other.mp4", panned("coffee", 24))
    return place


def opened(place: Path, name: str) -> Film:
    return open_film(place / name, place / "kept")


def test_copies_are_found_and_others_are_not(place: Path) -> None:
    film = opened(place, "a.mp4")
    kinds = [
        [finding.kind for finding in film_leaks([film.mark], [opened(place, name).mark])]
        for name in ("copy.mp4", "again.mkv", "other.mp4")
    ]
    assert kinds == [["leak_same_file"], ["leak_scene"], []]


@pytest.mark.parametrize("name", ["a.mp4", "copy.mp4", "again.mkv"])
def test_a_training_that_would_validate_on_its_own_film_is_refused(place: Path, name: str) -> None:
    reading = Reading(films=place / "films")
    sources = [f"film:{place / 'a.mp4'}"], [f"film:{place / name}"]
    with pytest.raises(DataError, match=r"The doctor finds 1 error: leak.*deblur doctor film:.* --val film:"):
        open_data(*sources, reading, Synthesis(), patch_px=96, seed=1)


def test_another_film_validates(place: Path) -> None:
    sources = [f"film:{place / 'a.mp4'}"], [f"film:{place / 'other.mp4'}"]
    assert open_data(*sources, Reading(films=place / "films"), Synthesis(), patch_px=96, seed=1).validation.pairs


def test_the_doctor_says_which_films_are_one(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(place))
    assert main(["doctor", f"film:{place / 'a.mp4'}", "--val", f"film:{place / 'copy.mp4'}"]) == 1
    assert "leak_same_file: copy.mp4" in capsys.readouterr().out.replace(str(place) + "/", "")
    assert main(["doctor", f"film:{place / 'a.mp4'}", "--val", f"film:{place / 'other.mp4'}"]) == 0


def test_a_rejected_window_is_followed_by_the_next_crispest_of_its_stretch(tmp_path: Path) -> None:
    """A flash of noise is the crispest there is, but nothing leads to it from its neighbours."""
    frames = panned("china", 24)
    for number in (4, 12, 20):
        rng = np.random.default_rng(number)
        frames[number][40:150, 50:190] = rng.integers(0, 256, (110, 140, 3))
    lines = list[str]()
    film = open_film(written(tmp_path / "a.mp4", frames), tmp_path, lines.append)
    rows = {row["number"]: row["left_out"] for row in film.report["windows"]}
    assert any("tried again" in line for line in lines), lines
    assert any(rows.values())
    assert film.windows
    assert json.loads((film.folder / "film.json").read_text()) == film.report


def test_what_evaluates_takes_the_films_from_a_trainings_cache(place: Path) -> None:
    film = opened(place, "other.mp4")
    (found,) = open_report_sets([f"film:{film.path}"], cache=place)
    assert [mark.content for mark in found.films] == [film.mark.content]
    assert (place / "films" / film.folder.name).is_dir()
    assert len(found.pairs) == len(open_sources([f"film:{film.path}"], Reading(films=place / "kept"))[0].pairs)


def test_a_film_and_its_copies_are_one_scene(place: Path) -> None:
    """So nothing that was split by scene has a film on one side and its copy on another."""
    (source,) = open_sources([f"film:{place}"], Reading(films=place / "kept"))
    assert sorted(set(source.scenes.values())) == ["a.mp4", "other.mp4"]
    with pytest.raises(SettingError, match="2 of 3"):
        hold_back([source])


@pytest.mark.parametrize(
    ("name", "why"), [("copy.mp4", "the same film"), ("again.mkv", r"a picture that differs in \d+ of 512 bits")]
)
def test_a_film_that_trained_decides_no_promotion_renamed_or_encoded_again(
    place: Path, tmp_path: Path, name: str, why: str
) -> None:
    """The record keeps 16 hashes of each film; records of before keep none."""
    model = trained_on(tmp_path, [opened(place, "a.mp4").mark.as_record()])
    sets = open_report_sets([f"film:{place / name}"], cache=place)
    with pytest.raises(SettingError, match=rf"{name}, which is a\.mp4 \(.*{why}.* trained a contestant"):
        check_sets("mine", [model], sets, new_sets=False)


def test_a_record_of_before_tells_the_same_file(place: Path, tmp_path: Path) -> None:
    model = trained_on(tmp_path, [opened(place, "a.mp4").mark.content])
    sets = open_report_sets([f"film:{place / 'copy.mp4'}"], cache=place)
    with pytest.raises(SettingError, match=r"copy\.mp4, which is .* trained a contestant"):
        check_sets("mine", [model], sets, new_sets=False)


def trained_on(folder: Path, films: list[Any]) -> Path:
    """A model folder whose record says so."""
    if not (bundled := bundled_model()):
        pytest.skip("no model comes with this installation")
    told = json.loads((bundled / "model.json").read_text())
    told["trained"]["datasets"] = [{"context": "training", "digest": "-", "source": "-", "films": films}]
    (folder / "model").mkdir()
    (folder / "model" / "model.json").write_text(json.dumps(told))
    return folder / "model"
