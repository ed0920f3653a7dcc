"""Which frames of a film can be the sharp picture of a pair, found by measurement; and why others cannot.

A film is looked through once, small: what moves between neighbouring frames and how far, where it is cut, what is shown
twice, how crisp each frame is and how blurred itself. A window is a frame with up to three gaps on each side.
"""

from collections import Counter, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deblur.images import Rgb8
from deblur.synthesis.interpolation import cv2, quick_flow, warped

SMALL_PX = 384
"""Longer side of the frames that are looked through."""
GAPS = 3
"""On each side of a window's frame."""
WINDOWS = 16
"""At most, of a film: they are spread over it, the crispest of each stretch."""
STRETCH_FRAMES = 8
STILL_PX, STILL_SHARE = 0.5, 0.1
REPEATED_LEVELS = 1.0
"""Frames whose every block differs by less are one frame shown twice."""
UNEXPLAINED = 0.45
"""What flow leaves of a picture's contrast where it is cut."""
FASTEST_PX, LONGEST_S = 60.0, 0.15
OWN_BLUR_PX, FAST_SHARE = 4.0, 0.3
"""A frame is no target where what moves is blurred by more; only places that move at least so much as the fastest
tell, for a still background hides them."""
DISSOLVE_LEVELS, DISSOLVE_LINEAR, DISSOLVE_UNEXPLAINED = 2.0, 0.36, 0.5
FINER = np.array([1.0, 0.991, 0.932, 0.839, 0.744, 0.621, 0.559, 0.489])
BLURRED_PX = np.array([0, 1, 2, 3, 4, 6, 8, 12])
"""How fine detail is along a motion, compared with across it, where it is blurred by so much: the medians over the
installed photographs, each blurred on purpose. A tenth of them lies 0.05 or more from these."""

Gradients = tuple[NDArray[np.float32], ...]


@dataclass(frozen=True)
class Look:
    """What is known of one frame, repeated ones left out.

    Args:
        number: of the frame, from 0, repeated ones counted.
        time_s: when it is seen.
        motion_px: the 90th percentile of the flow from the frame before.
        trouble: why nothing may be interpolated between that frame and this one; "" where it may.
        crisp: how fine its detail is, the more the finer.
        own_blur_px: along its motion, where it is fast, from the frame before or to the one behind.
    """

    number: int
    time_s: float
    motion_px: float
    trouble: str
    crisp: float
    own_blur_px: float


@dataclass(frozen=True)
class Window:
    """Frames that go together.

    Args:
        numbers: of the frames.
        times: seconds.
        centre: which of them is the sharp one.
        motion_px: of the gaps at its sides, the larger.
        own_blur_px: of the sharp frame.
    """

    numbers: tuple[int, ...]
    times: tuple[float, ...]
    centre: int
    motion_px: float
    own_blur_px: float

    @property
    def number(self) -> int:
        """Of the sharp frame."""
        return self.numbers[self.centre]


@dataclass(frozen=True)
class Choice:
    """The windows of a film, and how many of its frames were left out for which reason.

    ``second``: by the number of a window's sharp frame, what its stretch offers where the flow rejects that window.
    """

    windows: tuple[Window, ...]
    second: dict[int, Window]
    left_out: dict[str, int]
    frames: int
    scenes: int
    repeated: int


