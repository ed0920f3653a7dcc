"""What is there twice: inside a set, and on both sides of train and validation.

The same by content (of bytes or of pixels), the same by a perceptual hash, and frames of one sequence by their names,
which the pictures must confirm before it is an error: REDS numbers its scenes from 000 in every split.
"""

import hashlib
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from deblur.data.doctor.files import Bits, is_empty, look_at_all
from deblur.data.doctor.findings import Finding
from deblur.data.doctor.listing import Item
from deblur.data.pairs import evenly_chosen

SAME_BITS, LIKE_BITS, NEIGHBOUR_BITS = 64, 96, 160
"""Of 512: the same photo at half size as JPEG 50 differs in 40 (99 %); of 140,000 pairs of different photographs none
differs in fewer than 109, most in about 245; neighbouring frames in 45 to 250."""
FRAME = re.compile(r"(.*?)(?:[-_ ]f?)?(\d+)")
AVERAGED = re.compile(r"[-_]?avg\d+$")
HEAD_BYTES = 16_384
MOST_HEADS, MOST_WHOLE = 10_000, 64
MOST_PICTURES = 20_000
ROWS = 512

Keys = Mapping[Path, str]
Pictures = Mapping[Path, Bits | None]


@dataclass(frozen=True)
class Neighbours:
    """Two items of one sequence on either side, with their frame numbers (train, validation)."""

    validation: Item
    train: Item
    sequence: str
    frames: tuple[int, int]


def keys_by_bytes(files: Sequence[Path]) -> dict[Path, str]:
    """A content hash of those files alone that share size and first bytes with another; bounded for any number.

    At most ``MOST_HEADS`` files are opened, and ``MOST_WHOLE`` read whole to be sure.
    """
    by_size = _shared({path: _size(path) for path in files})
    by_head = _shared({path: f"{by_size[path]} {_digest(path, HEAD_BYTES)}" for path in list(by_size)[:MOST_HEADS]})
    return _shared({path: _digest(path) for path in list(by_head)[:MOST_WHOLE]})


def duplicates(items: Sequence[Item], keys: Keys) -> list[Finding]:
    """The same pair or photo twice, one blurry image with two sharp ones, a blurry image that is its own sharp one."""
    found = [_identical(item) for item in items if item.is_pair and _same(keys, *item.files)]
    groups: dict[str, list[Item]] = defaultdict(list)
    for item in items:
        if item.files[0] in keys:
            groups[keys[item.files[0]]].append(item)
    for group in groups.values():
        if len(group) > 1:
            one_sharp = all(_same(keys, group[0].sharp, item.sharp) for item in group)
            text = "the same image" if one_sharp else "one blurry image, different sharp ones"
            files = tuple(str(item.files[0]) for item in group)
            found.append(Finding("duplicate", "warning", files, f"{text}, {len(group)} times"))
    return found


