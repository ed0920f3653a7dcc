"""The dataset doctor: finds what is wrong with pairs or photos before it costs a night.

:func:`examine` takes pairs that were found already, :func:`examine_folder` lists a folder itself and so sees files
without a partner, too. Quick, it reads names, sizes and some headers, and looks at a few pairs whole; otherwise at all.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import chain
from os import cpu_count
from pathlib import Path

import numpy as np

from deblur.data.doctor import pairs as of_pairs
from deblur.data.doctor import splits
from deblur.data.doctor.colours import exchanged_channels, other_colours
from deblur.data.doctor.files import FileLook, is_empty, look_at_all, look_at_header
from deblur.data.doctor.findings import ADVICE, Finding, Measures, Report, Severity, by_severity
from deblur.data.doctor.listing import Item, assumed_partners, items_of, listed, other_law
from deblur.data.doctor.registration import LEAST_SIDE_PX
from deblur.data.frames import FramePair
from deblur.data.pairs import ImageFile, PairFiles, evenly_chosen
from deblur.data.saved import law_of

__all__ = ["ADVICE", "Finding", "Measures", "Report", "Severity", "examine", "examine_folder"]

QUICK_HEADERS = 500
QUICK_PAIRS = 6
QUICK_SEQUENCES = 3
PATCH_PX = 256
ROUNDING_VARIANCE = 1 / 12
"""Of levels of 255; the same limit as ``evaluation.scores.NOTHING_TO_GAIN_DB``."""
SCORED_PX = 11
"""The shorter side that MS-SSIM and SSIM need."""
EXPLAINS_COLOURS = ("different_picture", "tone_curve")

Tell = Callable[[int, int], None]
"""Called with (items done, items in all)."""


@dataclass(frozen=True)
class Look:
    """All that is kept of an item once its pixels are gone."""

    item: Item
    files: tuple[FileLook, ...]
    measures: Measures | None = None
    findings: list[Finding] = field(default_factory=list)


def examine(
    items: Sequence[PairFiles | FramePair | ImageFile],
    validation: Sequence[PairFiles | FramePair | ImageFile] = (),
    patch_px: int | None = None,
    quick: bool = False,
) -> Report:
    """Look at pairs and photos that were found already.

    Args:
        items: to train on.
        validation: to validate on; these need not hold a crop, and must not be in ``items``.
        patch_px: side of the training crop: an image that is smaller is an error. None: smaller than 256 is a note.
        quick: for every start of a training: under 2 s for 50 pairs of 1280 x 720, and bounded for 100,000 files.
    """
    return _examined(items_of(items), items_of(validation), [], patch_px, quick, None)


def examine_folder(
    folder: Path,
    validation: Path | None = None,
    patch_px: int | None = None,
    quick: bool = False,
    tell: Tell | None = None,
    blur_gamma: bool = False,
) -> Report:
    """Look at a folder of pairs (flat or GoPro layout) or of photos, telling how far it is; else as :func:`examine`.

    Raises:
        DataError: a folder is missing or holds neither.
    """
    train, findings = listed(folder, blur_gamma)
    held_out, more = listed(validation, blur_gamma) if validation else ([], [])
    return _examined(train, held_out, findings + more, patch_px, quick, tell)


def _examined(
    train: Sequence[Item],
    validation: Sequence[Item],
    findings: list[Finding],
    patch_px: int | None,
    quick: bool,
    tell: Tell | None,
) -> Report:
    items = [*train, *validation]
    whole, headers = set(items), list[Item]()
    neighbours = splits.shared_sequences(train, validation)
    if quick:
        whole = set(evenly_chosen(train, QUICK_PAIRS) + evenly_chosen(validation, QUICK_PAIRS // 3))
        some = evenly_chosen(neighbours, QUICK_SEQUENCES)
        whole |= {item for shared in some for item in (shared.train, shared.validation)}
        headers = [item for item in evenly_chosen(items, QUICK_HEADERS) if item not in whole]
    looks = _looked_at([item for item in items if item in whole], headers, tell)

    files = [look for one in looks for look in one.files]
    pictures = {look.path: look.bits for look in files}
    keys = {look.path: look.pixels for look in files if look.pixels}
    if quick:
        keys = splits.keys_by_bytes([path for item in items for path in item.files])

    findings += chain.from_iterable(look.findings for look in looks)
    for which, part in (("training", train), ("validation", validation)):
        inside = set(part)
        of_part = [look for look in looks if look.item in inside]
        findings += of_pairs.judged_together([look.measures for look in of_part if look.measures], which)
        findings += _grey_among_colour(of_part)
        findings += assumed_partners(part) + other_law(part)
        findings += splits.duplicates(part, keys) + splits.motionless(part)
        findings += _too_small(of_part, patch_px, trains=part is train)
    findings += splits.near_duplicates([item for item in train if not item.is_pair], keys, pictures)
    findings += splits.leaks(train, validation, neighbours, keys, pictures)
    looked_at = {
        "items": len(items),
        "validation": len(validation),
        "headers": len(looks),
        "whole": len(whole),
        "registered": sum(look.measures is not None for look in looks),
    }
    measures = [look.measures for look in looks if look.measures]
    return Report(by_severity(list(dict.fromkeys(findings))), looked_at, tuple(measures))


def _looked_at(whole: Sequence[Item], headers: Sequence[Item], tell: Tell | None) -> list[Look]:
    looks, total = [], len(whole) + len(headers)
    with ThreadPoolExecutor(cpu_count()) as pool:  # decoding lets other threads run
        for look in chain(pool.map(_look_at_all, whole), pool.map(_look_at_headers, headers)):
            looks.append(look)
            if tell:
                tell(len(looks), total)
    return looks


def _look_at_headers(item: Item) -> Look:
    files = tuple(look_at_header(path) for path in item.files)
    return Look(item, files, findings=_of_files(item, files))


def _look_at_all(item: Item) -> Look:
    """Decode the item's files; of a good pair, measure how the two images go together."""
    files, images = zip(*(look_at_all(path) for path in item.files), strict=True)
    findings = _of_files(item, files)
    if not item.is_pair and not item.frames and is_empty(images[0]):
        findings = [*findings, _nothing_to_gain(item, "it shows nothing, such as black")]
    if not item.is_pair or any(look.trouble or look.size_px != files[0].size_px for look in files):
        return Look(item, files, findings=findings)
    blurry, sharp = images
    assert blurry is not None
    assert sharp is not None
    if files[0].pixels == files[1].pixels:  # told by splits.duplicates
        return Look(item, files, findings=findings)
    if np.square(blurry - sharp.astype(float)).mean() < ROUNDING_VARIANCE:
        text = "blurry and sharp differ by less than rounding to 8 bit does"
        return Look(item, files, findings=[*findings, _nothing_to_gain(item, text)])
    if exchanged := exchanged_channels(item, blurry, sharp):
        return Look(item, files, findings=[*findings, *exchanged])
    if min(sharp.shape[:2]) < LEAST_SIDE_PX:
        return Look(item, files, findings=findings)
    measures = of_pairs.measured(item, blurry, sharp)
    judged = of_pairs.judged(measures)
    if law_of(item.files[0].parent.parent):  # how far a path's mean is from its middle was drawn, too
        judged = [finding for finding in judged if finding.kind != "misaligned"]
    if files[0].grey == files[1].grey and not any(finding.kind in EXPLAINS_COLOURS for finding in judged):
        judged += other_colours(item, blurry, sharp)
    return Look(item, files, measures, findings + judged)