def look_through(frames: Iterable[tuple[float, Rgb8]]) -> tuple[list[Look], int]:
    """A look at every frame that is not a repetition, and how many frames there are."""
    looks, smalls, count = list[Look](), deque[NDArray[np.uint8]](maxlen=2 * GAPS + 1), 0
    dissolving, gradients = dict[int, str](), _gradients(np.zeros((2, 2), np.uint8))
    for time_s, frame in frames:
        count += 1
        grey = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
        scale = min(1.0, SMALL_PX / max(grey.shape))
        small = cv2.resize(grey, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        if smalls and _blocks(cv2.absdiff(small, smalls[-1])).max() < REPEATED_LEVELS:
            continue
        motion_px, trouble, flow = 0.0, "the film begins", np.zeros((2, *small.shape), np.float32)
        if smalls:
            flow = quick_flow(small, smalls[-1])
            motion_px = float(np.percentile(np.hypot(*flow), 90) / scale)
            trouble = _trouble(small, smalls[-1], flow, motion_px, time_s - looks[-1].time_s)
            ahead_px = _own_blur_px(gradients, quick_flow(smalls[-1], small), scale)  # a flow may miss what moves
            looks[-1] = replace(looks[-1], own_blur_px=max(looks[-1].own_blur_px, ahead_px))
        gradients = _gradients(grey)
        smalls.append(small)
        own_blur_px = _own_blur_px(gradients, flow, scale)
        looks.append(Look(count - 1, time_s, motion_px, trouble, _crispness(gradients), own_blur_px))
        if len(smalls) == smalls.maxlen and _dissolves(smalls):
            dissolving |= dict.fromkeys(range(len(looks) - 2 * GAPS, len(looks)), "a dissolve or a fade")
    return _retimed([replace(look, trouble=dissolving.get(i) or look.trouble) for i, look in enumerate(looks)]), count


def choose(looks: Sequence[Look], count: int) -> Choice:
    """The windows of a film: of each stretch the crispest frame with good gaps on both sides; few that are still."""
    best, stretches, left_out = list[tuple[float, Window]](), list[list[Window]](), Counter[str]()
    parts = max(1, min(WINDOWS, len(looks) // STRETCH_FRAMES))
    for part in np.array_split(np.arange(len(looks)), parts):
        scored = list[tuple[float, Window]]()
        taken = best[-1][1].number if best else -GAPS
        for i in map(int, part):
            reason = _reason(looks, i)
            if reason:
                left_out[reason] += 1
            elif looks[i].number - taken >= GAPS:  # or it would be nearly the same picture
                window = _window(looks, i)
                scored.append((looks[i].crisp * (1 + 0.05 * min(window.motion_px, 10)), window))
        scored.sort(key=lambda each: -each[0])
        best += scored[:1]
        stretches += [[window for _, window in scored]] if scored else []
    moving = [window for _, window in best if window.motion_px >= STILL_PX]
    still = sorted((each for each in best if each[1].motion_px < STILL_PX), key=lambda each: -each[0])
    kept = still[: max(1, round(STILL_SHARE * len(best)))] if still else []
    left_out["nothing moves"] += len(still) - len(kept)
    windows = sorted([*moving, *(window for _, window in kept)], key=lambda window: window.numbers)
    scenes = 1 + sum(look.trouble == "a cut" for look in looks)
    return Choice(tuple(windows), _second(stretches), dict(+left_out), count, scenes, count - len(looks))


def _second(stretches: Sequence[Sequence[Window]]) -> dict[int, Window]:
    """What each offers in place of its first choice, by that one's number: a window that shares no gap at its sides
    with it, and is ``GAPS`` frames or more from all that the others offer."""
    firsts, second = {windows[0].number for windows in stretches}, dict[int, Window]()
    for first, *others in stretches:
        taken = firsts - {first.number} | {window.number for window in second.values()}
        for window in others:
            if abs(window.number - first.number) > 1 and all(abs(window.number - each) >= GAPS for each in taken):
                second[first.number] = window
                break
    return second


def _reason(looks: Sequence[Look], i: int) -> str:
    if i + 1 >= len(looks):
        return "the film ends"
    if trouble := looks[i].trouble or looks[i + 1].trouble:
        return trouble
    return "blurred itself" if looks[i].own_blur_px > OWN_BLUR_PX else ""


def _window(looks: Sequence[Look], i: int) -> Window:
    first, last = i, i
    while first > max(0, i - GAPS) and not looks[first].trouble:
        first -= 1
    while last < min(len(looks) - 1, i + GAPS) and not looks[last + 1].trouble:
        last += 1
    inside = looks[first : last + 1]
    motion_px = max(looks[i].motion_px, looks[i + 1].motion_px)
    numbers, times = tuple(look.number for look in inside), tuple(look.time_s for look in inside)
    return Window(numbers, times, i - first, motion_px, looks[i].own_blur_px)


def _trouble(
    small: NDArray[np.uint8], before: NDArray[np.uint8], flow: NDArray[np.float32], motion_px: float, gap_s: float
) -> str:
    if _unexplained(small, before, flow) / (small.std() + 5) > UNEXPLAINED:
        return "a cut"
    if motion_px > FASTEST_PX:
        return f"faster than {FASTEST_PX:.0f} px a frame"
    return f"more than {LONGEST_S} s without a frame" if gap_s > LONGEST_S else ""


def _unexplained(small: NDArray[np.uint8], other: NDArray[np.uint8], flow: NDArray[np.float32]) -> float:
    """Levels that remain where ``other`` is seen along the flow."""
    return float(np.abs(np.float32(warped(other, flow)) - small).mean())


def _dissolves(smalls: Sequence[NDArray[np.uint8]]) -> bool:
    """Whether the picture turns into another: the middle is the mean of the ends, and no motion explains the change."""
    first, middle, last = (_blocks(smalls[i], 1 / 32) for i in (0, GAPS, -1))  # where motion hardly shows
    change = np.abs(last - first).mean()
    bent = np.abs(middle - (first + last) / 2).mean()
    if change < DISSOLVE_LEVELS or bent > DISSOLVE_LINEAR * change / 2:
        return False
    unmoved = float(np.mean(cv2.absdiff(smalls[-1], smalls[0])))
    return _unexplained(smalls[-1], smalls[0], quick_flow(smalls[-1], smalls[0])) > DISSOLVE_UNEXPLAINED * unmoved


def _blocks(levels: NDArray[np.uint8], scale: float = 1 / 8) -> NDArray[np.float32]:
    return cv2.resize(levels.astype(np.float32), None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)


def _gradients(grey: NDArray[np.uint8]) -> Gradients:
    """First and second derivatives of a frame: x, y, xx, yy, xy."""
    gx, gy = (cv2.Sobel(grey, cv2.CV_32F, *of) for of in ((1, 0), (0, 1)))
    return gx, gy, *(cv2.Sobel(g, cv2.CV_32F, *of, ksize=1) for g, of in ((gx, (1, 0)), (gy, (0, 1)), (gx, (0, 1))))


def _crispness(gradients: Gradients) -> float:
    """How fine the detail in a frame's middle is."""
    gx, gy, xx, yy, _ = map(_middle, gradients)
    return float(np.square(xx + yy).mean() / (np.square(gx).mean() + np.square(gy).mean() + 1))


def _own_blur_px(gradients: Gradients, flow: NDArray[np.float32], scale: float) -> float:
    """By how many px a frame is blurred along its motion where that is fast."""
    length, size = np.hypot(*flow), gradients[0].shape[::-1]
    fast = length > max(scale, FAST_SHARE * float(np.percentile(length, 99)))
    if fast.mean() < 0.02:
        return 0.0
    direction = [*(flow / np.maximum(length, 1e-6)).astype(np.float32), fast.astype(np.uint8)]
    u, v, there = (cv2.resize(each, size, interpolation=cv2.INTER_NEAREST) for each in direction)
    gx, gy, xx, yy, xy, u, v = (each[there > 0] for each in (*gradients, u, v))
    along = np.square(xx * u * u + 2 * xy * u * v + yy * v * v).mean() / (np.square(gx * u + gy * v).mean() + 1e-3)
    across = np.square(xx * v * v - 2 * xy * u * v + yy * u * u).mean() / (np.square(gy * u - gx * v).mean() + 1e-3)
    return float(np.interp(-np.sqrt(along / (across + 1e-6)), -FINER, BLURRED_PX))


def _middle(pixels: NDArray[Any]) -> NDArray[Any]:
    height, width = pixels.shape[-2:]
    return pixels[..., height // 4 : height - height // 4, width // 4 : width - width // 4]


def _retimed(looks: list[Look]) -> list[Look]:
    """A film of 24 frames a second is shown at 30 by repeating some: there, times are spread evenly.

    A gap that is twice as long as its neighbours, but in which nothing moves farther, was not longer for the camera.
    """
    if len(looks) < 3:
        return looks
    gaps = np.diff([look.time_s for look in looks])
    usual = float(np.median(gaps))
    moved = np.array([look.motion_px for look in looks[1:]])
    for i in np.flatnonzero(gaps > 1.5 * usual):
        repeated = looks[i + 1].number - looks[i].number > 1
        near = np.median([*moved[max(0, i - 2) : i], *moved[i + 1 : i + 3]])
        if repeated and moved[i] < 1.5 * near:
            gaps[i] = usual
    times = looks[0].time_s + np.concatenate([[0.0], np.cumsum(gaps)])
    return [replace(look, time_s=float(time_s)) for look, time_s in zip(looks, times, strict=True)]
