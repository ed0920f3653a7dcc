"""``deblur synth OUT SOURCE``: save what a source makes, as an ordinary folder of pairs, or of sharp images."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
import tyro

from deblur.cli.console import long_work, say
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
    """Save a synthetic set. The same command goes on after a kill, and mends a finished set.

    Args:
        out: A new or empty folder, or one that this command began.
        source: leaves, photos:FOLDER (sharp; blur is synthesised) or frames:FOLDER (high-speed sequences, averaged).
        count: Samples; by default 1000 of leaves, one a photo, or all that the frames give (fewer: spread evenly).
        size: Side of the images, px. Frames stay whole.
        seed: Of all random decisions.
        severity: How strong synthetic blur is: a name, or 0 to 1.
        blur: What is made of sharp pixels: camera, or one degradation alone: noise, white (white=25: of 25 levels),
            gaussian, scale, motion-jpeg.
        sharp_only: Save sharp images alone, not blurry ones.
        average: Frames that make a blurry one, an odd number; the centre one is the sharp one. By default 7.
        linear: Average light, as a sensor does, and not encoded values.
        workers: Processes; by default one a core.
    """
    from deblur.data.blurred import BlurredCrops
    from deblur.data.pairs import evenly_chosen
    from deblur.data.saved import LAW, save_set
    from deblur.data.scenes import write_scenes
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
    make: Crops | Whole
    if opened.pairs:
        pairs = evenly_chosen(opened.pairs, count)
        make, count = Whole(tuple(pairs), sharp_only), len(pairs)
        settings |= {"average": average, "linear": linear}
    else:
        make = Crops(BlurredCrops(opened.cuttings(seed), size, seed, ranges_of(blur)), strength, sharp_only)
        count = opened.images if count is None else count
        settings |= {"size_px": size, "seed": seed, "severity": strength}
        settings |= {} if blur == "camera" else {"blur": blur}
        settings |= {} if sharp_only else {LAW: SYNTHESIS}
    with long_work() as tell:
        manifest = save_set(
            out,
            count,
            make,
            settings,
            workers or os.cpu_count() or 1,
            lambda done, total: tell(f"{done} of {total} samples", done, total),
        )
    if not sharp_only and (opened.pairs or opened.photos):
        write_scenes(out, {f"{index:06}.png": make.name_of(index) for index in range(count)})
    sizes = ", ".join(manifest["sizes"]) if len(manifest["sizes"]) < 4 else f"{len(manifest['sizes'])} sizes"
    what = " and ".join(manifest["kinds"])
    say(f"{pasteable(out)}: {count} samples ({what}) of {sizes} px, fingerprint {manifest['fingerprint']}")
    return 0


@dataclass(frozen=True)
class Crops:
    """Samples as a training draws them, or their sharp images alone. Workers get it pickled."""

    crops: "BlurredCrops"
    strength: float
    sharp_only: bool

    def __call__(self, index: int) -> dict[str, Rgb8]:
        """Sample ``index``."""
        from deblur.data.crops import Key

        if self.sharp_only:
            side = self.crops.patch_px
            rng = np.random.default_rng((self.crops.seed, index))
            return {"sharp": self.crops.cuttings.cut(rng, index, (side, side))}
        blurry, sharp = self.crops.pair(Key(index, self.strength))
        return {"blur": blurry, "sharp": sharp}

    def name_of(self, index: int) -> str:
        """The photo that it is cut from."""
        return self.crops.name_of(index)


@dataclass(frozen=True)
class Whole:
    """Averaged frames as they are."""

    pairs: "tuple[Pair, ...]"
    sharp_only: bool

    def __call__(self, index: int) -> dict[str, Rgb8]:
        """Pair ``index``."""
        blurry, sharp = self.pairs[index].load()
        return {"sharp": sharp} if self.sharp_only else {"blur": blurry, "sharp": sharp}

    def name_of(self, index: int) -> str:
        """Its scene."""
        from deblur.data.scenes import scene_of

        return scene_of(self.pairs[index].name)