def _nothing_to_gain(item: Item, text: str) -> Finding:
    return Finding("nothing_to_gain", "warning", tuple(map(str, item.files)), text)


def _of_files(item: Item, files: Sequence[FileLook]) -> list[Finding]:
    """Troubles of single files, else what does not go together in a pair."""
    troubles = [look.trouble for look in files if look.trouble]
    if troubles:
        return troubles
    names = tuple(str(path) for path in item.files)
    found = [
        Finding("channels", "warning", (str(look.path),), f"transparency (mode {look.mode}), which is dropped")
        for look in files
        if look.transparent
    ]
    found += [
        Finding("channels", "warning", (str(look.path),), f"mode {look.mode} instead of RGB")
        for look in files
        if look.mode in ("P", "PA", "CMYK", "1") and not look.transparent
    ]
    if len({look.size_px for look in files}) > 1:
        sizes = " and ".join(f"{look.size_px[0]} x {look.size_px[1]}" for look in files if look.size_px)
        found.append(Finding("size", "error", names, sizes))
    if len({look.grey for look in files}) > 1:
        found.append(Finding("channels", "error", names, "one is grey, the other has colours"))
    return found


def _grey_among_colour(looks: Sequence[Look]) -> list[Finding]:
    grey = [look for look in looks if all(file.grey for file in look.files)]
    if not grey or len(grey) == len(looks):
        return []
    files = tuple(str(look.item.sharp) for look in grey)
    return [Finding("channels", "note", files, f"{len(grey)} grey among {len(looks)}")]


def _too_small(looks: Sequence[Look], patch_px: int | None, trains: bool) -> list[Finding]:
    """Pairs smaller than the crop end a training, and those of a few pixels any validation; photos are enlarged."""
    found = []
    for look in looks:
        if not (size := look.files[-1].size_px):
            continue
        is_pair = look.item.is_pair or bool(look.item.frames)
        ends_it = is_pair and min(size) < (patch_px if patch_px and trains else SCORED_PX)
        limit = SCORED_PX if not trains else patch_px or PATCH_PX
        if ends_it or (trains and min(size) < limit):
            severity: Severity = "error" if ends_it else "note" if patch_px is None else "warning"
            text = f"{size[0]} x {size[1]}, {'crop' if trains else 'at least'} {limit}"
            found.append(Finding("too_small", severity, (str(look.item.sharp),), text, min(size), limit))
    return found
