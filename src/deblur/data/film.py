"""Films as sources: windows of sharp frames and the flows between them, of which every crop draws its own exposure.

A film is looked through once, and its windows are kept on disk: frames, flows, and what was measured. A training crop
is a function of its key: which window, where, how long the exposure, what the camera adds. As a test set each window is
one pair of whole frames, with an exposure that never changes.

    KEY/film.json            what was measured, every window, what was left out and why; written last
    KEY/000123.frames.npy    (n, H, W, 3) uint8      KEY/000123.flows.npy    (n - 1, 2, 2, H / 2, W / 2) float16
"""

import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Dataset

from deblur.data.crops import Key, Sample, augment, dealt, side_of, to_tensor
from deblur.data.film_frames import OnLine, frames_of, hashed
from deblur.data.film_leaks import FilmMark
from deblur.data.film_windows import Window, choose, look_through
from deblur.data.folders import FILM_SUFFIXES
from deblur.data.pairs import check_holds_crop
from deblur.errors import DataError, DiskFull
from deblur.files import sole_writer, whole_file, write_json
from deblur.images import Rgb8
from deblur.synthesis.degrade import SURROUND_PX, recorded
from deblur.synthesis.draw import BlurRanges, draw
from deblur.synthesis.interpolation import Box, Strip, cv2, disagreement_px, exposed, flow_between, warped
from deblur.synthesis.light import SRGB, brightened, light_table

VERSION = f"3 av {av.__version__} OpenCV {cv2.__version__}"
WINDOWS_FILE = "film.json"
MOST_ASTRAY, ASTRAY_PX, LEAST_WARPED_DB = 0.2, 2.0, 22.0
"""A gap is not trusted where more of its pixels do not come back, or where one frame, warped, is not the other."""
PATH_PX = (4.0, 64.0)
"""Of a crop's exposure where it is fastest, at strength 1; log-uniform, times strength."""
FIXED_PATH_PX, FIXED_SEED = (7.0, 38.0), 20_262
FAST_PERCENTILE = 99.5
CORNERS = 3
"""Places that a crop is drawn from: the one where most moves. Crops without blur take the first."""
TOLD_S = 5.0
WAIT_S = 3600.0
"""For another process that looks the same film through."""


@dataclass(frozen=True)
class Film:
    """A film that was looked through. ``report`` is what ``film.json`` holds."""

    path: Path
    folder: Path
    report: dict[str, Any]

    @property
    def mark(self) -> FilmMark:
        """What tells the film, whatever it is called."""
        return FilmMark(str(self.path), self.folder.name.partition("-")[0], self.report["hashes"])

    @property
    def windows(self) -> list["FilmPair"]:
        """Those that may be trusted."""
        rows = self.report["windows"]
        return [FilmPair(self.path, self.folder, row["number"], row["path_px"]) for row in rows if not row["left_out"]]


@dataclass(frozen=True)
class FilmImage:
    """One side of a :class:`FilmPair`: of which film, and from which frame it is made, how."""

    pair: "FilmPair"
    side: int
    name: str
    files: tuple[Path, ...]
    made: str

    def load(self) -> Rgb8:
        """The pixels."""
        return self.pair.load()[self.side]


@dataclass(frozen=True)
class FilmPair:
    """A window as a pair of whole frames: (an exposure with a path of ``path_px`` where much moves, its middle)."""

    film: Path
    folder: Path
    number: int
    path_px: float

    @property
    def name(self) -> str:
        """``FILM/000123``: a film is one scene."""
        return f"{self.film.name}/{self.number:06}"

    @property
    def images(self) -> tuple[FilmImage, FilmImage]:
        """(blurry, sharp)"""
        made = f"{VERSION}, frame {self.number}"
        blurry = FilmImage(self, 0, self.name, (self.film,), f"{made}, path {self.path_px} px")
        return blurry, FilmImage(self, 1, self.name, (self.film,), f"{made}, sharp")

    @property
    def strip(self) -> tuple[Strip, int]:
        """Its frames and flows, and which frame is the sharp one.

        Raises:
            DataError: they are damaged or gone.
        """
        return _strip(self.folder, self.number)

    def load(self) -> tuple[Rgb8, Rgb8]:
        """(blurry, sharp) as a camera that adds up light sees them."""
        strip, centre = self.strip
        sharp, box = np.array(strip.frames[centre]), _whole(strip)
        half_s = half_length_s(strip, centre, box, self.path_px)
        light = exposed(strip, strip.times[centre] - half_s, strip.times[centre] + half_s, box, light_table(SRGB))
        return np.rint(SRGB.encode(light) * 255).astype(np.uint8), sharp


