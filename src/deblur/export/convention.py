"""How a network of others wants its pictures: range, order of channels, and which of its outputs is the picture.

Found by trying: blurred photographs go through the network in every way. In a wrong one it breaks the picture, or does
little; in the right one it restores most. How near the result is to its input tells little: a network that is fed
a wrong range often does nothing.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from itertools import product
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from deblur.data.photos import installed_photos
from deblur.errors import DataError, ModelError
from deblur.images import from_rgb8
from deblur.inference.engine import Tiles
from deblur.synthesis.kernels import recentred, shake_kernel
from deblur.synthesis.uniform import blur

Range = Literal["unit", "signed", "byte"]
"""[0, 1], [-1, 1] or [0, 255]."""
Order = Literal["rgb", "bgr"]
SCALE_AND_OFFSET: dict[Range, tuple[float, float]] = {"unit": (1, 0), "signed": (2, -1), "byte": (255, 0)}

COLOURFUL = ("astronaut", "coffee", "chelsea", "china", "flower", "grace_hopper")
SHAKE_PX = 9.0
CROPS_PX = 512
"""So much of each photograph, on a side of one or several crops."""
KEEPS_DB = 20.0
"""Against its own input: below this a picture is broken."""
SAME_DB = 50.0
"""Results that are so near to each other are the same picture: less than one level of 255."""
BETTER_DB, ERRORS = 0.1, 2.0
"""One way is better than another where it restores more by this, and by so many standard errors of that difference."""


@dataclass(frozen=True)
class Convention:
    """What lies between pixels ``(B, 3, h, w)`` in ``[0, 1]``, RGB, and the values that the network wants."""

    output: str
    range: Range = "unit"
    order: Order = "rgb"

    def given(self, tiles: Tiles) -> Tiles:
        """Pixels -> the network's values, still ``(B, 3, h, w)``."""
        scale, offset = SCALE_AND_OFFSET[self.range]
        return np.ascontiguousarray(self._ordered(tiles) * np.float32(scale) + np.float32(offset))

    def pixels(self, values: Tiles) -> Tiles:
        """The network's values -> pixels."""
        scale, offset = SCALE_AND_OFFSET[self.range]
        return self._ordered((values - np.float32(offset)) / np.float32(scale))

    def _ordered(self, tiles: Tiles) -> Tiles:
        return tiles[:, ::-1] if self.order == "bgr" else tiles

    def __str__(self) -> str:
        return f"range {self.range}, order {self.order}, output {self.output}"


@dataclass(frozen=True)
class Tried:
    """One way, with its results ``(n, 3, h, w)`` in ``[0, 1]`` of the ``n`` photographs."""

    convention: Convention
    results: Tiles
    kept_db: float
    sharp_db: NDArray[np.float64]


def find_convention(
    run: Callable[[Tiles], dict[str, Tiles]],
    outputs: Sequence[str],
    side_px: int,
    value_range: Range | None = None,
    order: Order | None = None,
) -> tuple[Convention, float]:
    """The way that keeps the photographs and restores them best; and how well it keeps them, dB against its input.

    Args:
        run: the network, in its own values: ``(1, 3, h, w)`` -> each of ``outputs`` as ``(1, 3, h, w)``.
        outputs: which may be the picture.
        side_px: of the photographs' crops.
        value_range: where it is known.
        order: where it is known.

    Raises:
        ModelError: no way keeps the picture, or several do and differ. Where range, order and output are given, they
            are taken as they are.
        DataError: no photographs are installed.
    """
    blurry, sharp = photographs(side_px)
    ranges: Sequence[Range] = [value_range] if value_range else get_args(Range)
    orders: Sequence[Order] = [order] if order else get_args(Order)
    tried: list[Tried] = []
    for each_range, each_order in product(ranges, orders):
        ways = [Convention(output, each_range, each_order) for output in outputs]
        answers = [run(ways[0].given(image[None])) for image in blurry]
        for way in ways:
            pixels = np.concatenate([way.pixels(answer[way.output]) for answer in answers])
            results = np.clip(np.nan_to_num(pixels, posinf=1, neginf=0), 0, 1)
            tried.append(Tried(way, results, float(psnr_db(results, blurry).mean()), psnr_db(results, sharp)))
    best = tried[0] if len(tried) == 1 else _best(tried, psnr_db(blurry, sharp))
    return best.convention, best.kept_db


