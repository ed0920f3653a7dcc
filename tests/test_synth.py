"""``deblur synth``: leaves, photos and frames as sets on disk, refused in sentences, killed and finished."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from shlex import split

import numpy as np
import pytest
from PIL import Image

from deblur.cli import main
from deblur.cli.synth import averaged, sequences_in
from deblur.data.pairs import find_pairs
from deblur.data.photos import SharpPhoto
from deblur.data.saved import verify_set
from deblur.errors import DataError
from deblur.images import from_rgb8, read_rgb8
from deblur.metrics import psnr_db
from deblur.synthesis.degrade import to_linear, to_srgb
from deblur.synthesis.leaves import dead_leaves
from tests.data.test_saved import contents


@pytest.fixture(scope="module")
def photo_folder(tmp_path_factory: pytest.TempPathFactory, photos: dict[str, SharpPhoto]) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    for name in ("astronaut", "coffee", "chelsea"):
        Image.fromarray(photos[name].pixels).save(folder / f"{name}.png")
    Image.fromarray(photos["moon"].pixels[:50, :50]).save(folder / "tiny.png")
    return folder


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory, photos: dict[str, SharpPhoto]) -> Path:
    """Two sequences of a camera that moves 2 px a frame: 11 frames, named without leading zeros, and 8."""
    top = tmp_path_factory.mktemp("frames")
    for sequence, name, count in (("a", "astronaut", 11), ("b", "coffee", 8)):
        (top / sequence).mkdir()
        for i in range(count):
            frame = photos[name].pixels[100:180, 100 + 2 * i : 220 + 2 * i]
            Image.fromarray(frame).save(top / sequence / f"im{i + 1}.png")
    return top


def test_leaves_alone_are_those_of_seed_and_index(tmp_path: Path) -> None:
    assert main(["synth", str(tmp_path / "s"), "leaves", *split("--count 4 --size 64 --seed 3 --sharp-only")]) == 0
    assert sorted(p.name for p in (tmp_path / "s").iterdir() if p.is_dir()) == ["sharp"]
    for i in range(4):
        expected = dead_leaves(np.random.default_rng((3, i)), 64, 64)
        assert np.array_equal(read_rgb8(tmp_path / "s" / "sharp" / f"{i:06}.png"), expected)


@pytest.mark.parametrize("source", ["leaves", "photos"])
def test_pairs_are_aligned_and_the_blurry_one_is_worse(
    tmp_path: Path, photo_folder: Path, source: str, capsys: pytest.CaptureFixture[str]
) -> None:
    what = "leaves" if source == "leaves" else str(photo_folder)
    assert main(["synth", str(tmp_path / "s"), what, *split("--count 4 --size 96 --workers 1")]) == 0
    assert "4 samples (blur and sharp) of 96 x 96 px" in capsys.readouterr().out
    for pair in find_pairs(tmp_path / "s"):
        blurry, sharp = pair.load()
        assert blurry.shape == sharp.shape == (96, 96, 3)
        here = psnr_db(blurry, sharp)
        assert here < 45
        assert all(psnr_db(np.roll(blurry, s, (0, 1)), sharp) < here for s in ((0, 4), (4, 0), (0, -4), (-4, 0)))


def test_photos_take_turns_and_small_ones_are_left_out(tmp_path: Path, photo_folder: Path) -> None:
    assert main(["synth", str(tmp_path / "s"), str(photo_folder), *split("--size 96 --sharp-only --workers 1")]) == 0
    crops = [read_rgb8(path) for path in sorted((tmp_path / "s" / "sharp").iterdir())]
    assert len(crops) == 3
    for crop, name in zip(crops, ("astronaut", "chelsea", "coffee"), strict=True):
        photo = read_rgb8(photo_folder / f"{name}.png")
        windows = np.lib.stride_tricks.sliding_window_view(photo, (96, 96, 3))[:, :, 0]
        assert any(np.array_equal(window, crop) for window in windows[(windows[..., 0, 0, :] == crop[0, 0]).all(-1)])


def test_frames_are_averaged_around_their_centre(tmp_path: Path, frames: Path) -> None:
    assert main(["synth", str(tmp_path / "s"), str(frames), *split("--average 5 --workers 1")]) == 0
    pairs = find_pairs(tmp_path / "s")
    assert len(pairs) == 3, "two of 11 frames, one of 8"
    for pair, (sequence, first) in zip(pairs, (("a", 1), ("a", 6), ("b", 1)), strict=True):
        blurry, sharp = pair.load()
        window = [read_rgb8(frames / sequence / f"im{first + i}.png") for i in range(5)]
        assert np.array_equal(sharp, window[2])
        assert np.array_equal(blurry, np.rint(np.mean(window, axis=0)))
    assert (
        main(["synth", str(tmp_path / "one"), str(frames / "b"), *split("--average 3 --stride 1 --linear --workers 1")])
        == 0
    )
    assert len(find_pairs(tmp_path / "one")) == 6
    blurry, _ = find_pairs(tmp_path / "one")[0].load()
    window = [from_rgb8(read_rgb8(frames / "b" / f"im{i}.png")) for i in (1, 2, 3)]
    assert np.abs(from_rgb8(blurry) - to_srgb(np.mean([to_linear(f) for f in window], axis=0))).max() < 0.6 / 255
    assert main(["synth", str(tmp_path / "few"), str(frames), *split("--average 3 --count 2 --workers 1")]) == 0
    assert len(find_pairs(tmp_path / "few")) == 2


def test_linear_light_and_encoded_values_differ_where_they_should() -> None:
    """Half the time white, half black: light halves, which the eye's curve shows at 188; encoded values at 128."""
    black, white = np.zeros((4, 4, 3), np.uint8), np.full((4, 4, 3), 255, np.uint8)
    assert (averaged([black, white], linear=False) == 128).all()
    assert (averaged([black, white], linear=True) == 188).all()
    assert (averaged([white] * 3, linear=True) == 255).all()
    with pytest.raises(DataError, match="another size"):
        averaged([black, white[:2]], linear=False)


