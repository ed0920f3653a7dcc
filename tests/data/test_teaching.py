"""A teacher's answers on disk: found by the blurry image, finished after a kill, cut like the pair."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deblur.cli import main
from deblur.data.pair_crops import PairCrops
from deblur.data.pairs import TaughtPair, find_pairs
from deblur.data.sources import Source, open_sources
from deblur.data.teaching import read_answers, teach, with_answers
from deblur.errors import DataError
from deblur.inference.engine import Tiles
from deblur.inference.restorer import Restorer
from deblur.inference.tiling import SizeRule, Tiling
from tests.data.test_saved import contents


class Teacher:
    """Darkens by a quarter, and counts its tiles."""

    calls = 0

    def __call__(self, batch: Tiles, /) -> Tiles:
        self.calls += 1
        return batch * np.float32(0.75)


TILING = Tiling(96, 16, SizeRule(8, 8))


def run(source: Source, out: Path, teacher: Teacher, **how: object) -> int:
    return teach(source.pairs, out, Restorer(teacher, TILING), "a1", **how)  # type: ignore[arg-type]


@pytest.fixture
def source(tmp_path: Path, pair_folder: Path) -> Source:
    for side in ("blur", "sharp"):
        shutil.copytree(pair_folder / side, tmp_path / "pairs" / side)
    return open_sources([str(tmp_path / "pairs")])[0]


def test_answers_are_the_teachers_of_whole_images(source: Source, tmp_path: Path) -> None:
    teacher, told = Teacher(), list[tuple[int, ...]]()
    assert run(source, tmp_path / "out", teacher, on_done=lambda *figures: told.append(figures)) == 6
    (taught,), _ = with_answers([source], read_answers(tmp_path / "out"), None)
    for pair in taught.pairs:
        assert isinstance(pair, TaughtPair)
        assert np.abs(pair.answer.load() - 0.75 * pair.load()[0]).max() <= 0.5 + 1e-3
    assert told[0] == (0, 6, 0, told[-1][3])
    assert told[-1][:3] == (6, 6, told[-1][3])
    assert [figures[2] for figures in told] == sorted(figures[2] for figures in told)
    assert len({figures[2] for figures in told}) == teacher.calls + 1, "it moves on with every tile"


def test_what_a_kill_left_is_finished_and_comes_out_the_same(source: Source, tmp_path: Path) -> None:
    run(source, tmp_path / "whole", Teacher())

    def kill(done: int, count: int, px: int, total_px: int) -> None:
        if done == 2 and px < total_px:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(source, tmp_path / "out", Teacher(), on_done=kill)
    (tmp_path / "out" / next(iter(read_answers(tmp_path / "out").names.values()))).write_bytes(b"damaged")
    again = Teacher()
    assert run(source, tmp_path / "out", again) == 5
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")
    assert run(source, tmp_path / "out", idle := Teacher()) == 0
    assert idle.calls == 0


@pytest.mark.parametrize("cached", [False, True])
def test_crops_of_the_answer_are_those_of_the_pair(source: Source, tmp_path: Path, cached: bool) -> None:
    run(source, tmp_path / "out", Teacher())
    moved = tmp_path / "moved"
    shutil.move(tmp_path / "pairs", moved)
    answers = read_answers(tmp_path / "out")
    (taught,), _ = with_answers(open_sources([str(moved)]), answers, tmp_path / "cache" if cached else None)
    crops, plain = PairCrops(taught.pairs, 64, 0), PairCrops(find_pairs(moved), 64, 0)
    for key in range(12):
        sample, same = crops[key], plain[key]
        assert all((a == b).all() for a, b in zip(sample[:2], same[:2], strict=True))
        assert sample.taught is not None
        assert float((sample.taught - 0.75 * sample.blurry).abs().max()) <= 0.5 + 1e-3


def test_a_pair_without_its_answer_is_named_and_taught_anew(source: Source, tmp_path: Path) -> None:
    run(source, tmp_path / "out", Teacher())
    before = read_answers(tmp_path / "out").sha256
    first, second = source.pairs[:2]
    for own, other in zip(first.images, second.images, strict=True):  # another blurry image under its name
        Image.fromarray(other.load()[::-1]).save(own.files[0])
    assert run(source, tmp_path / "out", Teacher()) == 1
    assert read_answers(tmp_path / "out").sha256 != before
    (tmp_path / "pairs" / "blur" / source.pairs[2].name).write_bytes(first.images[0].files[0].read_bytes() + b" ")
    with pytest.raises(DataError, match=f"1 of 6 pairs have no answer.*{source.pairs[2].name}"):
        with_answers([source], read_answers(tmp_path / "out"), None)


def test_folders_of_one_name_keep_their_answers_and_moved_pairs_have_theirs(source: Source, tmp_path: Path) -> None:
    for number, place in enumerate("ab"):
        for side, image in zip(("blur", "sharp"), source.pairs[number].images, strict=True):
            (folder := tmp_path / place / "train" / side).mkdir(parents=True)
            shutil.copy(image.files[0], folder / "0001.png")
    first, second = open_sources([str(tmp_path / place / "train") for place in "ab"])
    assert [run(each, tmp_path / "out", Teacher()) for each in (first, second, first)] == [1, 1, 0]
    shutil.move(tmp_path / "a" / "train", tmp_path / "renamed")
    moved = open_sources([str(tmp_path / "renamed")])
    assert run(moved[0], tmp_path / "out", Teacher()) == 0
    with_answers([*moved, second], read_answers(tmp_path / "out"), None)


def test_an_answer_that_a_version_before_named_by_its_pair_stays(source: Source, tmp_path: Path) -> None:
    run(source, tmp_path / "out", Teacher())
    before = read_answers(tmp_path / "out")
    named = dict(zip(before.names.values(), (f"set/{pair.name}" for pair in source.pairs), strict=True))
    (tmp_path / "out" / "set").mkdir()
    for digest, file in named.items():
        (tmp_path / "out" / digest).rename(tmp_path / "out" / file)
    answers = {named[file]: entry for file, entry in before.record["answers"].items()}
    (tmp_path / "out" / "taught.json").write_text(json.dumps({**before.record, "answers": answers}))
    assert run(source, tmp_path / "out", Teacher()) == 0
    (tmp_path / "out" / "set" / source.pairs[0].name).write_bytes(b"damaged")
    assert run(source, tmp_path / "out", Teacher()) == 1
    assert read_answers(tmp_path / "out").record["answers"] == answers


def test_answers_to_other_pairs_do_not_change_those_of_a_run(source: Source, tmp_path: Path) -> None:
    half = replace(source, pairs=source.pairs[:3])
    run(half, tmp_path / "out", Teacher())
    before = read_answers(tmp_path / "out")
    assert with_answers([half], before, None)[1].sha256 == before.sha256
    run(source, tmp_path / "out", Teacher())
    after = read_answers(tmp_path / "out")
    assert after.sha256 != before.sha256
    assert with_answers([half], after, None)[1].sha256 == before.sha256


def test_what_cannot_be_taught_is_said(source: Source, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(source, tmp_path / "out", Teacher())
    with pytest.raises(DataError, match="made otherwise: teacher_sha256 a1 there, b2 now"):
        teach(source.pairs, tmp_path / "out", Restorer(Teacher(), TILING), "b2")
    (tmp_path / "out" / "taught.json").write_text(json.dumps({"format": 99}))
    with pytest.raises(DataError, match="format 99"):
        read_answers(tmp_path / "out")
    with pytest.raises(DataError, match="holds other files"):
        teach(source.pairs, tmp_path / "pairs", Restorer(Teacher(), TILING), "a1")
    (tmp_path / "file").write_text("text")
    with pytest.raises(DataError, match="file cannot be made a folder"):
        run(source, tmp_path / "file", Teacher())
    assert main(["teach", "leaves", str(tmp_path / "leaves"), "--teacher", "anything"]) == 1
    assert "deblur synth" in capsys.readouterr().err
