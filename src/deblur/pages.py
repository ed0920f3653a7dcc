"""How many frames or pages a file has; only the first is restored."""

from contextlib import suppress
from io import BytesIO

from PIL import Image

MOST = 1000
"""That are counted: a file of 20 MB holds a million."""


def count(image: Image.Image, data: bytes) -> int:
    """Frames of an animation, pages of a TIFF; those of GIF and TIFF must be counted."""
    if image.format == "GIF":
        return _frames_of_gif(data)
    if image.format != "TIFF":
        return min(getattr(image, "n_frames", 1), MOST) if image.format != "MPO" else 1
    frames = 1
    with suppress(Exception), Image.open(BytesIO(data), formats=("TIFF",)) as opened:  # the last one, or broken
        while frames < MOST:
            opened.seek(frames)
            frames += 1
    return frames


def _frames_of_gif(data: bytes) -> int:
    """From its blocks: Pillow would decode each."""

    def table(flags: int) -> int:
        return 3 << (flags & 7) + 1 if flags & 0x80 else 0

    frames, at = 0, 13 + table(data[10])
    while frames < MOST and at + 10 < len(data) and data[at] in (0x2C, 0x21):
        frames += data[at] == 0x2C
        at += 11 + table(data[at + 9]) if data[at] == 0x2C else 2
        while at < len(data) and data[at]:  # blocks of at most 255 bytes; an empty one is the last
            at += 1 + data[at]
        at += 1
    return max(frames, 1)