def test_frames_are_in_the_order_of_their_numbers(tmp_path: Path, frames: Path) -> None:
    assert [path.stem for path in sequences_in(frames)[0]] == [f"im{i}" for i in range(1, 12)]
    for name in ("0009.png", "10.png", "8.png"):
        Image.new("RGB", (8, 8)).save(tmp_path / name)
    assert [path.name for path in sequences_in(tmp_path)[0]] == ["8.png", "0009.png", "10.png"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["/nowhere"], "holds no photos"),
        (["/nowhere", "--average", "7"], "is not a folder"),
        (["FRAMES", "--average", "4"], "an odd number of frames"),
        (["FRAMES", "--average", "13"], "holds no sequence of 13 frames"),
        (["FRAMES", "--average", "5", "--size", "64"], "say nothing about frames"),
        (["leaves", "--linear"], "need --average"),
        (["leaves", "--size", "0"], "must be at least 8"),
        (["leaves", "--count", "0"], "must be 1 or more"),
        (["FRAMES", "--average", "3", "--count", "-1"], "must be 1 or more"),
        (["OUT/..", "--average", "3"], "a source of itself"),
        (["PHOTOS", "--size", "500"], "No photo in"),
    ],
)
def test_what_makes_no_set_is_told_in_a_sentence(
    arguments: list[str],
    sentence: str,
    tmp_path: Path,
    frames: Path,
    photo_folder: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    named = {"OUT/..": str(tmp_path), "FRAMES": str(frames), "PHOTOS": str(photo_folder)}
    assert main(["synth", str(tmp_path / "s"), *(named.get(word, word) for word in arguments)]) == 1
    assert sentence in capsys.readouterr().err.replace("\n", " ")
    assert not (tmp_path / "s").exists()


def is_running(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.skipif(os.name == "nt", reason="SIGKILL")
def test_a_command_that_is_killed_again_and_again_ends_with_the_same_bytes(tmp_path: Path) -> None:
    """Every second time in the middle of a write; started again at once, while workers of the last may still live."""
    kills = int(os.environ.get("DEBLUR_KILLS", "3"))
    words = ["leaves", *split(f"--count {100 * kills} --size 48 --sharp-only")]
    assert main(["synth", str(tmp_path / "whole"), *words, "--workers", "1"]) == 0
    command = [sys.executable, "-m", "deblur", "synth", str(tmp_path / "s"), *words, "--workers", "2"]
    rng, groups, saved = np.random.default_rng(kills), [], [0]
    sharp = tmp_path / "s" / "sharp"
    for kill in range(kills):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True)
        groups.append(process.pid)
        enough = saved[-1] + int(rng.integers(0, 50))
        while process.poll() is None:
            there = len(list(sharp.glob("*.png")))
            if there > enough and (kill % 2 or there > enough + 30 or list(sharp.glob("*.part"))):
                break
        process.kill()
        assert process.wait() == -signal.SIGKILL
        saved.append(len(list(sharp.glob("*.png"))))
    assert 0 < saved[-1] < 100 * kills, saved
    assert saved == sorted(saved), "nothing that was saved is lost"
    assert "not finished" in verify_set(tmp_path / "s")[0]
    assert subprocess.run(command, stdout=subprocess.DEVNULL, check=False).returncode == 0
    assert contents(tmp_path / "s") == contents(tmp_path / "whole")
    deadline = time.monotonic() + 5
    while any(map(is_running, groups)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(is_running, groups)), "workers end with the command that started them"


@pytest.mark.skipif(os.name == "nt", reason="signals")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, -signal.SIGTERM)])
def test_ctrl_c_and_sigterm_end_it_without_a_traceback(tmp_path: Path, number: signal.Signals, code: int) -> None:
    """The signal goes to the workers, too, as Ctrl-C in a terminal does."""
    command = [
        sys.executable,
        "-m",
        "deblur",
        "synth",
        str(tmp_path / "s"),
        *split("leaves --count 5000 --sharp-only"),
    ]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    while len(list((tmp_path / "s" / "sharp").glob("*.png"))) < 3:
        assert process.poll() is None
        time.sleep(0.01)
    os.killpg(process.pid, number)
    _, error = process.communicate(timeout=20)
    assert process.returncode == code
    assert "Traceback" not in error
