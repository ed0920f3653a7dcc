"""Whether the two images of a pair have the same colours: not one grey, channels exchanged, another white balance.

Blur keeps the colours of large cells, so small pictures of both are compared. On 89 good pairs the channels' gains
differ by at most 1.3 %, colourfulness by 6 %, and other orders of channels fit at least 1.2 times worse.
"""

from itertools import permutations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from deblur.data.doctor.findings import Finding, Severity
from deblur.data.doctor.listing import Item
from deblur.images import Rgb8

CELLS = 32
COLOURED_LEVELS, GREY_SHARE = 2.0, 0.2
EXCHANGED_SHARE = 0.5
GAIN_WARNING, GAIN_ERROR = 1.06, 1.2
DARK = 8.0
"""Levels of 255 that are added before ratios are taken, where noise would decide."""
ORDERS = [order for order in permutations(range(3)) if order != (0, 1, 2)]


def exchanged_channels(item: Item, blurry: Rgb8, sharp: Rgb8) -> list[Finding]:
    """Red, green and blue of one image in another order: a finding, or none, about two ``(H, W, 3)`` of one size."""
    cells = [_cells(rgb) for rgb in (blurry, sharp)]
    apart = float(np.abs(cells[0] - cells[1]).mean())
    left, order = min((float(np.abs(cells[0][:, order] - cells[1]).mean()), order) for order in ORDERS)
    if apart < COLOURED_LEVELS or left >= EXCHANGED_SHARE * apart:
        return []
    text = f"red, green and blue of sharp are {', '.join(('red', 'green', 'blue')[i] for i in order)} of blurry"
    return [_finding(item, "error", text, left / apart, EXCHANGED_SHARE)]


def other_colours(item: Item, blurry: Rgb8, sharp: Rgb8) -> list[Finding]:
    """One image grey, or of another white balance: a finding, or none, about two ``(H, W, 3)`` of one size."""
    cells = [_cells(rgb) for rgb in (blurry, sharp)]
    less, more = sorted(float(np.abs(each - each.mean(axis=1, keepdims=True)).mean()) for each in cells)
    if more >= COLOURED_LEVELS and less < GREY_SHARE * more:
        return [_finding(item, "error", "one is grey, the other has colours", less / more, GREY_SHARE)]
    gains = np.median((cells[0] + DARK) / (cells[1] + DARK), axis=0)
    spread = float(gains.max() / gains.min())
    if spread < GAIN_WARNING:
        return []
    severity: Severity = "error" if spread >= GAIN_ERROR else "warning"
    text = f"another white balance: red, green and blue times {' '.join(f'{gain:.2f}' for gain in gains)}"
    return [_finding(item, severity, text, spread, GAIN_ERROR if severity == "error" else GAIN_WARNING)]


def _cells(rgb: Rgb8) -> NDArray[np.float64]:
    """Mean colours ``(1024, 3)`` of equal parts of the image."""
    small = Image.fromarray(rgb).resize((CELLS, CELLS), Image.Resampling.BOX)
    return np.asarray(small, np.float64).reshape(-1, 3)


def _finding(item: Item, severity: Severity, text: str, measure: float, threshold: float) -> Finding:
    return Finding("colours", severity, tuple(map(str, item.files)), text, round(measure, 3), threshold)
