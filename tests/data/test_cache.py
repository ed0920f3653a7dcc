"""The decoded cache: the same samples, faster; whole after any kill, shared by builders, never stale, never half."""

import multiprocessing
import os
import pickle
import shutil
import time
from collections import namedtuple
from dataclasses import replace
from multiprocessing.process import BaseProcess
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from deblur.data import cache, hashes
from deblur.data.batches import collate
from deblur.data.cache import CachedPair, cached, cached_photos, disk_bytes
from deblur.data.crops import RunOrder
from deblur.data.frames import find_frames
from deblur.data.pair_crops import PairCrops
from deblur.data.pairs import ImageFile, PairFiles, find_pairs, fingerprint
from deblur.data.pixel_file import is_whole
from deblur.errors import DataError, DiskFull, SettingError
from tests.conftest import small_disk

Usage = namedtuple("Usage", "total used free")


@pytest.fixture
def pairs(pair_folder: Path, tmp_path: Path) -> list[PairFiles]:
    """A copy of the real pairs, last changed long ago."""
    found = find_pairs(Path(shutil.copytree(pair_folder, tmp_path / "pairs")))
    for pair in found:
        for path in (pair.blurry, pair.sharp):
            os.utime(path, (1e9, 1e9))
    return found


def assert_same_pixels(pair: CachedPair, expected: PairFiles) -> None:
    for image, other in zip(pair.load(), expected.load(), strict=True):
        assert np.array_equal(image, other)


def pixel_files(folder: Path) -> dict[str, int]:
    """Every cache file with its inode, which a rewrite would change."""
    return {path.name: path.stat().st_ino for path in folder.glob("*.npy")}


def test_samples_are_the_same_bits_also_in_loader_processes(pairs: list[PairFiles], tmp_path: Path) -> None:
    ready, left_out = cached(pairs, tmp_path / "cache")
    assert left_out == []
    assert [pair.name for pair in ready] == [pair.name for pair in pairs]
    assert fingerprint(ready) == fingerprint(pairs)
    plain, fast = PairCrops(pairs, 96, seed=3), PairCrops(ready, 96, seed=3)
    order = RunOrder(24, 4)
    for workers in (0, 2):
        loaders = (
            DataLoader(fast, 4, sampler=order, num_workers=workers, collate_fn=collate),
            DataLoader(plain, 4, sampler=order, collate_fn=collate),
        )
        for ours, theirs in zip(*loaders, strict=True):
            assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True) if a is not None)


def test_pixels_are_read_only_maps_and_travel_as_paths(pairs: list[PairFiles], tmp_path: Path) -> None:
    ready, _ = cached(pairs, tmp_path / "cache")
    assert len(pickle.dumps(ready[0])) < 2000
    for image in pickle.loads(pickle.dumps(ready[0])).load():
        assert not image.flags.writeable
        assert not image.flags.owndata
        assert np.array_equal(image, np.load(ready[0].images[0].path)) or np.array_equal(
            image, np.load(ready[0].images[1].path)
        )
    pixels = sum(image.nbytes for pair in ready for image in pair.load())
    assert 0 <= disk_bytes(i for pair in ready for i in pair.images) - pixels <= 128 * 2 * len(ready)


def test_what_is_there_is_neither_hashed_nor_decoded_again(
    pairs: list[PairFiles], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[str, int, int]] = []
    cached(pairs[:4], tmp_path / "cache", lambda *progress: told.append(progress))
    assert told == [(what, n, 8) for what in ("hashed", "decoded") for n in range(1, 9)]
    told.clear()
    cached(pairs, tmp_path / "cache", lambda *progress: told.append(progress))
    assert told == [(what, n, 4) for what in ("hashed", "decoded") for n in range(1, 5)], "only what is new"
    monkeypatch.setattr(hashes, "sha256_of", None)
    monkeypatch.setattr(cache, "_build", None)
    ready, _ = cached(pairs, tmp_path / "cache")
    assert_same_pixels(ready[3], pairs[3])


def test_a_changed_file_gives_its_new_pixels(pairs: list[PairFiles], tmp_path: Path) -> None:
    before, _ = cached(pairs, tmp_path / "cache")
    old = before[0].load()[0].copy()
    ahead = time.time() + 60
    sizes = set()
    for turn, changed_s in enumerate((1e9, 1e9 + 1, ahead, ahead), 1):  # at last twice in the same moment
        changed = np.full_like(old, turn)
        Image.fromarray(changed).save(pairs[0].blurry, format="BMP")  # not compressed
        os.utime(pairs[0].blurry, (changed_s, changed_s))
        sizes.add(pairs[0].blurry.stat().st_size)
        ready, _ = cached(pairs, tmp_path / "cache")
        assert np.array_equal(ready[0].load()[0], changed)
    assert len(sizes) == 1, "the size told nothing"
    assert np.array_equal(before[0].load()[0], old), "whoever trains on the old ones keeps them"


