"""The frames of a film, upright, in sRGB, with the times at which they are shown. Needs ``av``, of the extra ``film``.

A film 1920 px long or longer is halved until it is shorter: that takes compression and its own softness away.
"""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import av
import numpy as np
from av.error import FFmpegError
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace, Interpolation

from deblur.data.doctor.files import perceptual_bits
from deblur.errors import DataError
from deblur.images import Rgb8

HALVED_FROM_PX = 1920
HASHED_EVERY_S = 0.5
HD_LINES = 720
"""From here on a film that does not say its colours has those of HDTV."""
UNSPECIFIED = 2
HIGH_RANGE = {16: "PQ (HDR10, Dolby Vision)", 18: "HLG"}
"""Transfer curves whose codes are no sRGB, by their number in ITU-T H.273."""

OnLine = Callable[[str], None]


def frames_of(film: Path, on_line: OnLine = lambda line: None) -> Iterator[tuple[float, Rgb8]]:
    """``(seconds, (H, W, 3) uint8)`` of every frame, H and W even; a film that breaks off gives what it has.

    Args:
        film: a file.
        on_line: told where it breaks off.

    Raises:
        DataError: it is no film, interlaced, or of high dynamic range.
    """
    last_s, count = -1.0, 0
    try:
        with av.open(str(film)) as container:
            if not container.streams.video:
                raise DataError(f"{film} holds no pictures. Give a film.")
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            for frame in container.decode(stream):
                _check(film, frame)
                if frame.time is None or frame.time <= last_s:  # a frame without a time of its own
                    continue
                last_s, count = frame.time, count + 1
                yield last_s, _rgb8(frame)
            told = stream.duration and stream.time_base and float(stream.duration * stream.time_base)
    except FFmpegError as error:
        if not count:
            raise DataError(f"{film} cannot be read as a film ({error.strerror or type(error).__name__}).") from error
        on_line(f"{film.name} breaks off after {last_s:.1f} s; what is there is used.")
        return
    if not count:
        raise DataError(f"{film} holds no frame that can be read.")
    if told and last_s < told - 1:
        on_line(f"{film.name} ends after {last_s:.1f} of {told:.1f} s; what is there is used.")


def hashed(frames: Iterable[tuple[float, Rgb8]], hashes: list[str]) -> Iterator[tuple[float, Rgb8]]:
    """Pass frames on; every half second's perceptual hash is added to ``hashes``, as hexadecimal digits."""
    due_s = 0.0
    for time_s, frame in frames:
        if time_s >= due_s:
            due_s = (time_s // HASHED_EVERY_S + 1) * HASHED_EVERY_S
            bits = perceptual_bits(frame)
            hashes += [] if bits is None else [np.packbits(bits > 0).tobytes().hex()]
        yield time_s, frame


def _check(film: Path, frame: VideoFrame) -> None:
    if frame.interlaced_frame:
        raise DataError(
            f"{film} is interlaced. Make whole frames of it first: ffmpeg -i FILM -vf bwdif -crf 12 NEW.mp4"
        )
    if curve := HIGH_RANGE.get(int(frame.color_trc)):
        raise DataError(f"{film} is a film of high dynamic range, {curve}. Film without it, or convert it to BT.709.")


def _rgb8(frame: VideoFrame) -> Rgb8:
    width, height = frame.width, frame.height
    while max(width, height) >= HALVED_FROM_PX:
        width, height = width // 2, height // 2
    told = int(frame.colorspace)
    space = told if told != UNSPECIFIED else Colorspace.ITU709 if frame.height >= HD_LINES else Colorspace.ITU601
    is_rgb = frame.format.is_rgb
    converted = frame.reformat(
        width,
        height,
        "rgb24",
        src_colorspace=None if is_rgb else space,
        src_color_range=None if is_rgb else frame.color_range or ColorRange.MPEG,
        dst_color_range=ColorRange.JPEG,
        interpolation=Interpolation.AREA | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT,
        threads=1,
    )
    pixels = np.rot90(converted.to_ndarray(), frame.rotation // 90)
    return np.ascontiguousarray(pixels[: pixels.shape[0] // 2 * 2, : pixels.shape[1] // 2 * 2])
