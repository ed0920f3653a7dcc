"""``deblur bench data``: both ways give the same samples, and the table says what they and the cache cost."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from deblur import cli
from deblur.benchmarks.data import ALONE, CACHED, DECODING, LOADED, measure


class Counted(Dataset[tuple[Tensor, Tensor]]):
    """Says which samples were asked for."""

    def __init__(self) -> None:
        self.keys: list[int] = []

    def __getitem__(self, key: int) -> tuple[Tensor, Tensor]:
        self.keys.append(key)
        return torch.zeros(1), torch.zeros(1)


def test_any_data_sets_are_timed_in_turns_on_the_same_keys() -> None:
    ways = {"a": Counted(), "b": Counted()}
    figures = measure(ways, workers=0, rounds=3, seconds=0.001)
    assert list(figures) == ["a", "b"]
    for rates, samples in zip(figures.values(), ways.values(), strict=True):
        assert rates[ALONE] > 0
        assert LOADED not in rates
        assert {key // 1_000_000 for key in samples.keys} == {0, 1, 2}
        assert set(range(10)) | {1_000_000, 2_000_000} <= set(samples.keys)


def test_the_verb_measures_pairs_and_keeps_the_cache_where_it_is_told(
    pair_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--patch-size", "64", "--workers", "1", "--rounds", "1", "--seconds", "0.05"]
    options += ["--cache", str(tmp_path / "cache"), "--json", str(tmp_path / "figures.json")]
    assert cli.main(["bench", "data", str(pair_folder), *options]) == 0
    shown = capsys.readouterr().out
    assert "6 images, crops of 64 px" in shown
    assert "times as fast; built in" in shown
    figures = json.loads((tmp_path / "figures.json").read_text())
    rates = figures["crops_per_s"]
    assert figures["speedup"] == rates[CACHED][ALONE] / rates[DECODING][ALONE]
    assert rates[CACHED][LOADED] > 0
    files = list((tmp_path / "cache").glob("*.npy"))
    assert len(files) == 12
    assert figures["mb"][CACHED] == sum(path.stat().st_size for path in files) / 1e6


def test_the_verb_measures_frames_and_leaves_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "scratch").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "scratch"))
    (tmp_path / "clips" / "a").mkdir(parents=True)
    for number in range(9):
        noise = np.random.default_rng(number).integers(0, 256, (40, 40, 3), dtype=np.uint8)
        Image.fromarray(noise).save(tmp_path / "clips" / "a" / f"{number}.png")
    options = ["--patch-size", "32", "--workers", "0", "--rounds", "1", "--seconds", "0.02", "--average", "3"]
    assert cli.main(["bench", "data", f"frames:{tmp_path / 'clips'}", *options]) == 0
    shown = capsys.readouterr().out
    assert "3 images, crops of 32 px" in shown
    assert list((tmp_path / "scratch").iterdir()) == []


def test_what_cannot_be_measured_is_refused(
    pair_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["bench", "data", str(pair_folder), "--rounds", "0"]) == 1
    assert cli.main(["bench", "data", str(tmp_path)]) == 1
    complaints = capsys.readouterr().err
    for words in ("must be above 0", "is empty. Put pairs"):
        assert words in complaints
