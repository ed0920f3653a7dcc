"""What the doctor says: findings of a kind and a severity, and the report that holds them.

An error makes training fail or teaches the wrong thing. A warning is probably a fault. A note is good to know.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")

ADVICE = {
    "unpaired": "Give blurry and sharp the same name, or remove the one that is alone.",
    "assumed_partners": "Check that these belong together. Equal names leave nothing to assume.",
    "older_synthesis": "Use it as it is, or save it anew: by law 1 the sharp picture is not the one at half time.",
    "unreadable": "Fetch or make the file again.",
    "truncated": "The file was cut short: fetch it again.",
    "unsupported": "Save it as a single image with 8 bits a channel.",
    "bit_depth": "Save it with 8 bits a channel; 16-bit and float pixels are not read.",
    "channels": "Save both images of a pair as plain RGB.",
    "colours": "Give both images of a pair the same colours: the network learns the difference as if it were blur.",
    "not_read": "Files of this kind are passed over: convert them if they belong to the set.",
    "size": "Cut or scale the two images of a pair alike.",
    "too_small": "Take a smaller patch_size, or leave the image out.",
    "duplicate": "Keep one: what is there twice counts twice.",
    "near_duplicate": "Keep one, unless both are wanted.",
    "identical": "The blurry image is the sharp one: remove the pair, or find the blurry file.",
    "nothing_to_gain": "No restorer can make it better: it is left out of means. Remove it.",
    "swapped": "Look at the sheet: blur/ and sharp/ seem to be exchanged.",
    "different_picture": "The two images do not show the same: check how the names were matched.",
    "misaligned": "Register the two images, or take the frame in the middle of the exposure as the sharp one.",
    "off_middle": "Take the frame in the middle of the exposure, an odd number being averaged: others teach a shift.",
    "scale": "One image is enlarged against the other: scale them alike.",
    "brightness": "Match exposure: the network learns the difference as if it were blur.",
    "tone_curve": "One image is linear or has another gamma: encode both as sRGB.",
    "light": "Frames may be averaged as encoded (GoPro's blur) or in linear light (blur_gamma, cameras).",
    "mixed_light": "Some pairs were averaged as encoded, others in linear light: keep to one, or know why both.",
    "leak_same_file": "Validation holds a file of the training set: remove it from one of them.",
    "leak_sequence": "Frames of one sequence lie on both sides: give a whole sequence to one side.",
    "leak_scene": "The same scene is on both sides: remove it from one of them.",
}
"""Every kind of finding, and what to do about it."""


@dataclass(frozen=True)
class Finding:
    """One thing found: ``files`` it concerns, and the measure against its threshold, where there is one."""

    kind: str
    severity: Severity
    files: tuple[str, ...]
    text: str
    measure: float | None = None
    threshold: float | None = None


@dataclass(frozen=True)
class Measures:
    """What was measured of a pair; see ``registration`` and ``tones`` for the meaning.

    ``gradient_ratio``: gradient energy of the blurry image over that of the sharp one, both at half size, where noise
    counts less. ``path_px``: how long the blur is; ``beside``: how far from its centre the sharp image lies along it,
    as a share of that. ``peak_px``: a second opinion on the shift, only where the first is in doubt.
    """

    name: str
    blurry: Path
    sharp: Path
    gradient_ratio: float
    shift_px: float
    shift_x_px: float
    shift_y_px: float
    peak_px: float
    zoom_px: float
    hold: float
    path_px: float
    beside: float
    likeness: float
    brightness_levels: float
    exponent: float
    light: float
    light_uncertainty: float


@dataclass(frozen=True)
class Report:
    """All findings, errors first, and how much was looked at."""

    findings: tuple[Finding, ...]
    looked_at: dict[str, int]
    measures: tuple[Measures, ...] = field(repr=False)

    def of(self, severity: Severity) -> list[Finding]:
        """The findings of one severity."""
        return [finding for finding in self.findings if finding.severity == severity]

    @property
    def errors(self) -> list[Finding]:
        return self.of("error")

    def as_dict(self) -> dict[str, Any]:
        """Everything, for JSON."""
        return {
            "looked_at": self.looked_at,
            "findings": [asdict(finding) | {"advice": ADVICE[finding.kind]} for finding in self.findings],
            "pairs": [{key: _for_json(value) for key, value in asdict(m).items()} for m in self.measures],
        }


def by_severity(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """Errors first, then by kind; within a kind the farthest beyond its threshold first."""
    kinds = list(ADVICE)
    return tuple(
        sorted(findings, key=lambda f: (SEVERITIES.index(f.severity), kinds.index(f.kind), -abs(f.measure or 0)))
    )


def _for_json(value: object) -> object:
    """Paths as text, what is not known as null."""
    if isinstance(value, float):
        return round(value, 4) if math.isfinite(value) else None
    return str(value)
