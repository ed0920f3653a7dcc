"""What tiles leave in a picture: edges where they meet, and colours that differ from tile to tile."""

import numpy as np
from numpy.typing import NDArray

from deblur.images import Rgb8
from deblur.inference.tiling import Axis, Plan

FLAT_LEVELS = 1e-3
"""Added to every mean change, so that flat pictures can be compared, too: far below what a picture has."""


def seam_ratio(image: Rgb8, reference: Rgb8, plan: Plan) -> float:
    """Gradient across tile borders against elsewhere, divided by the same of a picture without borders.

    The border is where two tiles are blended, or meet. 1: nothing to see; 1 too, where there is one tile.
    """
    ratios = []
    for axis, array_axis in ((plan.rows, 0), (plan.columns, 1)):
        at_border = _borders(axis)
        if at_border.any() and not at_border.all():
            changes = [
                np.abs(np.diff(x.astype(np.float32), axis=array_axis)).mean(axis=(1 - array_axis, 2)) + FLAT_LEVELS
                for x in (image, reference)
            ]
            tiled, whole = (change[at_border].mean() / change[~at_border].mean() for change in changes)
            ratios.append(tiled / whole)
    return float(np.mean(ratios)) if ratios else 1.0


def drift_levels(image: Rgb8, reference: Rgb8, plan: Plan) -> float:
    """The largest mean difference of a tile's colour from the reference, in levels of 255."""
    difference = image.astype(np.float32) - reference
    means = [
        np.abs(difference[top : top + plan.rows.tile_px, left : left + plan.columns.tile_px].mean(axis=(0, 1))).max()
        for top in plan.rows.starts
        for left in plan.columns.starts
    ]
    return float(max(means))


def _borders(axis: Axis) -> NDArray[np.bool_]:
    """Which of the ``length_px - 1`` steps from a pixel to the next lie where two tiles are blended, or lead from one
    tile to the next."""
    weights = np.zeros((len(axis.starts), axis.length_px))
    for row, start, weight in zip(weights, axis.starts, axis.weights(), strict=True):
        row[start : start + len(weight)] = weight
    owner = weights.argmax(axis=0)
    return (weights.max(axis=0)[:-1] < 1) | (owner[1:] != owner[:-1])
