"""What a request asks for beside its image, wherever it says so: each option once, in its range, or refused by name."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from deblur.errors import RequestError
from deblur.images import OUTPUT_FORMATS
from deblur.serving.limits import told

OPTIONS = ("strength", "format", "quality", "frames", "metadata", "guard", "model")
FRAMES = ("first", "refuse")
METADATA = ("public", "keep")
GUARD = ("on", "off")


@dataclass(frozen=True)
class Wish:
    """The options of a request.

    ``quality`` is None where the photo's own way of writing is kept; ``frames`` says what becomes of a file with more
    than one: the ``first`` is restored, or it is refused; ``metadata`` whether what is private is kept; ``guard``
    whether the input may take the result's place. ``model`` is a name, or None for the one served by default; whether
    it is served is not known here.
    """

    strength: float = 1.0
    output_format: str | None = None
    quality: int | None = None
    frames: str = "first"
    metadata: str = "public"
    guard: str = "on"
    model: str | None = None


def wish_of(said: Sequence[tuple[str, str]]) -> Wish:
    """The (name, value) pairs of a request's query and body, as texts -> what it asks for.

    Raises:
        RequestError: an unknown option, one that is given twice, or a value that is not allowed.
    """
    times = Counter(name for name, _ in said)
    unknown = sorted(times.keys() - set(OPTIONS))
    if unknown:
        raise RequestError(
            f"Not known: {', '.join(map(told, unknown[:5]))}. Beside the image allowed are {', '.join(OPTIONS)}."
        )
    twice = sorted(name for name in times if times[name] > 1)
    if twice:
        raise RequestError(f"{', '.join(twice)} is given more than once, in the query or the body. Give it once.")
    values = dict(said)
    choices = {"format": tuple(OUTPUT_FORMATS), "frames": FRAMES, "metadata": METADATA, "guard": GUARD}
    for name, allowed in choices.items():
        if name in values and values[name] not in allowed:
            raise RequestError(f"{name} is {told(values[name])}; allowed are {', '.join(allowed)}.")
    quality = values.get("quality")
    return Wish(
        number(values.get("strength", "1"), "strength", 0, 1),
        values.get("format"),
        None if quality is None else int(number(quality, "quality", 1, 100, whole=True)),
        values.get("frames", "first"),
        values.get("metadata", "public"),
        values.get("guard", "on"),
        values.get("model"),
    )


def number(text: str, name: str, low: float, high: float, *, whole: bool = False) -> float:
    """The number that ``text``, the value of the parameter ``name``, is.

    Raises:
        RequestError: it is none, out of range, or not whole where it must be.
    """
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not low <= value <= high or (whole and value != int(value)):
        raise RequestError(f"{name} is {told(text)}; allowed are {'whole numbers from ' * whole}{low:g} to {high:g}.")
    return value
