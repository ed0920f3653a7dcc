"""Films made here: which frames are chosen, what is refused, how crops are drawn, what the commands write."""

import json
import shutil
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from deblur.cli import main
from deblur.data.crops import Key
from deblur.data.photos import installed_photos
from deblur.data.sources import Reading, SourceName, hold_back, mixture, open_sources
from deblur.errors import DataError
from deblur.synthesis.draw import BlurRanges
from deblur.training.recipe import resolve
from deblur.training.settings import TrainSettings
from tests.training.tiny import tiny

av = pytest.importorskip("av")
pytest.importorskip("cv2")
from deblur.data.film import FilmCrops, open_film  # noqa: E402
from deblur.data.film_frames import frames_of  # noqa: E402
from deblur.data.film_windows import Look, choose, look_through  # noqa: E402

Frames = list[NDArray[np.uint8]]


def panned(name: str, count: int, px: float = 4.0, first: float = 0.0) -> Frames:
    """A photograph that moves to the left by ``px`` a frame, 240 x 192."""
    photo = next(each.pixels for each in installed_photos() if each.name == name)
    lefts = [round(first + px * i) for i in range(count)]
    return [np.ascontiguousarray(photo[100:292, left : left + 240]) for left in lefts]


def written(path: Path, frames: Iterable[NDArray[np.uint8]], times: Iterable[int] | None = None, **told: int) -> Path:
    """A film of 30 frames a second; ``times`` in 1/30 s."""
    frames = list(frames)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=30, options={"crf": "10", "bf": "0"})
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        for name, value in told.items():
            setattr(stream.codec_context, name, value)
        for at, pixels in zip(times or range(len(frames)), frames, strict=False):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24").reformat(
                format="yuv420p", dst_colorspace=told.get("colorspace", 5), dst_color_range=1
            )
            frame.pts, frame.time_base = at, Fraction(1, 30)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def test_colours_come_back_for_each_matrix(tmp_path: Path) -> None:
    plain = np.full((192, 240, 3), (200, 60, 30), np.uint8)
    for matrix in (1, 5):
        film = written(tmp_path / f"{matrix}.mp4", [plain] * 3, colorspace=matrix, color_range=1)
        _, pixels = next(frames_of(film))
        assert np.abs(pixels.astype(int) - plain).max() <= 3


def test_high_dynamic_range_is_refused_by_name(tmp_path: Path) -> None:
    for number, name in ((16, "PQ"), (18, "HLG")):
        film = written(tmp_path / f"{name}.mp4", panned("china", 3), color_trc=number)
        with pytest.raises(DataError, match=name):
            next(frames_of(film))


def test_rotation_is_obeyed(tmp_path: Path) -> None:
    """The tag of a phone that was held upright: shown a quarter turn to the right."""
    frame = panned("china", 1)[0]
    film = written(tmp_path / "a.mp4", [frame] * 4)
    data = bytearray(film.read_bytes())
    at = data.index(b"tkhd") + 4 + 40  # the matrix, after version, times, layer and volume
    matrix = [0, 0x10000, 0, -0x10000, 0, 0, 0, 0, 0x40000000]
    data[at : at + 36] = b"".join(number.to_bytes(4, "big", signed=True) for number in matrix)
    film.write_bytes(data)
    _, pixels = next(frames_of(film))
    assert pixels.shape == (240, 192, 3)
    assert np.abs(pixels.astype(int) - np.rot90(frame, -1)).mean() < 6


def test_large_films_are_halved(tmp_path: Path) -> None:
    film = written(tmp_path / "a.mp4", [np.tile(panned("china", 1)[0], (2, 8, 1))] * 2)
    assert next(frames_of(film))[1].shape == (192, 960, 3)


