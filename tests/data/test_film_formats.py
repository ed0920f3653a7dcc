"""Films as cameras write them: containers, depths, curves, fields, pace; what is refused is refused by name."""

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from deblur.data.folders import FILM_SUFFIXES
from deblur.errors import DataError

av = pytest.importorskip("av")
pytest.importorskip("cv2")
from deblur.data.film_frames import frames_of  # noqa: E402
from tests.data.test_film import panned  # noqa: E402

BT709, BT601 = 1, 5
PATCHES = ((200, 60, 30), (40, 180, 90), (30, 60, 210), (128, 128, 128))


def patches() -> NDArray[np.uint8]:
    """Four colours in a row, 240 x 192."""
    return np.repeat(np.repeat(np.uint8([PATCHES]), 60, 1), 192, 0)


def encoded(
    path: Path,
    frames: Iterable[NDArray[np.uint8]],
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    times: Iterable[int] | None = None,
    options: dict[str, str] | None = None,
    told: dict[str, int] | None = None,
    flags: dict[str, str] | None = None,
) -> Path:
    """A film at 30 frames a second; ``times`` in 1/30 s. Skips where this PyAV lacks the encoder."""
    frames, told = list(frames), {"colorspace": BT709, **(told or {})}
    try:
        with av.open(str(path), "w", options=flags or {}) as container:
            stream = container.add_stream(codec, rate=30, options=options or {})
            stream.height, stream.width = frames[0].shape[:2]
            stream.pix_fmt = pix_fmt
            rgb = pix_fmt.startswith(("rgb", "bgr"))
            if not rgb:
                for name, value in told.items():
                    setattr(stream.codec_context, name, value)
            for at, pixels in zip(times or range(len(frames)), frames, strict=False):
                spaces = (
                    {}
                    if rgb
                    else {
                        "dst_colorspace": told["colorspace"],
                        "dst_color_range": 2 if pix_fmt.startswith("yuvj") else 1,
                    }
                )
                frame = av.VideoFrame.from_ndarray(pixels, format="rgb24").reformat(format=pix_fmt, **spaces)
                frame.pts, frame.time_base = at, Fraction(1, 30)
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
    except (av.codec.codec.UnknownCodecError, av.error.FFmpegError) as error:
        pytest.skip(f"this PyAV cannot write {codec} {pix_fmt} into {path.suffix}: {error}")
    return path


def shown(path: Path) -> NDArray[np.int_]:
    """The colours of the patches of its first frame."""
    _, pixels = next(frames_of(path))
    return pixels[96, 30::60].astype(int)


@pytest.mark.parametrize("codec", ["libx264", "libx265"])
def test_ten_bits_become_eight_of_the_same_colour(tmp_path: Path, codec: str) -> None:
    film = encoded(tmp_path / "a.mp4", [patches()] * 2, codec, "yuv420p10le", options={"crf": "8"})
    with av.open(str(film)) as container:
        assert "10" in next(container.decode(video=0)).format.name
    assert np.abs(shown(film) - PATCHES).max() <= 3


@pytest.mark.parametrize(("number", "name"), [(16, "PQ"), (18, "HLG")])
def test_a_telephones_high_dynamic_range_is_refused_by_name(tmp_path: Path, number: int, name: str) -> None:
    told = {"color_trc": number, "color_primaries": 9, "colorspace": 9}
    film = encoded(tmp_path / "a.mov", [patches()] * 2, "libx265", "yuv420p10le", told=told)
    with pytest.raises(DataError, match=rf"a\.mov is a film of high dynamic range, {name}"):
        next(frames_of(film))


def test_interlaced_films_are_refused_with_the_way_out(tmp_path: Path) -> None:
    film = encoded(tmp_path / "a.mp4", panned("china", 4), options={"x264-params": "tff=1:crf=10", "flags": "+ildct"})
    with av.open(str(film)) as container:
        assert next(container.decode(video=0)).interlaced_frame
    with pytest.raises(DataError, match=r"a\.mp4 is interlaced.*bwdif"):
        next(frames_of(film))


ENCODERS = {
    ".webm": ("libvpx-vp9", "yuv420p"),
    ".avi": ("mjpeg", "yuvj420p"),
    ".gif": ("gif", "rgb8"),
    ".y4m": ("wrapped_avframe", "yuv420p"),
}


@pytest.mark.parametrize("suffix", FILM_SUFFIXES)
def test_every_container_is_read(tmp_path: Path, suffix: str) -> None:
    """What its codec does to colours (a GIF here has four levels of blue) is not the reader's fault."""
    codec, pix_fmt = ENCODERS.get(suffix, ("libx264", "yuv420p"))
    film = encoded(tmp_path / f"a{suffix}", [patches()] * 5, codec, pix_fmt, told={"colorspace": BT601})
    frames = list(frames_of(film))
    assert len(frames) == 5
    assert np.ptp(np.diff([time_s for time_s, _ in frames])) < 0.011  # a GIF counts hundredths of a second
    assert np.abs(shown(film) - PATCHES).max() <= (48 if suffix == ".gif" else 14)


def test_times_are_those_at_which_a_film_of_variable_rate_shows_its_frames(tmp_path: Path) -> None:
    times = [0, 1, 2, 5, 6, 10, 11, 12]
    film = encoded(tmp_path / "a.mkv", panned("china", len(times)), times=times, options={"bf": "0"})
    assert [round(30 * time_s) for time_s, _ in frames_of(film)] == times


def test_a_film_that_was_cut_off_in_copying_gives_what_came_over(tmp_path: Path) -> None:
    """Its index came first and tells of more than is there."""
    flags = {"movflags": "faststart"}
    whole = encoded(tmp_path / "a.mp4", panned("china", 90, 2), options={"g": "10", "bf": "0"}, flags=flags)
    broken = tmp_path / "b.mp4"
    broken.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    lines = list[str]()
    assert 10 < len(list(frames_of(broken, lines.append))) < 80
    assert len(lines) == 1
    assert "what is there is used" in lines[0]
