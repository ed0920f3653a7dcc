"""``deblur synth OUT SOURCE``: save what a source makes, as an ordinary folder of pairs, or of sharp images."""

import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
import tyro

from deblur.cli.console import long_work, say
from deblur.cli.stopping import stoppable
from deblur.errors import SettingError
from deblur.files import pasteable
from deblur.images import Rgb8

if TYPE_CHECKING:
    from deblur.data.blurred import BlurredCrops
    from deblur.data.pairs import Pair


def synth(
    out: tyro.conf.Positional[Path],
    source: tyro.conf.Positional[str],
    count: int | None = None,
    size: int = 256,
    seed: int = 0,
    severity: Literal["mild", "medium", "strong"] | float = "medium",
    blur: str = "camera",
    sharp_only: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
    average: int | None = None,
    linear: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
    workers: int | None = None,
) -> int:
    """Save a set of pairs with synthetic blur, or of sharp images, as a folder.

    The same command, given again, goes on where it was interrupted, and mends a finished set.

    Args:
        out: A new or empty folder, or one that this command began.
        source: What the set is made of: leaves (dead leaves, generated), photos:FOLDER (sharp photos, which are
            blurred) or frames:FOLDER (high-speed sequences, whose frames are averaged).
        count: Number of samples; by default 1000 of leaves, one of each photo, or all that the frames give.
        size: Side of the images, px. Frames stay whole.
        seed: Seed of all that is drawn by chance.
        severity: How strong synthetic blur is: a name, or a number from 0 to 1.
        blur: What makes sharp pixels blurry: camera (blur with all that follows it), or one degradation alone: noise,
            white (white=25 is noise of 25 levels), gaussian, scale, motion-jpeg.
        sharp_only: Save only the sharp images.
        average: Number of frames that are averaged into a blurry one, an odd number; the one in the middle is the sharp
            one. By default 7.
        linear: Average frames as light, as a sensor does; by default as encoded values.
        workers: Number of processes; by default one for each core.
    """
    from deblur.data.blurred import BlurredCrops
    from deblur.data.pairs import evenly_chosen
    from deblur.data.saved import LAW, save_set
    from deblur.data.scenes import scene_of, write_scenes
    from deblur.data.sources import Reading, SourceName, open_source
    from deblur.synthesis.degradations import ranges_of
    from deblur.synthesis.draw import strength_of
    from deblur.synthesis.kernels import SYNTHESIS

    if size < 8 or seed < 0 or (count is not None and count < 1):
        raise SettingError(f"--size is {size}, --seed {seed}, --count {count}; they must be at least 8, 0 and 1.")
    strength = strength_of(severity)
    name = SourceName.parse(source)
    if name.kind == "pairs":
        raise SettingError(f"{source} holds pairs already. Give leaves, photos:FOLDER or frames:FOLDER.")
    if name.path and Path(os.path.abspath(out)).is_relative_to(name.path):
        raise SettingError(f"{out} lies in {name.path}, and would become a source of itself. Give another place.")
    opened = open_source(name, Reading(linear, average))
    settings = {"source": name.kind, "fingerprint": opened.fingerprint, "sharp_only": sharp_only}
    scenes = list[str]()
    if opened.pairs:
        pairs = evenly_chosen(opened.pairs, count)
        make, count = partial(_whole, pairs, sharp_only), len(pairs)
        scenes = [scene_of(pair.name) for pair in pairs]
        settings |= {"average": average, "linear": linear}
    else:
        crops = BlurredCrops(opened.cuttings(seed), size, seed, ranges_of(blur))
        make, count = partial(_crop, crops, strength, sharp_only), opened.images if count is None else count
        scenes = [crops.name_of(index) for index in range(count)] if opened.photos else []
        settings |= {"size_px": size, "seed": seed, "severity": strength}
        settings |= {} if blur == "camera" else {"blur": blur}
        settings |= {} if sharp_only else {LAW: SYNTHESIS}
    with stoppable(out), long_work() as tell:
        manifest = save_set(
            out,
            count,
            make,
            settings,
            workers or os.cpu_count() or 1,
            lambda done, total: tell(f"{done} of {total} samples", done, total),
        )
    if scenes and not sharp_only:
        write_scenes(out, {f"{index:06}.png": scene for index, scene in enumerate(scenes)})
    sizes = ", ".join(manifest["sizes"]) if len(manifest["sizes"]) < 4 else f"{len(manifest['sizes'])} sizes"
    what = " and ".join(manifest["kinds"])
    say(f"{pasteable(out)}: {count} samples ({what}) of {sizes} px, fingerprint {manifest['fingerprint']}")
    return 0


def _crop(crops: "BlurredCrops", strength: float, sharp_only: bool, index: int) -> dict[str, Rgb8]:
    """A sample as a training draws it, or its sharp image alone."""
    from deblur.data.crops import Key

    if sharp_only:
        side = crops.patch_px
        return {"sharp": crops.cuttings.cut(np.random.default_rng((crops.seed, index)), index, (side, side))}
    blurry, sharp = crops.pair(Key(index, strength))
    return {"blur": blurry, "sharp": sharp}


def _whole(pairs: "Sequence[Pair]", sharp_only: bool, index: int) -> dict[str, Rgb8]:
    """A pair as it is."""
    blurry, sharp = pairs[index].load()
    return {"sharp": sharp} if sharp_only else {"blur": blurry, "sharp": sharp}
