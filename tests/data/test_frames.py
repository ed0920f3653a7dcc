"""Frame sequences: found however they nest, averaged as by hand, problems named."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from deblur.data.frames import find_frames, mean_of
from deblur.data.pairs import fingerprint
from deblur.errors import DataError, SettingError


def write_sequence(folder: Path, count: int, first: int = 1) -> list[np.ndarray]:
    """``count`` frames of noise, im1.png, im2.png, ...; returns their pixels."""
    rng = np.random.default_rng(count)
    folder.mkdir(parents=True)
    frames = [rng.integers(0, 256, (12, 16, 3), dtype=np.uint8) for _ in range(count)]
    for number, frame in enumerate(frames, first):
        Image.fromarray(frame).save(folder / f"im{number}.png")
    return frames


def test_a_vimeo_septuplet_is_one_pair_with_the_fourth_frame_sharp(tmp_path: Path) -> None:
    frames = write_sequence(tmp_path / "sequences" / "00001" / "0001", 7)
    write_sequence(tmp_path / "sequences" / "00001" / "0002", 7)
    (tmp_path / "sep_trainlist.txt").write_text("00001/0001\n")
    pairs = find_frames(tmp_path)
    assert [pair.name for pair in pairs] == [f"sequences/00001/000{n}/im4.png" for n in (1, 2)]
    blurry, sharp = pairs[0].load()
    assert np.array_equal(sharp, frames[3])
    assert np.array_equal(blurry, np.rint(np.mean(frames, axis=0)))


def test_frames_are_taken_in_natural_order_and_none_twice(tmp_path: Path) -> None:
    frames = write_sequence(tmp_path / "clip", 11)
    pairs = find_frames(tmp_path / "clip", average=3)
    assert [pair.name for pair in pairs] == ["im2.png", "im5.png", "im8.png"]
    assert [path.name for path in pairs[2].frames] == ["im7.png", "im8.png", "im9.png"]
    assert np.array_equal(pairs[2].load()[1], frames[7])


def test_light_is_averaged_where_asked_for(tmp_path: Path) -> None:
    """Half the time black, half white: encoded 127.5, but half the light is 188."""
    black, white = np.zeros((2, 2, 3), np.uint8), np.full((2, 2, 3), 255, np.uint8)
    assert (mean_of([black, white], linear=True) == 188).all()
    assert (mean_of([black, white, white]) == 170).all()
    frames = write_sequence(tmp_path / "clip", 3)
    (pair,) = find_frames(tmp_path, average=3, linear=True)
    scaled = np.stack(frames) / 255
    light = np.where(scaled <= 0.04045, scaled / 12.92, ((scaled + 0.055) / 1.055) ** 2.4).mean(axis=0)
    by_hand = 255 * np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)
    assert np.abs(pair.load()[0] - by_hand).max() < 0.501
    assert np.array_equal(pair.load()[0], pair.images[0].load())


@given(st.lists(st.integers(0, 255), min_size=1, max_size=15).filter(lambda x: len(x) % 2 == 1), st.booleans())
def test_a_mean_lies_between_its_frames_and_ignores_their_order(values: list[int], linear: bool) -> None:
    frames = [np.full((1, 1, 3), value, np.uint8) for value in values]
    mean = mean_of(frames, linear)
    assert min(values) <= mean[0, 0, 0] <= max(values)
    assert np.array_equal(mean_of([frames[0]] * len(frames), linear), frames[0])
    assert np.abs(mean_of(frames[::-1], linear).astype(int) - mean).max() <= (1 if linear else 0)


def test_problems_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is not a folder"):
        find_frames(tmp_path / "nowhere")
    with pytest.raises(DataError, match="hold no frames"):
        find_frames(tmp_path)
    write_sequence(tmp_path / "long", 7)
    write_sequence(tmp_path / "short", 5)
    with pytest.raises(DataError, match=r"1 of 2 sequences have fewer than the 7 frames .*short \(5\)"):
        find_frames(tmp_path)
    assert len(find_frames(tmp_path, average=5)) == 2
    for average in (4, 1):
        with pytest.raises(SettingError, match="centre frame"):
            find_frames(tmp_path, average)
    Image.new("RGB", (9, 9)).save(tmp_path / "long" / "im6.png")
    pair = find_frames(tmp_path / "long")[0]
    with pytest.raises(DataError, match=r"im1\.png and .*im6\.png differ in size \(16 x 12 and 9 x 9\)"):
        pair.load()
    (tmp_path / "long" / "im6.png").unlink()
    with pytest.raises(DataError, match=r"im6\.png cannot be read"):
        pair.load()


def test_a_fingerprint_knows_the_frames_and_how_they_are_averaged(tmp_path: Path) -> None:
    write_sequence(tmp_path / "a", 7)
    copy = Path(shutil.copytree(tmp_path / "a", tmp_path / "b"))
    found = fingerprint(find_frames(tmp_path / "a"))
    assert fingerprint(find_frames(copy)) == found
    assert fingerprint(find_frames(copy, linear=True)) != found
    Image.new("RGB", (16, 12)).save(copy / "im1.png")
    assert fingerprint(find_frames(copy)) != found