class FilmCrops(Dataset[Sample]):
    """Crops of windows with exposures of their own; sample ``key`` is a function of (seed, key, strength).

    Args:
        windows: dealt in a fresh order each pass over them.
        patch_px: side of a crop.
        seed: with a key, decides everything.
        ranges: what a camera adds, and ``sharp``, the share of crops without blur. The kinds of blur have no say.
    """

    def __init__(self, windows: Sequence[FilmPair], patch_px: int, seed: int, ranges: BlurRanges) -> None:
        self.windows, self.patch_px, self.seed = windows, patch_px, seed
        self.sharp_share = ranges.sharp / sum(share for _, share in ranges.kinds)
        self.ranges = replace(
            ranges,
            swing=0,
            shake=0,
            line=0,
            gaussian=0,
            defocus=0,
            measured=(),
            sharp=1,
            enlarged_share=0,
            shrunk_share=0,
        )

    def __getitem__(self, key: Key) -> Sample:
        """Sample ``key``, ``patch`` px a side.

        Raises:
            DataError: the film is smaller than that, or what is kept of it is gone.
        """
        rng = np.random.default_rng((self.seed, key))
        window = self._window(key)
        strip, centre = window.strip
        side_px = side_of(key, self.patch_px)
        check_holds_crop(window.name, strip.frames.shape[1:], side_px + 2 * SURROUND_PX)
        degradation = draw(rng, (side_px, side_px), key.strength, self.ranges)
        blurred = rng.random() >= self.sharp_share and key.strength > 0
        box = _box(rng, strip, centre, blurred, side_px)
        path_px = float(np.exp(rng.uniform(*np.log(PATH_PX)))) * key.strength
        half_s = half_length_s(strip, centre, box, path_px) if blurred else 0.0
        table = light_table(degradation.curve, degradation.gain, degradation.highlights)
        middle_s = strip.times[centre]
        outer = _grown(box, degradation.surround_px)
        blurry = recorded(exposed(strip, middle_s - half_s, middle_s + half_s, outer, table), degradation)
        sharp = np.array(strip.frames[(centre, *box)])
        if degradation.changes_light:
            sharp = brightened(degradation.curve, degradation.gain, degradation.highlights)[sharp]
        blurry, sharp = augment(rng, blurry, sharp)
        return Sample(to_tensor(blurry), to_tensor(sharp), int(key))

    def placed(self, key: Key, shapes: object) -> Sample:
        """As it is: a device holds no film."""
        return self[key]

    @property
    def images(self) -> Sequence[FilmImage]:
        """None that a device can hold."""
        return ()

    def name_of(self, key: int) -> str:
        """The window that sample ``key`` is cut from."""
        return self._window(key).name

    def _window(self, key: int) -> FilmPair:
        return dealt(self.windows, self.seed, key)


