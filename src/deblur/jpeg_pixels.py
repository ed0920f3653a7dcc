"""A JPEG's pixels, and whether all of them came.

Pillow fills what is missing before an end marker with grey and says nothing; simplejpeg hands on what libjpeg warns of.
Where both decode, they give the same pixels.
"""

import numpy as np
import simplejpeg
from numpy.typing import NDArray

from deblur.errors import UnreadablePhoto

LACKING = ("premature end", "bad Huffman code")
"""Of libjpeg's warnings those that mean lost pixels. Stray bytes and bad profiles, which others tell of, harm none."""


def decoded(data: bytes, size_px: tuple[int, int], *, cmyk: bool = False) -> NDArray[np.uint8] | None:
    """``(H, W, 3)`` uint8, not yet upright; None where it is for Pillow: CMYK, odd kinds, files with stray bytes.

    Args:
        data: the file.
        size_px: width and height that its header told.
        cmyk: of four colours: an eighth of the size is decoded, to see that all is there.

    Raises:
        UnreadablePhoto: data are missing, or broken.
    """
    try:
        height, width = simplejpeg.decode_jpeg_header(data)[:2]
        if (width, height) != size_px:  # two headers: never more is decoded than was allowed
            return None
        if cmyk:
            simplejpeg.decode_jpeg(data, "CMYK", min_height=1, min_width=1, min_factor=8)
            return None
        pixels: NDArray[np.uint8] = simplejpeg.decode_jpeg(data, "RGB")
        return pixels
    except ValueError as error:
        if any(words.lower() in str(error).lower() for words in LACKING):
            raise UnreadablePhoto(
                "The JPEG is cut short or broken: part of its pixels is missing. Send it again."
            ) from error
        return None


def upright(pixels: NDArray[np.uint8], orientation: int | None) -> NDArray[np.uint8]:
    """The pixels turned as EXIF's orientation (1 to 8) says; any other leaves them."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)
