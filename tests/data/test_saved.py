"""Saved sets: whole files, the same bytes however often it was interrupted, and nothing of others written over."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from filelock import FileLock

from deblur.data.pairs import find_pairs
from deblur.data.saved import _differing, _signals_left_to_this_process, read_manifest, save_set
from deblur.errors import DataError, DiskFull, FolderInUse, SettingError
from deblur.files import LOCK_FILE
from deblur.images import Rgb8, read_rgb8
from tests.conftest import small_disk
from tests.data.noise import Noise


def verify_set(folder: Path) -> list[str]:
    """A sentence for each file of a set that is missing, differs from its manifest or is too many."""
    manifest = read_manifest(folder)
    if not manifest["finished"]:
        return [f"{folder} is not finished"]
    files = manifest["files"]
    wrong = sorted(_differing(folder, files))
    troubles = [f"{name} {'differs' if (folder / name).exists() else 'is missing'}" for name in wrong]
    there = {path.relative_to(folder).as_posix() for kind in manifest["kinds"] for path in (folder / kind).glob("*")}
    return troubles + [f"{name} is not in the manifest" for name in sorted(there - files.keys())]


def save(folder: Path, count: int = 10, noise: Noise = Noise(), **more: Any) -> dict[str, Any]:
    return save_set(folder, count, noise, {"source": "noise", "seed": noise.seed}, **more)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file but the lock, by its path."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != LOCK_FILE)
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def test_a_set_is_a_pair_folder_with_a_manifest_that_proves_it(tmp_path: Path) -> None:
    manifest = save(tmp_path / "set", 5)
    pairs = find_pairs(tmp_path / "set")
    assert [pair.name for pair in pairs] == [f"00000{i}.png" for i in range(5)]
    for index, pair in enumerate(pairs):
        blurry, sharp = pair.load()
        made = Noise()(index)
        assert np.array_equal(blurry, made["blur"])
        assert np.array_equal(sharp, made["sharp"])
    assert manifest == read_manifest(tmp_path / "set")
    assert manifest["settings"] == {"source": "noise", "seed": 0}
    assert manifest["count"] == 5
    assert manifest["sizes"] == {"24 x 24": 6, "25 x 24": 4}
    assert len(manifest["files"]) == 10
    assert verify_set(tmp_path / "set") == []


def test_the_bytes_do_not_depend_on_the_number_of_workers_and_progress_is_true(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    save(tmp_path / "one")
    save(tmp_path / "two", workers=2, on_done=lambda done, count: told.append((done, count)))
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    assert told == [(done, 10) for done in range(11)]
    other = save(tmp_path / "other", noise=Noise(seed=1))
    assert other["fingerprint"] != read_manifest(tmp_path / "one")["fingerprint"]


def test_what_was_interrupted_goes_on_and_ends_with_the_same_bytes(tmp_path: Path) -> None:
    save(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        save(tmp_path / "set", noise=Noise(ends_at=6))
    assert "not finished" in verify_set(tmp_path / "set")[0]
    left = contents(tmp_path / "set")
    assert "sharp/000005.png" in left
    assert "sharp/000006.png" not in left
    (tmp_path / "set" / "blur" / "000005.png").rename(tmp_path / "set" / "blur" / "000006.png.part")
    made: list[int] = []
    save(tmp_path / "set", on_done=lambda done, count: made.append(done))
    assert made == [5, 6, 7, 8, 9, 10]
    assert contents(tmp_path / "set") == contents(tmp_path / "whole")


@pytest.mark.parametrize("left", [[], [LOCK_FILE], [LOCK_FILE, "manifest.json.part"]])
def test_what_was_interrupted_before_its_manifest_begins_anew(tmp_path: Path, left: list[str]) -> None:
    (tmp_path / "set").mkdir()
    for name in left:
        (tmp_path / "set" / name).write_bytes(b"")
    save(tmp_path / "set")
    save(tmp_path / "whole")
    assert contents(tmp_path / "set") == contents(tmp_path / "whole")


def test_damage_is_named_and_the_same_command_mends_it(tmp_path: Path) -> None:
    save(tmp_path / "set")
    before = contents(tmp_path / "set")
    flipped = bytearray(before["sharp/000003.png"])
    flipped[-20] ^= 1
    (tmp_path / "set" / "sharp" / "000003.png").write_bytes(flipped)
    (tmp_path / "set" / "blur" / "000007.png").unlink()
    (tmp_path / "set" / "blur" / "mine.png").write_bytes(b"")
    assert verify_set(tmp_path / "set") == [
        "blur/000007.png is missing",
        "sharp/000003.png differs",
        "blur/mine.png is not in the manifest",
    ]
    save(tmp_path / "set")
    assert verify_set(tmp_path / "set") == ["blur/mine.png is not in the manifest"]
    assert contents(tmp_path / "set") == {**before, "blur/mine.png": b""}


def test_a_finished_set_is_left_as_it_is(tmp_path: Path) -> None:
    save(tmp_path / "set")
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "set").rglob("*.*")}
    save(tmp_path / "set")
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "set").rglob("*.*")} == times


def test_other_settings_and_other_pixels_are_refused(tmp_path: Path) -> None:
    save(tmp_path / "set")
    before = contents(tmp_path / "set")
    with pytest.raises(DataError, match="count 10 there, 11 asked for; seed 0 there, 1 asked for"):
        save(tmp_path / "set", 11, Noise(seed=1))
    with pytest.raises(DataError, match="another version of this program"):
        save(tmp_path / "set", noise=Noise(side_px=25))
    assert contents(tmp_path / "set") == before


def test_what_belongs_to_others_is_never_written_over(tmp_path: Path, pair_folder: Path) -> None:
    foreign = Path(shutil.copytree(pair_folder, tmp_path / "pairs"))
    with pytest.raises(DataError, match="holds other files"):
        save(foreign)
    assert contents(foreign) == contents(pair_folder)
    assert not (foreign / LOCK_FILE).exists()
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "manifest.json").write_text('{"name": "an app"}')
    with pytest.raises(DataError, match="cannot be read"):
        save(tmp_path / "app")
    assert contents(tmp_path / "app") == {"manifest.json": b'{"name": "an app"}'}
    (tmp_path / "file").write_text("text")
    with pytest.raises(DataError, match="cannot be made a folder"):
        save(tmp_path / "file")
    with pytest.raises(DataError, match="holds no saved set"):
        verify_set(tmp_path)
    with pytest.raises(SettingError, match="1 or more"):
        save(tmp_path / "none", 0)


def test_a_second_writer_is_refused(tmp_path: Path) -> None:
    save(tmp_path / "set", 2)
    with FileLock(tmp_path / "set" / LOCK_FILE), pytest.raises(FolderInUse, match="Another process saves into"):
        save(tmp_path / "set", 2)


def test_a_set_that_will_not_fit_is_not_begun(tmp_path: Path) -> None:
    noise = Noise(side_px=100)
    with small_disk(tmp_path / "disk", kilobytes=2_000) as disk:
        with pytest.raises(DiskFull, match=r"100 samples need about [\d.]+ MB, and 2\.0 MB are free"):
            save(disk / "set", 100, noise)
        assert not (disk / "set" / "sharp").exists()
        save(disk / "small", 10, noise)
        assert verify_set(disk / "small") == []


def test_a_disk_that_others_fill_meanwhile_loses_nothing(tmp_path: Path) -> None:
    noise = Noise(side_px=100)
    save(tmp_path / "whole", 20, noise)
    with small_disk(tmp_path / "disk", kilobytes=2_000) as disk:

        def fill(done: int, count: int) -> None:
            if done == 5:
                (disk / "filler").write_bytes(bytes(shutil.disk_usage(disk).free - 50_000))

        with pytest.raises(DiskFull, match="make room"):
            save(disk / "set", 20, noise, on_done=fill)
        (disk / "filler").unlink()
        save(disk / "set", 20, noise)
        assert contents(disk / "set") == contents(tmp_path / "whole")


def test_a_worker_that_dies_is_told_and_what_it_leaves_goes_on(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="worker process ended"):
        save(tmp_path / "set", 40, Noise(dies_at=30), workers=2)
    save(tmp_path / "set", 40)
    save(tmp_path / "whole", 40)
    assert contents(tmp_path / "set") == contents(tmp_path / "whole")


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_in_a_worker_comes_out_as_itself(tmp_path: Path, workers: int) -> None:
    with pytest.raises(DataError, match=r"^7 cannot be made\."):
        save(tmp_path / "set", 40, Noise(fails_at=7), workers=workers)


def test_saving_is_lossless_and_quick(tmp_path: Path, photos: dict[str, Any]) -> None:
    class Photo:
        def __call__(self, index: int) -> dict[str, Rgb8]:
            pixels: Rgb8 = photos["astronaut"].pixels
            return {"sharp": pixels}

    started = time.perf_counter()
    save_set(tmp_path / "set", 4, Photo(), {})
    assert time.perf_counter() - started < 5, "measured: 0.3 s"
    assert np.array_equal(read_rgb8(tmp_path / "set" / "sharp" / "000003.png"), photos["astronaut"].pixels)


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_ctrl_c_while_a_worker_starts_is_obeyed_and_does_not_reach_it() -> None:
    said = []

    def interrupted() -> None:
        with _signals_left_to_this_process():
            program = "import os, signal; os.kill(os.getpid(), signal.SIGINT); print('alive')"
            os.kill(os.getpid(), signal.SIGINT)
            said.append(subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False))

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert said[0].stdout == "alive\n"
