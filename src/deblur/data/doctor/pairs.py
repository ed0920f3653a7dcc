"""One pair at a time: what is measured of it, and what the measures say.

The thresholds stand between what the good pairs of GoPro and REDS show and what pairs broken on purpose show;
``documentation/doctor.md`` has the figures.
"""

import math
from collections.abc import Sequence

import numpy as np
from PIL import Image

from deblur.data.doctor.findings import Finding, Measures, Severity
from deblur.data.doctor.listing import Item
from deblur.data.doctor.registration import offset_of, path_of, peak_px
from deblur.data.doctor.tones import tones_of
from deblur.images import Rgb8

SHIFT_ERROR_PX, SHIFT_WARNING_PX = 5.0, 3.0
"""A good pair lies up to 2.8 px off: the centre of the blur is not where the middle frame is. Between the two, what
phase correlation says decides: alone it says up to 5.1 px of a good pair, too."""
SET_ERROR_PX, SET_WARNING_PX = 3.0, 1.5
"""For the median over the pairs of a set: it is up to 0.9 px over four good pairs, 0.2 px over 53."""
SET_PAIRS = 4
LONG_PX, BESIDE, BESIDE_SHARE, SURE = 8.0, 0.045, 1 / 3, 0.02
"""Half a frame of eight is 6 % of the blur's length. Where the sharp frame is in the middle, speed that changes alone
puts up to a third of the pairs beyond 4.5 %. Shorter blur cannot tell."""
LEAST_HOLD = 0.3
ZOOM_ERROR_PX, ZOOM_WARNING_PX = 5.0, 3.0
LEAST_LIKENESS = 0.7
SWAPPED_RATIO = 1.1
BRIGHTNESS_LEVELS = 12.0
EXPONENT_ERROR, EXPONENT_WARNING = 1.5, 1.25
LINEAR_LIGHT, ENCODED_LIGHT = 0.4, 0.3
MIXED_SHARE = 0.05


