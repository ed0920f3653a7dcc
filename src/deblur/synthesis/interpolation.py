"""What lies between the frames of a film, and what a longer exposure would have seen of it.

Two neighbouring frames are tied by dense optical flow in both directions (DIS: Kroeger et al., "Fast optical flow using
dense inverse search", ECCV 2016). The picture at a time between them is both frames, warped backward and blended. A
pixel counts by nearness in time, by whether its way there and back ends where it began, and by whether its own flow
carries it where it is drawn: so what is hidden in one frame comes from the frame that sees it. First guesses of ways
are those of Super SloMo (Jiang et al., CVPR 2018). An exposure is the mean of such pictures, in light or in codes, at
times so close that nothing jumps by more than a pixel.

Only the pixels that a crop can see are touched. Needs ``opencv-python-headless``, which the extra ``film`` brings.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import cv2 as _cv2
import numpy as np
from numpy.typing import NDArray

from deblur.images import Pixels, Rgb8

Flow = NDArray[np.float32]
"""``(2, H / 2, W / 2)``: how far right and down of its place every second pixel lies in the other frame, in the frame's
px. Half the size costs 0.1 dB, and is a quarter of the disk and of the work."""
Box = tuple[slice, slice]
"""Rows and columns of a crop, with even numbers at both ends."""

AGREEMENT_PX = 1.5
"""A way there and back that misses by this much counts a third."""
LANDING_PX = 1.0
"""A pixel whose own flow carries it this far from where it is drawn counts a quarter."""
HIDDEN = 0.02
"""What a pixel counts at least that its own flow carries here: the other frame hides it, so nothing can agree."""
UNSEEN = 1e-4
"""What a pixel counts that agrees with nothing, or lies beyond the border: little, but never nothing."""
COUNTS = 1e3
"""Brings weights far above the small number that OpenCV adds to them."""
ENLARGED = 3
MOST_STEPS = 128
PATCH_STRIDE, DESCENT_STEPS = 4, 16

cv2: Any = _cv2
"""Its stubs differ from version to version."""
cv2.setNumThreads(1)  # a loader has processes; threads beside them cost more than they bring


@dataclass(frozen=True)
class Strip:
    """Neighbouring frames of a film and the flows between them.

    Args:
        frames: ``(n, H, W, 3)`` uint8, H and W even, perhaps a read-only memory map.
        flows: ``(n - 1, 2, 2, H / 2, W / 2)`` float16 or float32: of every gap the flow forward and the flow backward.
        times: ``(n,)`` seconds, rising.
    """

    frames: NDArray[np.uint8]
    flows: NDArray[np.floating]
    times: Sequence[float]

    def longest_px(self, box: Box) -> NDArray[np.float32]:
        """``(n - 1,)``: the longest way of a pixel in the box, for each gap."""
        flows = self.flows[(..., *_halved(box))].astype(np.float32)
        return np.sqrt((flows * flows).sum(axis=2).max(axis=(1, 2, 3)))


def flow_between(first: Rgb8, second: Rgb8) -> Flow:
    """The flow from one frame to another of the same even size, at the finest scale."""
    flow = _fine().calc(_grey(first), _grey(second), None)
    return _planes(cv2.resize(flow, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA))


def quick_flow(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> Flow:
    """The flow between two small grey frames ``(H, W)``, of every pixel ``(2, H, W)``, to look a film through."""
    return _planes(cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_FAST).calc(first, second, None))


def warped(picture: NDArray[Any], flow: Flow, px: int = 1) -> NDArray[Any]:
    """``picture`` seen where the flow points to; ``px`` of the flow are one pixel of it. Its border goes on beyond."""
    places = _grid(*flow.shape[1:]) + flow / px
    return cv2.remap(picture, *places, cv2.INTER_LINEAR, None, cv2.BORDER_REPLICATE)


def disagreement_px(flow: Flow, back: Flow) -> NDArray[np.float32]:
    """``(H, W)``: by how far the way there and back misses where it began."""
    away_x, away_y = (own + warped(other, flow, 2) for own, other in zip(flow, back, strict=True))
    return cv2.magnitude(away_x, away_y)


def exposed(strip: Strip, begin: float, end: float, box: Box, light: Pixels) -> Pixels:
    """The mean of what lies between two times, ``(h, w, 3)`` float32, in the light (or the codes) that ``light`` tells.

    Args:
        strip: frames and flows; ``begin`` and ``end`` lie within its times.
        begin: seconds.
        end: seconds; where it equals ``begin``, the one picture of that time.
        box: of the frame.
        light: ``(256,)``, what each code stands for.
    """
    times = np.asarray(strip.times, np.float64)
    speeds = strip.longest_px(box) / np.diff(times)
    seen = (times[1:] > begin) & (times[:-1] < end)
    fastest = speeds[seen].max() if seen.any() else 0.0
    steps = int(min(MOST_STEPS, max(1, np.ceil((end - begin) * fastest))))
    moments = begin + (np.arange(steps) + 0.5) * ((end - begin) / steps)
    gaps = np.clip(np.searchsorted(times, moments, side="right") - 1, 0, len(times) - 2)
    view = _View(strip, slice(gaps[0], gaps[-1] + 1), box, light)
    total = np.zeros((*_shape(box), 4), np.float32)
    for gap, t in zip(gaps.tolist(), (moments - times[gaps]) / np.diff(times)[gaps], strict=True):
        cv2.accumulate(view.at(gap, float(t)), total)
    return np.asarray(total[..., :3] / np.float32(steps))


class _View:
    """Pictures of a box between frames. What can be seen from it is cut out once a gap, then warped for each time.

    Ways are worked out for every second pixel, and drawn out over the others. Pictures are codes with a fourth, unused
    channel: four bytes are warped fastest, and what rounding adds is lost in the mean.
    """

    def __init__(self, strip: Strip, gaps: slice, box: Box, light: Pixels) -> None:
        self.strip, self.light, self.half, self.gap = strip, light, _halved(box), -1
        rows, columns = self.half
        reach = int(np.ceil(np.abs(strip.flows[gaps, :, :, rows, columns]).max() / 2)) + 2
        down, right = max(0, rows.start - reach), max(0, columns.start - reach)
        self.seen = slice(down, rows.stop + reach), slice(right, columns.stop + reach)
        corner = np.array([columns.start - right, rows.start - down], np.float32)[:, None, None]
        self.grid = _grid(rows.stop - rows.start, columns.stop - columns.start) + corner
        places = ENLARGED * (_grid(*_shape(box)) + 2 * corner) + (ENLARGED - 1) / 2
        self.places = cv2.merge(list(places))
        self.pictures = dict[int, NDArray[np.uint8]]()

    def at(self, gap: int, t: float) -> Pixels:
        """The picture ``(h, w, 4)`` at ``t``, 0 (the frame before the gap) to 1 (the one after it)."""
        if gap != self.gap:
            self._enter(gap)
        forward, backward = self.own
        first, first_counts = self._seen(0, t, forward * (t * (1 - t)) - backward * (t * t))
        second, second_counts = self._seen(1, 1 - t, backward * (t * (1 - t)) - forward * ((1 - t) ** 2))
        return cv2.blendLinear(first, second, first_counts, second_counts)

    def _enter(self, gap: int) -> None:
        rows, columns = self.seen
        flows = self.strip.flows[gap, ..., rows, columns].astype(np.float32)
        self.gap, self.own = gap, self.strip.flows[gap, ..., self.half[0], self.half[1]].astype(np.float32)
        self.guides = [_guide(*flows), _guide(*flows[::-1])]
        known, seen = self.pictures, np.s_[2 * rows.start : 2 * rows.stop, 2 * columns.start : 2 * columns.stop]
        self.pictures = {
            number: known[number] if number in known else _enlarged(self.strip.frames[(number, *seen)], number % 2)
            for number in (gap, gap + 1)
        }

    def _seen(self, which: int, t: float, way: Flow) -> tuple[Pixels, NDArray[np.float32]]:
        """A frame as it looks ``t`` gaps away from it, and how much each pixel counts.

        ``way`` is a guess at how the pixels came here. The flow of the pixel that it points to is the better one, and
        a pixel that its own flow does not carry here is another thing's.
        """
        guide = cv2.remap(self.guides[which], *(self.grid - way / 2), cv2.INTER_LINEAR)  # beyond the border is nothing
        came_x, came_y = cv2.extractChannel(guide, 0) * t, cv2.extractChannel(guide, 1) * t
        missed = ((came_x - way[0]) ** 2 + (came_y - way[1]) ** 2) / LANDING_PX**2
        counts = ((cv2.extractChannel(guide, 2) + HIDDEN) / (1 + missed) ** 2 + UNSEEN) * ((1 - t) * COUNTS)
        size = self.places.shape[1::-1]
        places = cv2.scaleAdd(cv2.resize(cv2.merge([came_x, came_y]), size), -ENLARGED, self.places)
        picture = cv2.remap(self.pictures[self.gap + which], places, None, cv2.INTER_LINEAR, None, cv2.BORDER_REPLICATE)
        return cv2.LUT(picture, self.light), cv2.resize(counts, size)


def _halved(box: Box) -> Box:
    return slice(box[0].start // 2, box[0].stop // 2), slice(box[1].start // 2, box[1].stop // 2)


def _shape(box: Box) -> tuple[int, int]:
    return box[0].stop - box[0].start, box[1].stop - box[1].start


def _guide(flow: Flow, back: Flow) -> NDArray[np.float32]:
    """``(h, w, 4)``: the flow, how far it can be trusted (0 to 1), and nothing: four numbers are warped fastest."""
    trusted = np.exp(disagreement_px(flow, back) / -AGREEMENT_PX)
    return cv2.merge([*flow, trusted, trusted])


def _enlarged(picture: Rgb8, slot: int) -> NDArray[np.uint8]:
    """``(3 h, 3 w, 4)``, by cubics: drawn by lines between its pixels, it is nearly as good, and its own are exact.

    In memory that the next picture of the slot overwrites: to ask the system for it each time takes longer.
    """
    height, width = ENLARGED * picture.shape[0], ENLARGED * picture.shape[1]
    room = getattr(_rooms, str(slot), None)
    if room is None or room.size < height * width * 4:
        room = np.empty(height * width * 4, np.uint8)
        setattr(_rooms, str(slot), room)
    four = cv2.cvtColor(np.ascontiguousarray(picture), cv2.COLOR_BGR2BGRA)
    enlarged = room[: height * width * 4].reshape(height, width, 4)
    return cv2.resize(four, (width, height), enlarged, interpolation=cv2.INTER_CUBIC)


_rooms = threading.local()


def _planes(flow: NDArray[np.float32]) -> Flow:
    return np.ascontiguousarray(np.moveaxis(flow, 2, 0))


def _grey(rgb: Rgb8) -> NDArray[np.uint8]:
    return cv2.cvtColor(np.ascontiguousarray(rgb), cv2.COLOR_RGB2GRAY)


@lru_cache(maxsize=8)
def _grid(height: int, width: int) -> NDArray[np.float32]:
    """``(2, height, width)``: x and y of each pixel."""
    return np.stack(np.meshgrid(np.arange(width), np.arange(height))).astype(np.float32)


def _fine() -> Any:
    search = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    search.setFinestScale(0)
    search.setPatchStride(PATCH_STRIDE)
    search.setGradientDescentIterations(DESCENT_STEPS)
    return search