def test_a_film_that_breaks_off_gives_what_it_has(tmp_path: Path) -> None:
    whole = written(tmp_path / "a.mkv", panned("china", 40))
    broken = tmp_path / "b.mkv"
    broken.write_bytes(whole.read_bytes()[: whole.stat().st_size * 6 // 10])
    lines = list[str]()
    assert 1 < len(list(frames_of(broken, lines.append))) < 40
    assert "what is there is used" in lines[0]
    (tmp_path / "c.mp4").write_bytes(b"no film at all")
    with pytest.raises(DataError, match=r"c\.mp4 cannot be read as a film"):
        next(frames_of(tmp_path / "c.mp4"))


def test_cuts_are_never_crossed_and_films_are_spread_over() -> None:
    frames = panned("china", 20) + panned("coffee", 20)
    choice = choose(*look_through((i / 30, frame) for i, frame in enumerate(frames)))
    assert choice.scenes == 2
    assert len(choice.windows) >= 4
    for window in choice.windows:
        assert window.numbers[-1] < 20 or window.numbers[0] >= 20
        assert window.motion_px == pytest.approx(4, abs=0.7)


def test_dissolves_are_left_out() -> None:
    one, other = panned("china", 40, 1), panned("coffee", 40, 1)
    share = np.clip((np.arange(40) - 13) / 14, 0, 1)
    frames = [np.uint8(a * (1 - s) + b * s) for a, b, s in zip(one, other, share, strict=True)]
    looks, _ = look_through((i / 30, frame) for i, frame in enumerate(frames))
    assert all(looks[i].trouble for i in range(15, 27))
    assert not any(looks[i].trouble for i in [*range(1, 8), *range(34, 40)])


def test_repeated_frames_are_one_and_24_shown_at_30_keeps_its_pace() -> None:
    frames = [frame for i, frame in enumerate(panned("china", 32)) for _ in range(2 if i % 4 == 3 else 1)]
    looks, count = look_through((i / 30, frame) for i, frame in enumerate(frames))
    assert (count, len(looks)) == (40, 32)
    assert np.ptp(np.diff([look.time_s for look in looks])) < 1e-6


def test_a_gap_that_was_longer_stays_longer() -> None:
    """A variable frame rate: no frame for a while, and everything moved on."""
    moving = panned("china", 24)
    frames = [(i / 30, moving[i]) for i in range(24) if i != 12]
    looks, _ = look_through(frames)
    assert np.diff([look.time_s for look in looks])[11] == pytest.approx(2 / 30)


def test_the_crispest_of_a_stretch_is_taken_and_a_blurred_one_is_no_target() -> None:
    frames = panned("china", 24, 6)
    blurred = [np.uint8(np.mean([np.roll(f, s, axis=1) for s in range(-3, 4)], axis=0)) for f in frames]
    mixed = [frames[i] if i % 6 == 3 else blurred[i] for i in range(24)]
    choice = choose(*look_through((i / 30, frame) for i, frame in enumerate(mixed)))
    assert choice.windows
    assert all(window.numbers[window.centre] % 6 == 3 for window in choice.windows)
    assert choice.left_out["blurred itself"] > 10


def test_second_choices_are_three_frames_from_all_that_others_offer() -> None:
    """7 is the next crispest of the first stretch, but the second one's first choice is 8."""
    crisp = {3: 10.0, 7: 9.0, 8: 10.0, 13: 9.0, 20: 10.0, 16: 9.0, 18: 8.0}
    looks = [Look(i, i / 30, 4.0, "" if i else "the film begins", crisp.get(i, i / 100), 0.0) for i in range(24)]
    choice = choose(looks, 24)
    assert [window.number for window in choice.windows] == [3, 8, 20]
    assert {first: window.number for first, window in choice.second.items()} == {3: 5, 8: 13, 20: 16}


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("films")
    for name in ("china", "coffee", "flower"):
        written(folder / f"{name}.mp4", panned(name, 24))
    return folder


def test_a_film_is_a_source_like_any_other(films: Path, tmp_path: Path) -> None:
    reading = Reading(films=tmp_path)
    (source,) = open_sources([f"film:{films / 'china.mp4'}"], reading)
    assert SourceName.parse(str(films / "china.mp4")).kind == "film"
    crops = mixture([source], 96, seed=3)
    samples = [crops[Key(key, 0.5)] for key in range(12)]
    again = mixture(open_sources([f"film:{films / 'china.mp4'}"], reading), 96, seed=3)
    for key in (11, 4):
        assert np.array_equal(again[Key(key, 0.5)].blurry, samples[key].blurry)
    assert all(sample.blurry.shape == sample.sharp.shape == (3, 96, 96) for sample in samples)
    assert sum((s.blurry.float() - s.sharp.float()).abs().mean() > 3 for s in samples) > 6
    blurry, sharp = source.pairs[0].load()
    assert blurry.shape == sharp.shape == (192, 240, 3)
    assert np.array_equal(sharp, source.pairs[0].images[1].load())


def test_steady_motion_leaves_blurry_where_sharp_is(tmp_path: Path) -> None:
    """Pairs and crops, to 0.1 px. An exposure of which half the first half were missing would move it by an eighth of
    its path: 0.3 to 0.8 px of the pairs, 0.7 px of half of the crops."""
    film = open_film(written(tmp_path / "a.mp4", panned("chelsea", 24, 1.0)), tmp_path / "kept")
    assert np.abs([shift_px(*pair.load(), border_px=60) for pair in film.windows]).max() < 0.1
    crops = FilmCrops(film.windows, 96, 0, BlurRanges(sharp=0, noise_share=0, resample_share=0, jpeg_share=0))
    samples = [crops[Key(key, 1.0)] for key in range(10)]
    shifts = [shift_px(*(image.permute(1, 2, 0).numpy() for image in sample[:2]), border_px=32) for sample in samples]
    assert np.median(np.abs(shifts).max(axis=1)) < 0.1


def shift_px(blurry: NDArray[np.uint8], sharp: NDArray[np.uint8], border_px: int) -> NDArray[np.float64]:
    """(down, right) between the two inside of a border, by least squares on their slopes (Lucas & Kanade)."""
    inner = np.s_[border_px:-border_px, border_px:-border_px]
    blurry, sharp = (gaussian_filter(image.mean(axis=2), 4)[inner] for image in (blurry, sharp))
    slopes = np.stack([slope.ravel() for slope in np.gradient((blurry + sharp) / 2)], axis=1)
    return np.linalg.lstsq(slopes, (sharp - blurry).ravel(), rcond=None)[0]


def test_a_film_is_one_scene(films: Path, tmp_path: Path) -> None:
    parts = hold_back(open_sources([f"film:{films}"], Reading(films=tmp_path)))
    of_parts = [{pair.name.split("/")[0] for source in part for pair in source.pairs} for part in parts]
    assert sorted(map(len, of_parts)) == [1, 1, 1]
    assert len(set.union(*of_parts)) == 3


def test_what_was_kept_is_read_the_second_time(films: Path, tmp_path: Path) -> None:
    lines = list[str]()
    first = open_film(films / "china.mp4", tmp_path, lines.append)
    assert any("GB in" in line for line in lines)
    lines.clear()
    assert open_film(films / "china.mp4", tmp_path, lines.append) == first
    assert not lines


def test_several_may_open_a_film_at_once_and_one_looks(
    films: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    look = Mock(wraps=look_through)
    monkeypatch.setattr("deblur.data.film.look_through", look)
    with ThreadPoolExecutor(2) as pool:
        one, other = pool.map(lambda _: open_film(films / "china.mp4", tmp_path), range(2))
    assert one == other
    assert one.windows
    assert look.call_count == 1


def test_a_runs_cache_keeps_them_from_its_dry_run_on(tmp_path: Path) -> None:
    """And what was trained is exported and registered with the same."""
    (tmp_path / "films").mkdir()
    written(tmp_path / "films" / "a.mp4", panned("china", 24))
    settings = tiny(tmp_path / "out", f"film:{tmp_path / 'films'}", cache=tmp_path / "cache")
    assert resolve(settings)["validation_pairs"] == 1
    one = tiny(tmp_path / "out", f"film:{tmp_path / 'films' / 'a.mp4'}", cache=tmp_path / "cache")
    assert resolve(one)["validation_pairs"] == 1
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["films"]
    assert TrainSettings.recorded(settings.flat()).reading.films == tmp_path / "cache" / "films"


def test_the_doctor_tells_what_a_film_gives(
    films: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert main(["doctor", f"film:{films / 'china.mp4'}"]) == 0
    told = capsys.readouterr().out
    assert "frames: 24 (0 repeated), scenes: 1, windows: " in told
    assert "motion, px a frame: 4" in told
    assert main(["doctor", f"film:{films / 'china.mp4'}", "--json", str(tmp_path / "found.json")]) == 1
    assert "takes --val alone" in capsys.readouterr().err


def test_pairs_are_written_logged_and_gone_on_with(films: Path, tmp_path: Path) -> None:
    command = ["pairs", str(films), str(tmp_path / "out"), "--cache", str(tmp_path / "kept")]
    assert main(command) == 0
    out = tmp_path / "out"
    rows = [json.loads(line) for line in (out / "pairs.jsonl").read_text().splitlines()]
    files = sorted((out / "blur").iterdir())
    assert len(files) == sum(not row["left_out"] for row in rows) == len(list((out / "sharp").iterdir()))
    assert (out / "sheet.jpg").is_file()
    times = [file.stat().st_mtime_ns for file in files]
    files[0].unlink()
    assert main(command) == 0
    assert [file.stat().st_mtime_ns for file in files][1:] == times[1:]
    assert len(open_sources([str(out)])[0].pairs) == len(files)


def test_films_of_one_name_do_not_share_a_folder(
    films: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one, other = (Path(shutil.copytree(films, tmp_path / name)) for name in ("one", "other"))
    (other / "china.mp4").write_bytes((films / "china.mp4").read_bytes() + b"another")
    command, kept = ["pairs", str(one / "china.mp4")], ["--cache", str(tmp_path / "kept")]
    assert main([*command, str(tmp_path / "out"), *kept]) == 0
    before = {file: file.read_bytes() for file in (tmp_path / "out").rglob("*.*")}
    assert main(["pairs", str(other / "china.mp4"), str(tmp_path / "out"), *kept]) == 1
    assert "pairs of another film called china" in capsys.readouterr().err
    assert {file: file.read_bytes() for file in (tmp_path / "out").rglob("*.*")} == before