def _best(tried: Sequence[Tried], blurry_db: NDArray[np.float64]) -> Tried:
    most_db = max(each.kept_db for each in tried)
    if most_db < KEEPS_DB:
        raise ModelError(
            f"The network breaks photographs however they are given to it: at best they come back with {most_db:.1f} "
            f"dB, less than {KEEPS_DB:g}. If it restores photographs, name range, order and output, as its authors say."
        )
    rivals = [each for each in tried if each.kept_db >= KEEPS_DB]
    best = max(rivals, key=lambda each: each.sharp_db.mean())
    others = [each for each in rivals if not _same(best, each)]
    near = [each for each in others if not _surely_better(best.sharp_db, each.sharp_db)]
    if not others or (not near and _surely_better(best.sharp_db, blurry_db)):
        return next(each for each in rivals if _same(best, each))  # of ways that are the same, the usual one
    undecided = [best, *(near or others)]
    told = "; ".join(f"{each.convention}: gain {(each.sharp_db - blurry_db).mean():+.2f} dB" for each in undecided)
    ways = [asdict(each.convention) for each in undecided]
    names = [name for name in ("range", "order", "output") if len({way[name] for way in ways}) > 1]
    raise ModelError(
        f"How the network takes its pictures cannot be told: several ways restore alike, and differ ({told}). Name "
        f"{' and '.join(names)}, as its authors say."
    )


def _same(one: Tried, other: Tried) -> bool:
    return float(psnr_db(one.results, other.results).min()) >= SAME_DB


def _surely_better(one: NDArray[np.float64], other: NDArray[np.float64]) -> bool:
    gained = one - other
    return bool(gained.mean() >= max(BETTER_DB, ERRORS * gained.std(ddof=1) / len(gained) ** 0.5))


def psnr_db(images: Tiles, others: Tiles) -> NDArray[np.float64]:
    """Of each of ``n`` images in ``[0, 1]``, dB; at most 100."""
    squares = ((images.astype(np.float64) - others) ** 2).mean(axis=(1, 2, 3))
    return -10 * np.log10(np.maximum(squares, 1e-10))


@cache
def photographs(side_px: int) -> tuple[Tiles, Tiles]:
    """(blurry, sharp): where the blur took most from colourful installed photographs, ``(n, 3, side_px, side_px)``."""
    photos = [photo for photo in installed_photos() if photo.name in COLOURFUL]
    if not photos:
        raise DataError("No photographs are installed to try the network on: pip install 'deblurkit[train]'.")
    pairs: list[Tiles] = []
    for number, photo in enumerate(photos):
        kernel = recentred(shake_kernel(np.random.default_rng(number), SHAKE_PX))  # sharpness is asked, not place
        margin, sharp = kernel.shape[0] // 2, from_rgb8(photo.pixels)
        pair = np.stack([blur(sharp, kernel), sharp[margin:-margin, margin:-margin]]).transpose(0, 3, 1, 2)
        crops = _crops(pair, side_px)
        crops.sort(key=lambda crop: -float(((crop[0] - crop[1]) ** 2).mean()))
        pairs += crops[: max(1, CROPS_PX // side_px)]
    blurry, sharp = np.ascontiguousarray(np.stack(pairs).swapaxes(0, 1))
    return blurry, sharp


def _crops(images: Tiles, side_px: int) -> list[Tiles]:
    """``(n, 3, H, W)`` in squares, side by side; what is smaller than one goes on as its mirror image."""
    lacking = [(0, max(side_px - length, 0)) for length in images.shape[2:]]
    images = np.pad(images, [(0, 0), (0, 0), *lacking], mode="symmetric")
    rows, columns = (range(0, length - side_px + 1, side_px) for length in images.shape[2:])
    return [images[:, :, top : top + side_px, left : left + side_px] for top, left in product(rows, columns)]
