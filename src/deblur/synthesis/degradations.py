"""What is done to sharp pictures, by name: a camera's blur with all that follows it, or one degradation by itself."""

from dataclasses import replace

from deblur.errors import SettingError
from deblur.synthesis.draw import NOISE_ONLY, BlurRanges

MOST_WHITE_LEVELS = 50.0
ALONE = replace(NOISE_ONLY, noise_share=0, encoded_share=1, highlights_share=0, gain_share=0)
"""Nothing but what is asked for, on encoded values; the content's size still varies."""

DEGRADATIONS: dict[str, BlurRanges] = {
    "camera": BlurRanges(),
    "noise": NOISE_ONLY,
    "white": replace(ALONE, white_levels=(0.0, MOST_WHITE_LEVELS)),
    "gaussian": replace(ALONE, sharp=0, gaussian=1),
    "scale": replace(ALONE, resample_share=1, scale=(0.25, 1.0), bilinear_share=0.5),
    "motion-jpeg": replace(ALONE, sharp=0, swing=0.6, shake=0.25, line=0.15, jpeg_share=1),
}
"""``noise`` is a sensor's, in light. ``white`` is white Gaussian noise on encoded values, of a random deviation (up to
50 levels of 255); ``white=25`` has always that one. ``gaussian`` is anisotropic. ``scale`` goes down and up again,
bicubic or bilinear. ``motion-jpeg`` is motion blur, then JPEG."""


def ranges_of(name: str) -> BlurRanges:
    """The ranges that a name stands for, as in ``DEGRADATIONS``, or ``white=LEVELS``.

    Raises:
        SettingError: there is no such degradation, or no such level.
    """
    kind, equals, text = name.partition("=")
    if kind not in DEGRADATIONS or (equals and kind != "white"):
        raise SettingError(f"blur is {name!r}; known are {', '.join(DEGRADATIONS)} and white=LEVELS.")
    if not equals:
        return DEGRADATIONS[kind]
    try:
        levels = float(text)
    except ValueError:
        levels = -1.0
    if not 0 < levels <= 255:
        raise SettingError(f"blur is {name!r}; levels must be above 0 and at most 255.")
    return replace(DEGRADATIONS["white"], white_levels=(levels, levels))