def _box(rng: np.random.Generator, strip: Strip, centre: int, blurred: bool, side_px: int) -> Box:
    rooms = [(side - side_px - 2 * SURROUND_PX) // 2 for side in strip.frames.shape[1:3]]
    corners = SURROUND_PX + 2 * rng.integers(0, np.array(rooms) + 1, (CORNERS, 2))
    boxes: list[Box] = [(slice(y, y + side_px), slice(x, x + side_px)) for y, x in corners.tolist()]
    return max(boxes, key=lambda box: fast_px(strip, centre, box)) if blurred else boxes[0]


def fast_px(strip: Strip, gap: int, box: Box) -> float:
    """The way that is long in a box over the gap after frame ``gap``: of a ball before a lawn, the ball's."""
    flow = strip.flows[gap, 0, :, box[0].start // 2 : box[0].stop // 2 : 2, box[1].start // 2 : box[1].stop // 2 : 2]
    return float(np.percentile(np.hypot(*flow.astype(np.float32)), FAST_PERCENTILE))


def half_length_s(strip: Strip, centre: int, box: Box, path_px: float) -> float:
    """Half the exposure whose path is ``path_px`` where the box is fast, as far as the window reaches on both sides."""
    return _reach_s(strip, centre) * min(1.0, path_px / max(longest_path_px(strip, centre, box), 1e-3))


def longest_path_px(strip: Strip, centre: int, box: Box) -> float:
    """The path where the box is fast of the longest exposure that the window allows, frame ``centre`` in its middle."""
    speeds = [fast_px(strip, gap, box) / (strip.times[gap + 1] - strip.times[gap]) for gap in (centre - 1, centre)]
    return 2 * _reach_s(strip, centre) * float(np.mean(speeds))


def _reach_s(strip: Strip, centre: int) -> float:
    return min(strip.times[centre] - strip.times[0], strip.times[-1] - strip.times[centre])


def _whole(strip: Strip) -> Box:
    return slice(0, strip.frames.shape[1]), slice(0, strip.frames.shape[2])


def films_in(place: Path) -> list[Path]:
    """A film, or those directly in a folder, by name.

    Raises:
        DataError: there is none.
    """
    if place.is_file():
        return [place]
    found = sorted(path for path in place.glob("*") if path.suffix.lower() in FILM_SUFFIXES and path.is_file())
    if not found:
        raise DataError(f"{place} is no film, and no folder of films ({', '.join(FILM_SUFFIXES)}).")
    return found


def find_film_pairs(place: Path, kept: Path | None, on_line: OnLine) -> list[FilmPair]:
    """The windows of a film, or of those in a folder; what cannot be used is told.

    Args:
        place: a film or a folder.
        kept: where frames and flows are kept; None takes the user's cache.
        on_line: told what is done, and what was left out.

    Raises:
        DataError: no film, or none with a window.
        DiskFull: no room for frames and flows, told before any is written.
    """
    films, pairs = films_in(place), list[FilmPair]()
    for path in films:
        try:
            film = open_film(path, kept, on_line)
        except DataError as error:
            if len(films) == 1:
                raise
            on_line(f"left out: {error}")
            continue
        pairs += film.windows
        if not film.windows:
            on_line(f"left out: {path.name} gives no window: {told_reasons(film.report)}")
    if not pairs:
        raise DataError(f"{place} gives no pair. 'deblur doctor film:{place}' says why.")
    return pairs


def films_of(pairs: Iterable[object]) -> list[Film]:
    """The films that pairs are made of."""
    places = sorted({(pair.film, pair.folder) for pair in pairs if isinstance(pair, FilmPair)})
    return [Film(*place, json.loads((place[1] / WINDOWS_FILE).read_bytes())) for place in places]


def told_reasons(report: dict[str, Any]) -> str:
    """How many frames and windows were left out, for which reason."""
    reasons = dict(report["left_out"])
    for row in report["windows"]:
        if row["left_out"]:
            reasons[row["left_out"]] = reasons.get(row["left_out"], 0) + 1
    return ", ".join(f"{reason} ({count})" for reason, count in sorted(reasons.items(), key=lambda each: -each[1]))


def user_cache() -> Path:
    """Where frames and flows are kept unless a cache is named."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "deblur" / "films"


def open_film(path: Path, kept: Path | None = None, on_line: OnLine = lambda line: None) -> Film:
    """Look a film through, and keep its windows; at the second time, read what was kept. As :func:`find_film_pairs`.

    Of several processes one looks, and the others wait.

    Raises:
        FolderInUse: another one is not done after ``WAIT_S``.
    """
    folder = (kept or user_cache()) / _key(path)
    if film := _read(path, folder):
        return film
    on_line(f"{path.name} is looked through")
    taken = f"Another process looks {path.name} through, into {folder}. Wait for it, or stop it."
    with sole_writer(folder, taken, WAIT_S):
        return _read(path, folder) or _looked_through(path, folder, on_line)


def _read(path: Path, folder: Path) -> Film | None:
    """What was kept; None where nothing was, or not all."""
    try:
        return Film(path, folder, json.loads((folder / WINDOWS_FILE).read_bytes()))
    except (OSError, ValueError):
        return None


def _looked_through(path: Path, folder: Path, on_line: OnLine) -> Film:
    hashes = list[str]()
    choice = choose(*look_through(hashed(frames_of(path, on_line), hashes)))
    rows = _kept(path, folder, choice.windows, on_line)
    if seconds := [choice.second[row["number"]] for row in rows if row["left_out"] and row["number"] in choice.second]:
        on_line(f"{path.name}: {len(seconds)} stretches are tried again at their next crispest frame")
        rows = sorted(rows + _kept(path, folder, seconds, on_line), key=lambda row: row["number"])
    report = {
        "film": path.name, "frames": choice.frames, "scenes": choice.scenes, "repeated": choice.repeated,
        "left_out": choice.left_out, "windows": rows, "hashes": hashes,
    }  # fmt: skip
    write_json(folder / WINDOWS_FILE, report)
    return Film(path, folder, report)


def _key(path: Path) -> str:
    """Of the film's size and ends, and, behind a hyphen, of what reads it."""
    try:
        with path.open("rb") as stream:
            size = path.stat().st_size
            start = stream.read(65_536)
            stream.seek(max(0, size - 65_536))
            content = hashlib.sha256(f"{size}".encode() + start + stream.read()).hexdigest()[:16]
            return f"{content}-{hashlib.sha256(VERSION.encode()).hexdigest()[:8]}"
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}).") from error


