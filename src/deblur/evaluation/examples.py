"""What a report shows of a set: the best, the median and the worst image of a way, a part of each at its own pixels."""

from base64 import b64encode
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from deblur.data.report_sets import ReportSet
from deblur.evaluation.measuring import Measured
from deblur.evaluation.ways import Way
from deblur.images import Rgb8
from deblur.metrics import LUMA

SIDE_PX, STEP_PX, QUALITY = 480, 16, 92


@dataclass(frozen=True)
class Example:
    """The same part of an image before, after and as the reference shows it; a sharp photograph is its own reference.

    Pictures are addresses that hold a JPEG themselves (``data:``); ``sides_px`` are width and height.
    """

    what: str
    row: Measured
    before: str
    after: str
    reference: str | None
    sides_px: tuple[int, int]


def chosen(rows: Sequence[Measured], sharp: bool) -> dict[int, str]:
    """Numbers of the images to show of one way on one set, and why each: sorted by gain, or the least kept one."""
    if sharp:
        return {min(range(len(rows)), key=lambda index: rows[index].restored.psnr_db): "least kept"}
    order = sorted((index for index, row in enumerate(rows) if row.can_gain), key=lambda index: rows[index].gain_db)
    wanted = ((-1, "gains most"), (0, "gains least"), (len(order) // 2, "median gain"))
    found: dict[int, str] = {}
    for place, why in wanted if order else ():
        found.setdefault(order[place], why)
    return dict(sorted(found.items(), key=lambda item: -rows[item[0]].gain_db))


def examples(report_set: ReportSet, rows: Sequence[Measured], way: Way) -> Iterator[Example]:
    """Restored once more, one at a time. ``rows`` are those of this way, in the order of the set's pairs."""
    for index, why in chosen(rows, report_set.sharp).items():
        blurry, sharp = report_set.pairs[index].load()
        restored = way.restore(blurry)[0]
        part = busiest(_change(restored, sharp) if report_set.sharp else _gradient(sharp))
        reference = None if report_set.sharp else _as_address(sharp[part])
        height, width = sharp[part].shape[:2]
        shown = _as_address(blurry[part]), _as_address(restored[part])
        yield Example(why, rows[index], *shown, reference, (width, height))


def busiest(energy: NDArray[np.float32], side_px: int = SIDE_PX) -> tuple[slice, slice]:
    """The square (or what fits) in which a plane ``(H, W)`` sums to most, on a raster of 16 px."""
    h, w = (min(side_px, length) for length in energy.shape)
    total = np.pad(energy.cumsum(axis=0, dtype=np.float64).cumsum(axis=1), ((1, 0), (1, 0)))
    at, by = (slice(None, -h, STEP_PX), slice(h, None, STEP_PX)), (slice(None, -w, STEP_PX), slice(w, None, STEP_PX))
    sums = total[at[1], by[1]] - total[at[0], by[1]] - total[at[1], by[0]] + total[at[0], by[0]]
    top, left = (int(place) * STEP_PX for place in np.unravel_index(sums.argmax(), sums.shape))
    return slice(top, top + h), slice(left, left + w)


def _gradient(image: Rgb8) -> NDArray[np.float32]:
    along_y, along_x = np.gradient(image @ LUMA)
    return np.asarray(along_y**2 + along_x**2)


def _change(image: Rgb8, sharp: Rgb8) -> NDArray[np.float32]:
    return np.asarray(((image.astype(np.float32) - sharp) ** 2).sum(axis=2))


def _as_address(image: Rgb8) -> str:
    stream = BytesIO()
    Image.fromarray(image).save(stream, "JPEG", quality=QUALITY, subsampling=0, optimize=True)
    return f"data:image/jpeg;base64,{b64encode(stream.getvalue()).decode()}"
