"""What a network does to its tiles, found by trying: which sides it takes, how far it sees, where it may be cut."""

from collections.abc import Callable
from math import ceil

import numpy as np

from deblur.inference.engine import Engine, Tiles
from deblur.inference.tiling import SizeRule

MULTIPLES = (1, 2, 4, 8, 16, 32, 64, 128, 3, 6, 12, 24, 48, 7, 14, 28, 56)
COUNTS = (1, 5, 11, 13, 17, 19, 23, 25, 29, 31, 37, 41, 43, 47, 53, 55, 59, 61, 65, 67, 71, 73)
"""Neither 2, 3 nor 7 divides them: such a number of multiples is a multiple of nothing else."""
USUAL_SIDE_PX = 64
LEAST_SIDES_PX = (16, 32, 64, 128, 256)
REACH_STEP_PX, REACH_LIMIT_PX = 8, 160
"""What reaches farther counts as without end: a halo as wide would cost more than it is worth."""
ALIGNMENTS = 16
"""A stride can let one column see farther than its neighbour."""
LOUD = 1000.0
"""A change so large is still seen in float32 after it has gone through many layers."""
STRIDES = (1, 2, 4, 8, 16, 32, 64)
SAME = 1e-4


def find_size_rule(accepts: Callable[[int, int], bool]) -> SizeRule | None:
    """The smallest step of sides that a network takes, and the smallest side; None: it takes none that was tried.

    ``accepts`` says whether it takes tiles of (rows, columns), px.
    """
    for step in MULTIPLES:
        index = next(i for i, count in enumerate(COUNTS) if count * step >= USUAL_SIDE_PX)
        if accepts(COUNTS[index] * step, COUNTS[index + 1] * step):
            least = (ceil(side / step) * step for side in LEAST_SIDES_PX)
            smallest = next((side for side in least if accepts(side, side)), COUNTS[index + 1] * step)
            return SizeRule(step, smallest)
    return None


def find_reach(engine: Engine, rule: SizeRule) -> int | None:
    """How far a changed pixel changes the result, rounded up to 8 px; None: to the end of the tile, or beyond 160 px.

    A row of noise, then a column, is replaced by loud noise, at 16 places. What moves by less than a float32 can tell
    is not seen.
    """
    long = rule.max_side_px or rule.fit(2 * REACH_LIMIT_PX + ALIGNMENTS)
    short = rule.fit(USUAL_SIDE_PX)
    rng, reach_px = np.random.default_rng(0), 0
    first = (long - ALIGNMENTS) // 2
    for rows, columns, axis in ((short, long, 3), (long, short, 2)):
        tiles = rng.random((1, 3, rows, columns), dtype=np.float32)
        before = engine(tiles)
        for at in range(first, first + ALIGNMENTS):
            changed = tiles.copy()
            line = changed[:, :, :, at] if axis == 3 else changed[:, :, at]
            line[...] = LOUD * rng.standard_normal(line.shape, dtype=np.float32)
            moved = np.flatnonzero((engine(changed) != before).any(axis=tuple({0, 1, 2, 3} - {axis})))
            if len(moved) and (moved[0] == 0 or moved[-1] == long - 1):
                return None
            reach_px = max([reach_px, *(abs(int(end) - at) for end in moved[[0, -1]])]) if len(moved) else reach_px
    reach_px = ceil(reach_px / REACH_STEP_PX) * REACH_STEP_PX
    return reach_px if reach_px <= REACH_LIMIT_PX else None


def find_stride(engine: Engine, rule: SizeRule, reach_px: int) -> int | None:
    """The smallest shift of the input that shifts the result alone: tiles that begin on multiples of it are cut as the
    network cuts the image. None: none up to 64 px does.
    """
    width = rule.max_side_px or rule.fit(2 * reach_px + 2 * STRIDES[-1])
    height = rule.max_side_px or rule.fit(USUAL_SIDE_PX)
    wide = np.random.default_rng(0).random((1, 3, height, width + STRIDES[-1]), dtype=np.float32)

    def inner(shift: int) -> Tiles:
        """The result where no border is seen, of a tile that begins ``shift`` px farther right."""
        return engine(np.ascontiguousarray(wide[:, :, :, shift : shift + width]))[..., reach_px : width - reach_px]

    still = inner(0)
    for stride in STRIDES:
        if stride % rule.multiple_of == 0 and stride < still.shape[-1]:
            moved = inner(stride)
            if np.allclose(moved[..., :-stride], still[..., stride:], rtol=SAME, atol=SAME):
                return stride
    return None
