"""``deblur samples``: look at what a training will see."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from deblur.cli.console import say
from deblur.cli.outputs import check_outputs
from deblur.errors import SettingError
from deblur.files import escaped, pasteable

if TYPE_CHECKING:
    from PIL import Image

COLUMNS = 4


def samples(
    sources: tyro.conf.Positional[tuple[str, ...]],
    out: Path = Path("samples.png"),
    count: int = 12,
    patch_size: int = 192,
    severity: Literal["mild", "medium", "strong"] | float = "medium",
    blur: str = "camera",
    seed: int = 0,
    blind: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
) -> int:
    """Draw a picture of what a training will see: samples, blurry beside sharp.

    Args:
        sources: Sources of training data, as --train_data of 'deblur train': gopro/train=3 photos:holiday leaves
        out: The picture to write, a .png or .jpg.
        count: Number of samples.
        patch_size: Side of a crop, px.
        severity: How strong synthetic blur is: a name, or a number from 0 to 1.
        blur: What makes sharp pixels blurry, as --blur of 'deblur train'.
        seed: Seed that the samples are drawn with.
        blind: Draw the blurry crops alone, without names, to guess which are real; the answer is printed.
    """
    from deblur.data.crops import Key
    from deblur.data.sources import mixture, open_sources
    from deblur.evaluation.panels import save
    from deblur.synthesis.degradations import ranges_of
    from deblur.synthesis.draw import strength_of

    check_outputs(picture=out)
    for name, value, least in (("count", count, 1), ("patch-size", patch_size, 1), ("seed", seed, 0)):
        if value < least:
            raise SettingError(f"--{name} is {value}; it must be at least {least}.")
    strength = strength_of(severity)
    crops = mixture(open_sources(sources), patch_size, seed, ranges_of(blur))
    names = [crops.name_of(key) for key in range(count)]
    save(_sheet([crops[Key(key, strength)] for key in range(count)], names, blind), out)
    say(pasteable(out))
    for number, name in enumerate(names):
        say(f"{number + 1:4}  {escaped(name)}")
    return 0


def _sheet(pairs: "list[Any]", names: list[str], blind: bool) -> "Image.Image":
    from deblur.evaluation.panels import side_by_side, stacked

    rows = []
    for first in range(0, len(pairs), COLUMNS):
        images, captions = [], []
        for number in range(first, min(first + COLUMNS, len(pairs))):
            blurry, sharp = (image.numpy().transpose(1, 2, 0) for image in pairs[number][:2])
            images += [blurry] if blind else [blurry, sharp]
            captions += [str(number + 1)] if blind else [f"{number + 1} {names[number]}"[:24], "sharp"]
        rows.append(side_by_side(images, captions))
    return stacked(rows)
