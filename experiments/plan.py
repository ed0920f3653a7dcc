"""``python -m experiments.plan FILE.svg``: the picture of fitted and published tiles in the documentation."""

import sys
from pathlib import Path

from deblur.inference.tiling import Plan, Tiling, plan_tiles
from deblur.models.unet import DeblurUNet

PHOTO = (1080, 1920)
SCALE = 0.22
"""Units of the drawing a pixel."""


def drawing() -> str:
    """A 1920x1080 photo cut as DeblurUNet's own tiling does, and as published: an SVG document."""
    own = DeblurUNet(width=8).tiling()
    fitted = plan_tiles(*PHOTO, own)
    squares = plan_tiles(*PHOTO, Tiling(512, 64, own.rule, fitted=False))
    tile = f"{fitted.columns.tile_px} x {fitted.rows.tile_px}"
    share = f"{fitted.computed_share:.2f} times the pixels of {PHOTO[1]} x {PHOTO[0]}"
    parts = [
        '<svg xmlns="http://www.w3.org/2000/svg" width="905" height="288" font-family="sans-serif">',
        '<rect width="100%" height="100%" fill="white"/>',
        *_drawn(fitted, 20, f"fitted: {len(fitted)} tiles of {tile}, {share}"),
        *_drawn(squares, 462.4, f"--tile 512 --overlap 64: {len(squares)} squares, {squares.computed_share:.2f} times"),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _drawn(plan: Plan, x: float, caption: str) -> list[str]:
    """The tiles of a plan, see-through so that overlaps are dark, and the photo's edge."""
    look = 'fill="#2563eb" fill-opacity="0.22" stroke="#1e3a8a"'
    return [
        f'<g transform="translate({x},34)">',
        f'<text x="0" y="-12" font-size="13">{caption}</text>',
        *(
            _rectangle(left, top, plan.columns.tile_px, plan.rows.tile_px, look)
            for top in plan.rows.starts
            for left in plan.columns.starts
        ),
        _rectangle(0, 0, plan.columns.length_px, plan.rows.length_px, 'fill="none" stroke="#111" stroke-width="2"'),
        "</g>",
    ]


def _rectangle(left: int, top: int, width: int, height: int, look: str) -> str:
    x, y, w, h = (f"{px * SCALE:.1f}" for px in (left, top, width, height))
    return f'<rect x="{x}" y="{y}" width="{w}" height="{h}" {look}/>'


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(drawing(), encoding="utf-8")