def measured(item: Item, blurry: Rgb8, sharp: Rgb8) -> Measures:
    """Register the pair, lay it over each other and compare."""
    grey = [Image.fromarray(rgb).convert("L").convert("F") for rgb in (blurry, sharp)]
    energies = [_gradient_energy(image) for image in grey]
    offset = offset_of(*grey)
    path_px, along_x, along_y = path_of(*grey)
    reach = max(8, min(grey[0].size) // 4)
    x, y = (round(value) if abs(value) < reach else 0 for value in (offset.x_px, offset.y_px))
    width, height = grey[0].size
    tones = tones_of(
        np.asarray(grey[0])[max(0, y) : height + min(0, y), max(0, x) : width + min(0, x)],
        np.asarray(grey[1])[max(0, -y) : height + min(0, -y), max(0, -x) : width + min(0, -x)],
    )
    return Measures(
        name=item.name,
        blurry=item.files[0],
        sharp=item.sharp,
        gradient_ratio=energies[0] / max(energies[1], 1e-3),
        shift_px=offset.length_px,
        shift_x_px=offset.x_px,
        shift_y_px=offset.y_px,
        peak_px=peak_px(*grey) if SHIFT_WARNING_PX <= offset.length_px < SHIFT_ERROR_PX else math.nan,
        zoom_px=offset.zoom_px,
        hold=offset.hold,
        path_px=path_px,
        beside=abs(offset.x_px * along_x + offset.y_px * along_y) / max(path_px, 1.0),
        likeness=offset.likeness,
        brightness_levels=tones.brightness_levels,
        exponent=tones.exponent,
        light=tones.light,
        light_uncertainty=tones.light_uncertainty,
    )


def judged(m: Measures) -> list[Finding]:
    """What one pair's measures say. Two different pictures are told as that and nothing else."""
    if m.likeness < LEAST_LIKENESS:
        text = f"correlation {m.likeness:.2f} at best"
        return [_finding(m, "different_picture", "error", text, m.likeness, LEAST_LIKENESS)]
    found = []
    if m.hold > LEAST_HOLD:
        where = f"{m.shift_x_px:+.1f} px to the right, {m.shift_y_px:+.1f} px down"
        if m.shift_px >= SHIFT_WARNING_PX and m.peak_px >= SHIFT_ERROR_PX:
            text = f"blurry lies {where}; by phase correlation {m.peak_px:.1f} px off"
            found.append(_finding(m, "misaligned", "error", text, m.peak_px, SHIFT_ERROR_PX))
        else:
            found += _graded(m, "misaligned", m.shift_px, SHIFT_WARNING_PX, SHIFT_ERROR_PX, f"blurry lies {where}")
        text = f"corners lie {m.zoom_px:+.1f} px outwards"
        found += _graded(m, "scale", abs(m.zoom_px), ZOOM_WARNING_PX, ZOOM_ERROR_PX, text)
    if m.exponent > 0:
        bend = max(m.exponent, 1 / m.exponent)
        text = f"blurry = sharp to the power of {m.exponent:.2f}"
        found += _graded(m, "tone_curve", bend, EXPONENT_WARNING, EXPONENT_ERROR, text)
    if abs(m.brightness_levels) >= BRIGHTNESS_LEVELS and not any(f.kind == "tone_curve" for f in found):
        text = f"blurry is {m.brightness_levels:+.0f} levels of 255 brighter"
        found.append(_finding(m, "brightness", "warning", text, abs(m.brightness_levels), BRIGHTNESS_LEVELS))
    return found


def judged_together(measures: Sequence[Measures], which: str) -> list[Finding]:
    """What only the set as a whole says: exchanged folders, a shift that all have, how its light was added up.

    Args:
        measures: of all pairs of the set.
        which: the set's name in sentences.
    """
    alike = [m for m in measures if m.likeness >= LEAST_LIKENESS]
    return _swapped(alike) + (_shifted(alike, which) or _off_middle(alike, which)) + _light(alike, which)


def _swapped(measures: Sequence[Measures]) -> list[Finding]:
    sharper = [m for m in measures if m.gradient_ratio > SWAPPED_RATIO]
    severity: Severity = "error" if 2 * len(sharper) >= len(measures) else "warning"
    return [
        _finding(
            m,
            "swapped",
            severity,
            f"blurry has {m.gradient_ratio:.1f} x the gradients",
            m.gradient_ratio,
            SWAPPED_RATIO,
        )
        for m in sharper
    ]


def _shifted(measures: Sequence[Measures], which: str) -> list[Finding]:
    """The shift that all pairs have: blur moves single pairs to all sides, and a fault moves all to one."""
    certain = [m for m in measures if m.hold > LEAST_HOLD]
    if len(certain) < SET_PAIRS:
        return []
    x, y = (float(np.median([getattr(m, axis) for m in certain])) for axis in ("shift_x_px", "shift_y_px"))
    length = math.hypot(x, y)
    if length < SET_WARNING_PX:
        return []
    severity: Severity = "error" if length >= SET_ERROR_PX else "warning"
    threshold = SET_ERROR_PX if severity == "error" else SET_WARNING_PX
    text = f"{which}, median of {len(certain)} pairs: blurry lies {x:+.1f} px to the right, {y:+.1f} px down"
    return [Finding("misaligned", severity, tuple(str(m.blurry) for m in certain), text, length, threshold)]


def _off_middle(measures: Sequence[Measures], which: str) -> list[Finding]:
    """Whether the sharp frames are not in the middle of the exposure: more pairs lie beside it than speed explains."""
    certain = [m for m in measures if m.hold > LEAST_HOLD and m.path_px >= LONG_PX]
    n, beside = len(certain), [m for m in certain if m.beside > BESIDE]
    if not _exceeds(n, n):
        text = f"{which}: {n} pairs with {LONG_PX:g} px of blur or more: too few to tell whether sharp is in its middle"
        return [Finding("off_middle", "note", (), text)] if measures else []
    if not _exceeds(len(beside), n):
        return []
    median = float(np.median([m.beside for m in certain]))
    text = (
        f"{which}: sharp lies beside the blur's middle in {len(beside)} of {n} pairs; median {median:.1%} of its length"
    )
    return [Finding("off_middle", "note", tuple(str(m.blurry) for m in beside), text, median, BESIDE)]


def _exceeds(found: int, pairs: int) -> bool:
    """Whether so many pairs lie beside the middle that chance has less than ``SURE`` of it (binomial)."""
    p = BESIDE_SHARE
    return sum(math.comb(pairs, k) * p**k * (1 - p) ** (pairs - k) for k in range(found, pairs + 1)) < SURE


def _light(measures: Sequence[Measures], which: str) -> list[Finding]:
    linear = [m for m in measures if m.light - 2 * m.light_uncertainty > LINEAR_LIGHT]
    encoded = [m for m in measures if m.light + 2 * m.light_uncertainty < ENCODED_LIGHT]
    told = len(linear) + len(encoded)
    if min(len(linear), len(encoded)) >= max(2, MIXED_SHARE * told):
        fewer = min(linear, encoded, key=len)
        text = f"{which}: {len(linear)} pairs averaged in linear light, {len(encoded)} as encoded; these are the fewer"
        files = tuple(str(m.blurry) for m in fewer)
        return [Finding("mixed_light", "note", files, text, len(fewer) / told, MIXED_SHARE)]
    if told < 2:
        return []
    median = float(np.median([m.light for m in linear + encoded]))
    kind = "in linear light" if len(linear) > len(encoded) else "as encoded"
    text = f"{which}: frames averaged {kind} ({max(len(linear), len(encoded))} of {len(measures)} pairs say so)"
    return [Finding("light", "note", (), text, median, LINEAR_LIGHT)]


def _graded(m: Measures, kind: str, measure: float, warning: float, error: float, text: str) -> list[Finding]:
    if measure >= error:
        return [_finding(m, kind, "error", text, measure, error)]
    return [_finding(m, kind, "warning", text, measure, warning)] if measure >= warning else []


def _finding(m: Measures, kind: str, severity: Severity, text: str, measure: float, threshold: float) -> Finding:
    return Finding(kind, severity, (str(m.blurry), str(m.sharp)), text, round(measure, 3), threshold)


def _gradient_energy(grey: Image.Image) -> float:
    half = np.asarray(grey.reduce(2))
    return sum(float(np.square(np.diff(half, axis=axis)).mean()) for axis in (0, 1))