def test_equal_images_share_a_file_and_other_makings_do_not(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / "clips" / name).mkdir(parents=True)
        for number in range(3):
            rng = np.random.default_rng(number)
            Image.fromarray(rng.integers(0, 256, (20, 20, 3), dtype=np.uint8)).save(
                tmp_path / "clips" / name / f"{number}.png"
            )
    encoded, _ = cached(find_frames(tmp_path / "clips", 3), tmp_path / "cache")
    light, _ = cached(find_frames(tmp_path / "clips", 3, linear=True), tmp_path / "cache")
    assert len(pixel_files(tmp_path / "cache")) == 3, "two means and a centre frame"
    for ready, linear in ((encoded, False), (light, True)):
        for pair, source in zip(ready, find_frames(tmp_path / "clips", 3, linear), strict=True):
            assert all(map(np.array_equal, pair.load(), source.load()))
    photos, _ = cached_photos([ImageFile("centre", tmp_path / "clips" / "a" / "1.png")], tmp_path / "cache")
    assert photos[0].name == "centre"
    assert np.array_equal(photos[0].load(), encoded[0].load()[1])
    assert len(pixel_files(tmp_path / "cache")) == 3


def test_a_damaged_file_is_named_when_read_and_made_anew(pairs: list[PairFiles], tmp_path: Path) -> None:
    ready, _ = cached(pairs, tmp_path / "cache")
    before = pixel_files(tmp_path / "cache")
    whole = [image.path for pair in ready[:3] for image in pair.images][:5]
    data = [path.read_bytes() for path in whole]
    whole[0].write_bytes(data[0][:-1])
    whole[1].write_bytes(data[1] + b"\0")
    whole[2].write_bytes(b"")
    whole[3].write_bytes(b"\x93NUMPY" + data[3][6:50])
    whole[4].unlink()
    for path in whole:
        with pytest.raises(DataError, match=r"is damaged or gone\. Give the same command again"):
            replace(ready[0].images[0], path=path).load()
    again, _ = cached(pairs, tmp_path / "cache")
    assert [path.read_bytes() for path in whole] == data
    after = pixel_files(tmp_path / "cache")
    assert {name for name in before if after[name] != before[name]} <= {path.name for path in whole}
    for pair, expected in zip(again, pairs, strict=True):
        assert_same_pixels(pair, expected)
    whole[0].write_bytes(data[0][:200])  # while this process has it mapped
    again, _ = cached(pairs, tmp_path / "cache")
    assert_same_pixels(again[0], pairs[0])


@pytest.mark.parametrize("index", [b"", b"[1, 2]", b'{"a": [1]}', b'{"a"', b'{"a": 3}', b"\xff"])
def test_a_damaged_index_costs_hashing_only(pairs: list[PairFiles], tmp_path: Path, index: bytes) -> None:
    cached(pairs[:1], tmp_path / "cache")
    before = pixel_files(tmp_path / "cache")
    (tmp_path / "cache" / "index.json").write_bytes(index)
    ready, _ = cached(pairs[:1], tmp_path / "cache")
    assert_same_pixels(ready[0], pairs[0])
    assert pixel_files(tmp_path / "cache") == before


def test_broken_pairs_are_left_out_up_to_a_cap(pairs: list[PairFiles], tmp_path: Path) -> None:
    pairs[0].blurry.write_bytes(pairs[0].blurry.read_bytes()[:2000])
    Image.new("RGB", (50, 50)).save(pairs[1].sharp)
    pairs[2].sharp.unlink()
    ready, left_out = cached(pairs, tmp_path / "cache", at_most=3)
    assert [pair.name for pair in ready] == [pair.name for pair in pairs[3:]]
    assert [pairs[0].name in left_out[0], "differ in size" in left_out[1], "cannot be read" in left_out[2]] == [
        True
    ] * 3
    with pytest.raises(DataError, match=r"3 pairs are broken, 2 may be left out"):
        cached(pairs, tmp_path / "cache", at_most=2)
    with pytest.raises(DataError, match=r"1 photos are broken"):
        cached_photos([ImageFile("x", pairs[0].blurry)], tmp_path / "cache")