def motionless(items: Sequence[Item]) -> list[Finding]:
    """Averaged frames that are all the same file: their mean is the sharp one. At most ``MOST_HEADS`` are looked at."""
    averaged = [item for item in items if item.frames]
    some = evenly_chosen(averaged, MOST_HEADS // max((len(item.frames) for item in averaged), default=1))
    return [
        Finding("nothing_to_gain", "warning", (str(item.sharp),), f"its {len(item.frames)} frames are all the same")
        for item in some
        if all(len({look(path) for path in item.frames}) == 1 for look in (_size, _digest))
    ]


def near_duplicates(items: Sequence[Item], keys: Keys, pictures: Pictures) -> list[Finding]:
    """Photos that look the same without being the same pixels: another size, another quality. Each is told once, beside
    the nearest before it."""
    distinct, found = dict[str, Item](), list[Finding]()
    for item in items[:MOST_PICTURES]:
        distinct.setdefault(keys.get(item.sharp, str(item.sharp)), item)
    for distance, item, before in _nearest(list(distinct.values()), None, pictures, SAME_BITS):
        files = (str(before.sharp), str(item.sharp))
        text = f"perceptual hashes differ in {distance} of 512 bits"
        found.append(Finding("near_duplicate", "note", files, text, distance, SAME_BITS))
    return found


def leaks(
    train: Sequence[Item],
    validation: Sequence[Item],
    neighbours: Sequence[Neighbours],
    keys: Keys,
    pictures: Pictures,
) -> list[Finding]:
    """What validation shares with training; each validation item is told once, by the strongest evidence."""
    training = {path for item in train for path in item.files}
    by_key = {keys[path]: path for path in training if path in keys}
    found, told = [], set[Item]()
    for item in validation:
        twins = (path if path in training else by_key.get(keys.get(path, "")) for path in item.files)
        twin = next((path for path in twins if path), None)
        if twin is not None:
            told.add(item)
            found.append(
                Finding("leak_same_file", "error", (str(item.sharp), str(twin)), "the same image on both sides")
            )
    for shared in neighbours:
        if shared.validation not in told and (finding := _leaking_sequence(shared, pictures)):
            told.add(shared.validation)
            found.append(finding)
    for distance, one, other in _nearest(validation, train[:MOST_PICTURES], pictures, LIKE_BITS):
        if one not in told:
            told.add(one)
            same = distance <= SAME_BITS
            text = f"perceptual hashes differ in {distance} of 512 bits"
            limit = SAME_BITS if same else LIKE_BITS
            files = (str(one.sharp), str(other.sharp))
            found.append(Finding("leak_scene", "error" if same else "warning", files, text, distance, limit))
    return found


def shared_sequences(train: Sequence[Item], validation: Sequence[Item]) -> list[Neighbours]:
    """Each validation frame whose sequence training has, too, with the training frame that is nearest by number."""
    frames: dict[str, list[tuple[int, Item]]] = defaultdict(list)
    wanted = {place[0] for item in validation if (place := sequence_and_frame(item.name))}
    for item in train:
        if (place := sequence_and_frame(item.name)) and place[0] in wanted:
            frames[place[0]].append((place[1], item))
    shared = []
    for item in validation:
        place = sequence_and_frame(item.name)
        if place and place[0] in frames:
            number = place[1]
            nearest = min(frames[place[0]], key=lambda frame: abs(frame[0] - number))
            shared.append(Neighbours(item, nearest[1], place[0], (nearest[0], number)))
    return shared


def sequence_and_frame(name: str) -> tuple[str, int] | None:
    """What a name says: ``GOPR0372_07_00/000047.png`` and ``GOPR0372_07_00-f000047-avg8.webp`` are frame 47 of
    ``GOPR0372_07_00``. None where there is no number, or where no digit tells its sequence from others (``IMG_0012``).
    """
    folder, _, file = name.rpartition("/")
    match = FRAME.fullmatch(AVERAGED.sub("", file.rpartition(".")[0]))
    if not match:
        return None
    parts = [part for part in (folder, match[1]) if part]
    sequence = "/".join(parts)
    return (sequence, int(match[2])) if any(c.isdigit() for c in sequence) else None


def _identical(item: Item) -> Finding:
    """An error, but of a picture of nothing, such as a black frame, which is what it is."""
    files = tuple(map(str, item.files))
    if is_empty(look_at_all(item.sharp)[1]):
        return Finding("nothing_to_gain", "warning", files, "blurry and sharp show nothing, such as black")
    return Finding("identical", "error", files, "blurry and sharp are the same image")


def _leaking_sequence(shared: Neighbours, pictures: Pictures) -> Finding | None:
    files = (str(shared.validation.sharp), str(shared.train.sharp))
    text = f"frames {shared.frames[0]} and {shared.frames[1]} of {shared.sequence}"
    mine, theirs = pictures.get(shared.validation.sharp), pictures.get(shared.train.sharp)
    if mine is not None and theirs is not None:
        distance = int((mine != theirs).sum())
        if distance <= NEIGHBOUR_BITS:
            return Finding("leak_sequence", "error", files, f"{text} look alike", distance, NEIGHBOUR_BITS)
    if any(c.isalpha() for c in shared.sequence):
        return Finding("leak_sequence", "warning", files, f"{text}, by name; the pictures are not alike")
    return None


def _nearest(
    some: Sequence[Item], others: Sequence[Item] | None, pictures: Pictures, most_bits: int
) -> list[tuple[int, Item, Item]]:
    """Each item with the nearest other (None: of those before it) whose hash differs in at most ``most_bits``.

    The closest come first; a product of matrices counts.
    """
    only_before = others is None
    some = [item for item in some if pictures.get(item.sharp) is not None]
    others = some if others is None else [item for item in others if pictures.get(item.sharp) is not None]
    if not some or not others:
        return []
    right = np.stack([np.asarray(pictures[item.sharp], np.float32) for item in others])
    found = []
    for start in range(0, len(some), ROWS):
        rows = some[start : start + ROWS]
        left = np.stack([np.asarray(pictures[item.sharp], np.float32) for item in rows])
        distances = (right.shape[1] - left @ right.T) / 2
        if only_before:
            distances[np.arange(len(others)) >= start + np.arange(len(rows))[:, None]] = np.inf
        for i, j in enumerate(distances.argmin(axis=1)):
            if distances[i, j] <= most_bits:
                found.append((int(distances[i, j]), rows[i], others[j]))
    return sorted(found, key=lambda close: close[0])


def _same(keys: Keys, one: Path, other: Path) -> bool:
    return one == other or (one in keys and keys[one] == keys.get(other))


def _shared(values: Mapping[Path, str]) -> dict[Path, str]:
    """Only those whose value another has, too."""
    counts: dict[str, int] = defaultdict(int)
    for value in values.values():
        counts[value] += 1
    return {path: value for path, value in values.items() if value and counts[value] > 1}


def _size(path: Path) -> str:
    try:
        return str(path.stat().st_size)
    except OSError:
        return ""


def _digest(path: Path, most_bytes: int = -1) -> str:
    try:
        with path.open("rb") as stream:
            return hashlib.blake2b(stream.read(most_bytes), digest_size=16).hexdigest()
    except OSError:
        return ""
