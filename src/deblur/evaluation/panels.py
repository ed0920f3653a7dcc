"""Before / after / reference, side by side: the picture people look at."""

from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from deblur.errors import SettingError
from deblur.files import whole_file
from deblur.images import SIDE_PX, Rgb8

CAPTION_PX, GAP_PX = 30, 6
BACKGROUND, INK = (24, 24, 27), (228, 228, 231)


def side_by_side(images: Sequence[Rgb8], captions: Sequence[str]) -> Image.Image:
    """Images of one height in a row, a caption above each, at their own pixels (nothing is scaled)."""
    font = ImageFont.load_default(15)
    widths = [max(i.shape[1], int(font.getlength(c)) + 4) + GAP_PX for i, c in zip(images, captions, strict=True)]
    panel = Image.new("RGB", (sum(widths) + GAP_PX, CAPTION_PX + max(i.shape[0] for i in images) + GAP_PX), BACKGROUND)
    draw = ImageDraw.Draw(panel)
    left = GAP_PX
    for image, caption, width in zip(images, captions, widths, strict=True):
        draw.text((left + 2, 6), caption, fill=INK, font=font)
        panel.paste(Image.fromarray(image), (left, CAPTION_PX))
        left += width
    return panel


def stacked(panels: Sequence[Image.Image]) -> Image.Image:
    """Panels below each other, left-aligned."""
    sheet = Image.new("RGB", (max(p.width for p in panels), sum(p.height for p in panels)), BACKGROUND)
    top = 0
    for panel in panels:
        sheet.paste(panel, (0, top))
        top += panel.height
    return sheet


def save(picture: Image.Image, path: Path) -> None:
    """Write a .png or a .jpg, whole or not at all.

    Raises:
        SettingError: it is too large for a JPEG.
        DiskFull: there is no room.
    """
    kind = "PNG" if path.suffix.lower() == ".png" else "JPEG"
    if max(picture.size) > SIDE_PX.get(kind, max(picture.size)):
        raise SettingError(
            f"{path.name}: the picture has {picture.width} x {picture.height} px, and a JPEG at most {SIDE_PX[kind]} a "
            "side. Name a .png."
        )
    with whole_file(path) as stream:
        picture.save(stream, kind)