def _kept(path: Path, folder: Path, windows: Sequence[Window], on_line: OnLine) -> list[dict[str, Any]]:
    """Write frames and flows; returns a row for each window."""
    rows, told = list[dict[str, Any]](), time.monotonic()
    for window, frames in _frames_of(path, windows):
        if not rows:
            _check_room(path, folder, len(windows), frames.nbytes, on_line)
        rows.append(_row(window, frames, folder))
        if time.monotonic() - told > TOLD_S:
            told = time.monotonic()
            on_line(f"{path.name}: {len(rows)} of {len(windows)} windows")
    return rows


def _check_room(path: Path, folder: Path, count: int, frames_bytes: int, on_line: OnLine) -> None:
    needed = int(count * frames_bytes * (1 + 2 / 3))
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise DiskFull(
            f"{count} windows of {path.name} need {needed / 1e9:.2f} GB in {folder}, and {free / 1e9:.2f} GB are free. "
            "Make room, or name a cache on another disk."
        )
    on_line(f"{path.name}: {count} windows take at most {needed / 1e9:.2f} GB in {folder.parent}")


def _frames_of(path: Path, windows: Sequence[Window]) -> Iterator[tuple[Window, NDArray[np.uint8]]]:
    """Each window with its frames ``(n, H, W, 3)``, in one pass over the film."""
    waiting, held = list(windows), dict[int, Rgb8]()
    for number, (_, frame) in enumerate(frames_of(path)):
        if any(number in window.numbers for window in waiting):
            held[number] = frame
        while waiting and waiting[0].numbers[-1] == number:
            window = waiting.pop(0)
            yield window, np.stack([held[each] for each in window.numbers])
            held = {each: held[each] for each in held if waiting and each >= waiting[0].numbers[0]}
        if not waiting:
            return


def _row(window: Window, frames: NDArray[np.uint8], folder: Path) -> dict[str, Any]:
    """Work out the flows, keep what may be trusted, and tell what was measured."""
    gaps = [_flows(a, b) for a, b in pairwise(frames)]
    first = last = window.centre
    while first > 0 and not gaps[first - 1][1]:
        first -= 1
    while last < len(gaps) and not gaps[last][1]:
        last += 1
    near = [trouble for _, trouble in gaps[max(0, window.centre - 1) : window.centre + 1] if trouble]
    path_px = float(np.exp(np.random.default_rng((FIXED_SEED, window.number)).uniform(*np.log(FIXED_PATH_PX))))
    row = {
        "number": window.number,
        "time_s": round(window.times[window.centre], 3),
        "motion_px": round(window.motion_px, 2),
        "own_blur_px": round(window.own_blur_px, 2),
        "gaps": [window.centre - first, last - window.centre],
        "path_px": round(path_px, 1),
        "left_out": near[0] if near else "",
    }
    if not near:
        times = window.times[first : last + 1]
        strip = Strip(frames[first : last + 1], np.stack([flow for flow, _ in gaps[first:last]]), times)
        row["path_px"] = round(min(path_px, longest_path_px(strip, window.centre - first, _whole(strip))), 1)
        name = f"{row['number']:06}"
        _save(folder / f"{name}.frames.npy", strip.frames)
        _save(folder / f"{name}.flows.npy", strip.flows)
        write_json(folder / f"{name}.json", {"times": times, "centre": window.centre - first})
    return row


def _flows(first: Rgb8, second: Rgb8) -> tuple[NDArray[np.float16], str]:
    """Both flows of a gap, and why they cannot be trusted."""
    forward, backward = flow_between(first, second), flow_between(second, first)
    astray = float((disagreement_px(forward, backward) > ASTRAY_PX).mean())
    small = [each[::2, ::2].astype(np.float32) for each in (first, second)]
    error = np.square(warped(small[1], forward, 2) - small[0])[8:-8, 8:-8].mean()
    flows = np.stack([forward, backward]).astype(np.float16)
    if astray > MOST_ASTRAY:
        return flows, "the ways of many pixels do not lead back"
    return flows, "one frame, warped, is not the other" if error > 255**2 / 10 ** (LEAST_WARPED_DB / 10) else ""


def _save(path: Path, array: NDArray[Any]) -> None:
    with whole_file(path) as stream:
        np.lib.format.write_array(stream, np.ascontiguousarray(array))


@lru_cache(maxsize=64)
def _strip(folder: Path, number: int) -> tuple[Strip, int]:
    try:
        frames, flows = (np.load(folder / f"{number:06}.{each}.npy", mmap_mode="r") for each in ("frames", "flows"))
        told = json.loads((folder / f"{number:06}.json").read_bytes())
    except (OSError, ValueError) as error:
        raise DataError(f"{folder} is damaged or gone. Remove it and give the same command again.") from error
    return Strip(np.asarray(frames), np.asarray(flows), tuple(told["times"])), told["centre"]


def _grown(box: Box, px: int) -> Box:
    return slice(box[0].start - px, box[0].stop + px), slice(box[1].start - px, box[1].stop + px)
