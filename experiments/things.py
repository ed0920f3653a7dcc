"""``python -m experiments.things PHOTOS OUT``: pairs in which a thing moves, of its own photograph or of another one.

Synthesis (``synthesis.field.Thing``) takes a thing from where it lies in the picture. Here the same draws are carried
out twice: as they are (OUT/own), and with the pixels of another photograph in the thing (OUT/others). A training with
either shows what that is worth.
"""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import tyro

from deblur.cli.console import long_work
from deblur.data.blurred import Photos
from deblur.data.saved import save_set
from deblur.data.sources import find_photos
from deblur.images import Rgb8
from deblur.synthesis.degrade import SURROUND_PX, Degradation, recorded
from deblur.synthesis.draw import BlurRanges, draw
from deblur.synthesis.field import Spot, blurred_cell, cells_of
from deblur.synthesis.kernels import FixedArray
from deblur.synthesis.light import light_table

SIDE_PX, STRENGTH, RANGES = 256, 0.6, BlurRanges(milder=0.8, noise_share=0.5)
"""As the preset ``weights`` has them."""
GONE = Spot(FixedArray.of([[0.0]]))
"""A blur that leaves nothing."""


def pair_of(behind: Rgb8, before: Rgb8, degradation: Degradation) -> dict[str, Rgb8]:
    """A picture with a thing whose pixels are those of ``before``, both of ``source_shape``, not zoomed."""
    d, thing = degradation, degradation.thing
    assert thing is not None
    table, inset = light_table(d.curve, d.gain, d.highlights), SURROUND_PX - d.surround_px
    size = (SIDE_PX + 2 * SURROUND_PX,) * 2
    first, reach = d.margin_px - SURROUND_PX - d.reach_px, d.reach_px
    light = np.empty((3, *(side - 2 * inset for side in size)), np.float32)
    for cell in cells_of(d.blur, size, inset):
        seen = tuple(slice(first + part.start, first + part.stop + 2 * reach) for part in cell.wanted)
        one, other = (table[picture[seen].transpose(2, 0, 1)] for picture in (behind, before))
        into = (slice(None), *(slice(part.start - inset, part.stop - inset) for part in cell.wanted))
        # Blur is linear: the thing of another photograph is its own thing, and the difference of the two.
        light[into] = blurred_cell(one, cell, size, d.blur, thing) + blurred_cell(other - one, cell, size, GONE, thing)
    place = np.arange(SIDE_PX, dtype=np.float32) + 0.5 - SIDE_PX / 2
    mask = thing.mask(place, place[:, None])[..., None]
    inner = (slice(d.margin_px, d.margin_px + SIDE_PX),) * 2
    sharp = d.curve.encode((1 - mask) * table[behind[inner]] + mask * table[before[inner]])
    return {"blur": recorded(light.transpose(1, 2, 0), d), "sharp": np.rint(sharp * 255).astype(np.uint8)}


def make(photos: Photos, kind: Literal["own", "others"], index: int) -> dict[str, Rgb8]:
    """Pair ``index``; both kinds draw alike."""
    rng = np.random.default_rng((1, index))
    while (degradation := replace(draw(rng, (SIDE_PX, SIDE_PX), STRENGTH, RANGES), zoom=1.0)).thing is None:
        pass
    behind, before = (
        photos.cut(rng, int(key), degradation.source_shape) for key in rng.choice(len(photos.photos), 2, replace=False)
    )
    return pair_of(behind, before if kind == "others" else behind, degradation)


def main(folders: tyro.conf.Positional[tuple[Path, ...]], count: int = 1500) -> None:
    """Write both sets.

    Args:
        folders: Of photographs; the last one is written.
        count: Pairs in each.
    """
    *sources, out = folders
    photos = Photos([photo for folder in sources for photo in find_photos(folder)], seed=1)
    for kind in ("own", "others"):
        with long_work() as tell:
            save_set(
                out / kind,
                count,
                partial(make, photos, kind),
                {"things": kind, "photos": [photo.name for photo in photos.photos]},
                on_done=lambda done, total: tell(f"{done} of {total} samples", done, total),
            )


if __name__ == "__main__":
    tyro.cli(main)
