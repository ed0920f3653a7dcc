"""``deblur synth``: leaves, photos and frames as sets on disk, refused in sentences, killed and finished."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from shlex import split

import numpy as np
import pytest
from PIL import Image

from deblur.cli import main
from deblur.data.crops import Key
from deblur.data.doctor import examine, examine_folder
from deblur.data.pairs import find_pairs
from deblur.data.photos import SharpPhoto
from deblur.data.saved import law_of
from deblur.data.sources import Reading, SourceName, open_source
from deblur.images import read_rgb8
from deblur.synthesis.draw import BlurRanges
from deblur.synthesis.kernels import SYNTHESIS
from deblur.synthesis.leaf_pictures import dead_leaves
from tests.data.test_saved import contents, verify_set


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


def synth(out: Path, source: object, arguments: str = "") -> int:
    return main(["synth", str(out), str(source), *split(arguments)])


def test_leaves_alone_are_those_of_seed_and_index(tmp_path: Path) -> None:
    assert synth(tmp_path / "s", "leaves", "--count 4 --size 64 --seed 3 --sharp-only") == 0
    assert sorted(p.name for p in (tmp_path / "s").iterdir() if p.is_dir()) == ["sharp"]
    for i in range(4):
        expected = dead_leaves(np.random.default_rng((3, i)), 64, 64)
        assert np.array_equal(read_rgb8(tmp_path / "s" / "sharp" / f"{i:06}.png"), expected)


def test_what_is_saved_is_what_a_training_draws(
    tmp_path: Path, photo_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for source in ("leaves", f"photos:{photo_folder}"):
        out = tmp_path / source[:6]
        assert synth(out, source, "--count 4 --size 96 --workers 1 --severity 0.7 --seed 5") == 0
        assert "4 samples (blur and sharp) of 96 x 96 px" in capsys.readouterr().out
        crops = open_source(SourceName.parse(source), Reading()).crops(96, 5, BlurRanges())
        for number, pair in enumerate(find_pairs(out)):
            drawn = crops[Key(number, 0.7)]
            assert all(
                np.array_equal(a, b.numpy().transpose(1, 2, 0)) for a, b in zip(pair.load(), drawn[:2], strict=True)
            )


def test_a_saved_set_trains_as_pairs_and_as_photos(tmp_path: Path) -> None:
    assert synth(tmp_path / "pairs", "leaves", "--count 2 --size 32 --workers 1") == 0
    assert SourceName.parse(str(tmp_path / "pairs")).kind == "pairs"
    assert synth(tmp_path / "leaves", "leaves", "--count 2 --size 32 --sharp-only --workers 1") == 0
    assert len(open_source(SourceName.parse(f"photos:{tmp_path / 'leaves'}"), Reading()).photos) == 2


def test_frames_are_averaged_around_their_centre(tmp_path: Path, frames: Path) -> None:
    assert synth(tmp_path / "s", f"frames:{frames}", "--average 5 --workers 1") == 0
    pairs = find_pairs(tmp_path / "s")
    assert len(pairs) == 3, "two of 11 frames, one of 8"
    for pair, (sequence, first) in zip(pairs, (("a", 1), ("a", 6), ("b", 1)), strict=True):
        blurry, sharp = pair.load()
        window = [read_rgb8(frames / sequence / f"im{first + i}.png") for i in range(5)]
        assert np.array_equal(sharp, window[2])
        assert np.array_equal(blurry, np.rint(np.mean(window, axis=0)))
    assert synth(tmp_path / "few", f"frames:{frames}", "--average 3 --count 2 --linear --workers 1") == 0
    assert len(find_pairs(tmp_path / "few")) == 2


@pytest.mark.parametrize(
    ("source", "arguments", "sentence"),
    [
        ("photos:/nowhere", "", "is not a folder"),
        ("frames:/nowhere", "", "is not a folder"),
        ("frames:FRAMES", "--average 4", "no centre frame"),
        ("frames:FRAMES", "--average 13", "fewer than the 13 frames"),
        ("leaves", "--size 0", "must be at least 8"),
        ("leaves", "--count 0", "must be at least 8, 0 and 1"),
        ("photos:OUT", "", "a source of itself"),
        ("pairs:/nowhere", "", "holds pairs already"),
    ],
)
def test_what_makes_no_set_is_told_in_a_sentence(
    source: str, arguments: str, sentence: str, tmp_path: Path, frames: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    named = source.replace("OUT", str(tmp_path)).replace("FRAMES", str(frames))
    assert synth(tmp_path / "s", named, arguments) == 1
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


def stopped(out: Path, saved: int, *signals: tuple[float, signal.Signals]) -> tuple[int, str, str]:
    """How ``deblur synth`` ends, and what it prints, after signals that come once ``saved`` samples are there.

    They go to the workers, too, as Ctrl-C in a terminal does. The end is that of all processes: each holds the pipes.
    """
    words = split("leaves --count 5000 --size 48 --sharp-only --workers 2")
    command = [sys.executable, "-m", "deblur", "synth", str(out), *words]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, start_new_session=True) as process:
        try:
            while not (out / "sharp").is_dir() or len(list((out / "sharp").glob("*.png"))) < saved:
                assert process.poll() is None
                time.sleep(0.01)
            for after_s, number in signals:
                time.sleep(after_s)
                os.killpg(process.pid, number)
            said, error = process.communicate(timeout=60)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    return process.returncode, said, error


def stopping(out: Path) -> str:
    return f"stopping; what is saved is in {out}: the same command goes on"


@pytest.mark.skipif(os.name == "nt", reason="signals")
@pytest.mark.parametrize("saved", [0, 3])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_and_sigterm_end_it_with_a_line(tmp_path: Path, number: signal.Signals, saved: int) -> None:
    """Also while the workers start."""
    out = tmp_path / "s"
    assert stopped(out, saved, (0, number)) == (128 + number, f"{stopping(out)}\n", "")


@pytest.mark.skipif(os.name == "nt", reason="signals")
@pytest.mark.parametrize(("saved", "after_s"), [(0, 0.05), (0, 1), (3, 0.05), (3, 0.3)])
def test_a_second_ctrl_c_ends_it_whatever_it_does(tmp_path: Path, saved: int, after_s: float) -> None:
    out = tmp_path / "s"
    code, said, error = stopped(out, saved, (0, signal.SIGINT), (after_s, signal.SIGINT))
    assert code in (130, -signal.SIGINT), "a shell calls both 130"
    assert (set(said.splitlines()), error) == ({stopping(out)}, "")


def test_a_set_of_another_law_is_told_and_not_gone_on_with(
    tmp_path: Path, photo_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A set saved before laws were written down is of the first."""
    out, arguments = tmp_path / "s", "--count 2 --size 64 --workers 1"
    assert synth(out, f"photos:{photo_folder}", arguments) == 0
    assert law_of(out) == SYNTHESIS
    assert not any(finding.kind == "older_synthesis" for finding in examine_folder(out).findings)
    manifest = json.loads((out / "manifest.json").read_text())
    del manifest["settings"]["synthesis"]
    (out / "manifest.json").write_text(json.dumps(manifest))
    assert law_of(out) == 1
    (told,) = (
        finding for finding in examine(find_pairs(out), quick=True).findings if finding.kind == "older_synthesis"
    )
    assert "law 1" in told.text
    capsys.readouterr()
    assert synth(out, f"photos:{photo_folder}", arguments) == 1
    assert f"synthesis not said there, {SYNTHESIS} asked for" in " ".join(capsys.readouterr().err.split())
    assert synth(tmp_path / "sharp", f"photos:{photo_folder}", f"{arguments} --sharp-only") == 0
    assert law_of(tmp_path / "sharp") is None