def test_a_file_that_changes_while_it_is_read_is_not_taken(
    pairs: list[PairFiles], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = hashes.sha256_of

    def hashed_before_a_change(file: Path) -> str:
        sha = real(file)
        if file == pairs[0].sharp:
            shutil.copy(pairs[1].sharp, file)
        return sha

    monkeypatch.setattr(hashes, "sha256_of", hashed_before_a_change)
    _, (sentence,) = cached(pairs, tmp_path / "cache", at_most=1)
    assert f"{pairs[0].sharp} changed while it was read" in sentence


def test_room_is_checked_before_anything_is_decoded(
    pairs: list[PairFiles], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "cache"
    needed = sum(-(-(image.nbytes + 128) // 4096) * 4096 for pair in pairs for image in pair.load())
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(0, 0, needed - 1))
    with pytest.raises(DiskFull, match=r"needs 0\.00 GB more, and 0\.00 GB are free\. Make room, choose a folder"):
        cached(pairs, folder)
    assert pixel_files(folder) == {}
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(0, 0, needed))
    cached(pairs, folder)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(0, 0, 0))
    cached(pairs, folder)  # nothing is missing, nothing is needed


def test_a_disk_that_fills_meanwhile_is_told_and_what_is_there_is_whole(
    pairs: list[PairFiles], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with small_disk(tmp_path / "disk", 700) as disk:
        with monkeypatch.context() as fooled:
            fooled.setattr(shutil, "disk_usage", lambda path: Usage(0, 0, 10**9))
            with pytest.raises(DiskFull):
                cached(pairs, disk)
        assert list((disk / "parts").iterdir()) == []
        assert all(np.load(path).shape[2] == 3 for path in disk.glob("*.npy"))


def test_a_place_that_cannot_be_one_is_refused(pairs: list[PairFiles], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SettingError, match="Choose another folder"):
        cached(pairs, tmp_path / "file")


def build(folder: Path, cache_folder: Path) -> None:
    """What a process of its own does, to be killed."""
    cached(find_pairs(folder), cache_folder)


class Builders:
    """Starts builders from a process that has imported torch already."""

    def __init__(self) -> None:
        self.context = multiprocessing.get_context("forkserver")
        self.context.set_forkserver_preload(["tests.data.test_cache"])

    def start(self, folder: Path, cache_folder: Path) -> BaseProcess:
        process = self.context.Process(target=build, args=(folder, cache_folder))
        process.start()
        return process


@pytest.fixture
def many(pairs: list[PairFiles], tmp_path: Path) -> Path:
    """Forty pairs, all different."""
    folder = tmp_path / "many"
    for kind in ("blur", "sharp"):
        (folder / kind).mkdir(parents=True)
    for number in range(40):
        blurry, sharp = pairs[number % len(pairs)].load()
        for kind, image in (("blur", blurry), ("sharp", sharp)):
            Image.fromarray(image ^ np.uint8(number)).save(folder / kind / f"{number}.png")
    return folder


@pytest.mark.skipif(os.name == "nt", reason="SIGKILL")
def test_a_build_that_is_killed_again_and_again_is_whole_and_goes_on(many: Path, tmp_path: Path) -> None:
    builders, rng = Builders(), np.random.default_rng(1)
    folder, kills, partly, in_writes = tmp_path / "cache", 0, 0, 0
    while kills < 8:
        process = builders.start(many, folder)
        at_least = rng.integers(1, 40)  # files more than there were, then a moment
        before = len(pixel_files(folder))
        while process.is_alive() and len(pixel_files(folder)) < before + at_least:
            time.sleep(0.0005)
        time.sleep(rng.uniform(0, 0.003))
        process.kill()
        process.join()
        kills += 1
        in_writes += any((folder / "parts").glob("*.part"))
        partly += 0 < len(pixel_files(folder)) < 80
        assert all(is_whole(path) for path in folder.glob("*.npy")), "no half file under its name"
        kept = pixel_files(folder)
        if len(kept) == 80:
            shutil.rmtree(folder)
    assert partly > 0
    assert in_writes > 0
    ready, _ = cached(find_pairs(many), folder)
    for pair, expected in zip(ready, find_pairs(many), strict=True):
        assert_same_pixels(pair, expected)
    assert kept.items() <= pixel_files(folder).items() or len(kept) == 80, "what was built is kept"


def test_what_killed_builders_left_goes_after_an_hour(pairs: list[PairFiles], tmp_path: Path) -> None:
    cached(pairs[:1], tmp_path / "cache")
    old, young = (tmp_path / "cache" / "parts" / name for name in ("old.npy.part", "young.npy.part"))
    for part in (old, young):
        part.touch()
    os.utime(old, (time.time() - 4000,) * 2)
    cached(pairs[:1], tmp_path / "cache")
    assert young.exists()
    assert not old.exists()


def test_builders_at_once_do_each_other_no_harm(many: Path, tmp_path: Path) -> None:
    builders, folder = Builders(), tmp_path / "cache"
    processes = [builders.start(many, folder) for _ in range(3)]
    for process in processes:
        process.join()
        assert process.exitcode == 0
    assert list((folder / "parts").iterdir()) == []
    assert len(pixel_files(folder)) == 80
    ready, _ = cached(find_pairs(many), folder)
    for pair, expected in zip(ready, find_pairs(many), strict=True):
        assert_same_pixels(pair, expected)
