"""Dead leaves beside photographs, and beside the loop that one would write first.

``python -m experiments.leaves [--folder PHOTOS] [--picture PNG] [--json-file FILE]`` measures both: how power
spectra and gradients compare, and how many images a second one core makes.
"""

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from deblur.data.photos import installed_photos, photos_in
from deblur.files import write_json
from deblur.images import Rgb8
from deblur.synthesis.leaf_pictures import dead_leaves, pictures
from deblur.synthesis.leaves import SUPERSAMPLING, TEXTURE_PX, Leaves, fall, textures

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Floats = NDArray[np.float64]

SIDE_PX = 256
BAND = (1 / 64, 1 / 4)
"""Cycles a pixel between which slopes are fitted: above an image's own size, below what anti-aliasing takes away."""
NOT_SCENES = ("brick", "coins", "grass", "gravel", "hubble_deep_field", "ihc", "moon", "page", "retina", "text")
"""Installed photographs of one texture, of the sky, of paper, or through a microscope."""


def one_after_the_other(leaves: Leaves) -> Rgb8:
    """The same picture by the straightforward loop: each leaf's mask and colours, over those before, then averaged."""
    height, width = (SUPERSAMPLING * side for side in leaves.shape_px)
    picture = np.empty((height, width, 3), np.float32)
    starts = leaves.ends - np.diff(leaves.ends, prepend=0)
    for number, (start, end) in enumerate(zip(starts, leaves.ends, strict=True)):
        corners = leaves.corners[start:end]
        if number == 0:
            corners = np.array([(0, 0), (width, 0), (width, height), (0, height)])
        left, top = np.maximum(np.floor(corners.min(axis=0)).astype(int) - 1, 0)
        right, bottom = np.minimum(np.ceil(corners.max(axis=0)).astype(int) + 2, (width, height))
        if left >= right or top >= bottom:
            continue
        y, x = np.mgrid[top:bottom, left:right]
        inside = np.full(y.shape, True)
        for (x0, y0), (x1, y1) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
            inside &= (x1 - x0) * (y - y0) - (y1 - y0) * (x - x0) >= -0.5 * abs(y1 - y0)  # C code rounds along a row
        y, x = y[inside] // SUPERSAMPLING, x[inside] // SUPERSAMPLING
        texture = textures()[leaves.textures[number]]
        grain = texture[(y + leaves.corner[0]) % TEXTURE_PX, (x + leaves.corner[1]) % TEXTURE_PX]
        to_right, down, origin = leaves.gradients[:, number]
        brighter = to_right * x + down * y + origin + leaves.contrasts[number] * grain
        picture[top:bottom, left:right][inside] = np.clip(leaves.colours[number] + brighter[:, None], 0, 255)
    blocks = picture.reshape(height // 2, SUPERSAMPLING, width // 2, SUPERSAMPLING, 3)
    return np.rint(blocks.mean(axis=(1, 3))).astype(np.uint8)


def grey_of(image: Rgb8) -> Floats:
    """Luma (Rec. 601) of ``(H, W, 3)`` uint8: ``(H, W)`` in 0 to 255."""
    return image @ np.array([0.299, 0.587, 0.114])


def power_spectrum(grey: Floats) -> Floats:
    """Mean power over all directions of a square image, Hann window: ``[k]`` is at ``k / side`` cycles a pixel."""
    side = len(grey)
    window = np.outer(np.hanning(side), np.hanning(side))
    power = np.abs(np.fft.fft2((grey - grey.mean()) * window)) ** 2 / (window**2).sum()
    ring = np.rint(np.hypot(np.fft.fftfreq(side, 1 / side)[:, None], np.fft.fftfreq(side, 1 / side))).astype(int)
    return (np.bincount(ring.ravel(), power.ravel()) / np.bincount(ring.ravel()))[: side // 2]


def slope_of(spectrum: Floats) -> float:
    """The exponent of a power law fitted to a spectrum within ``BAND``: near -2 for photographs."""
    side = 2 * len(spectrum)
    k = np.arange(round(BAND[0] * side), round(BAND[1] * side) + 1)
    return float(np.polyfit(np.log(k), np.log(spectrum[k]), 1)[0])


def statistics(images: Sequence[Rgb8]) -> dict[str, Any]:
    """Of square images of one size: mean log spectrum, its slope and each image's, and differences of neighbours."""
    greys = [grey_of(image) for image in images]
    spectra = [power_spectrum(grey) for grey in greys]
    spectrum = np.exp(np.log(spectra).mean(axis=0))
    differences = np.concatenate([np.diff(grey, axis=axis).ravel() for grey in greys for axis in (0, 1)])
    return {
        "images": len(images),
        "spectrum": spectrum,
        "slope": slope_of(spectrum),
        "slopes": [slope_of(one) for one in spectra],
        "differences": differences,
        "kurtosis": float(np.mean(differences**4) / np.mean(differences**2) ** 2),
        "below 2 levels": float(np.mean(np.abs(differences) < 2)),
        "above 50 levels": float(np.mean(np.abs(differences) > 50)),
    }


def photo_squares(folder: Path | None, each: int = 6) -> list[Rgb8]:
    """Random squares of photographs, those with hardly any content (deviation below 5 levels) left out."""
    rng = np.random.default_rng(0)
    photos = photos_in(folder) if folder else [p for p in installed_photos() if p.name not in NOT_SCENES]
    squares = []
    for photo in photos:
        height, width = photo.pixels.shape[:2]
        for _ in range(each if min(height, width) >= SIDE_PX else 0):
            top, left = rng.integers(height - SIDE_PX + 1), rng.integers(width - SIDE_PX + 1)
            squares.append(photo.pixels[top : top + SIDE_PX, left : left + SIDE_PX])
    return [square for square in squares if grey_of(square).std() > 5]


def leaf_squares(count: int) -> list[Rgb8]:
    """Dead leaves of seeds 0, 1, ..."""
    return [dead_leaves(np.random.default_rng(seed), SIDE_PX, SIDE_PX) for seed in range(count)]


def time_both(images: int = 12) -> dict[str, float]:
    """Images a second of processor time, ours and the loop's in turn, and the pictures' mean difference in levels."""
    seconds: dict[str, list[float]] = {"ours": [], "loop": []}
    differences = []
    textures()  # made once a process
    for seed in range(images):
        times = [time.process_time()]
        scene = fall(np.random.default_rng(seed), SIDE_PX, SIDE_PX)
        times.append(time.process_time())
        picture = pictures([scene], torch.device("cpu"))[0].numpy()
        times.append(time.process_time())
        same = one_after_the_other(scene)
        times.append(time.process_time())
        falling, ours, loop = np.diff(times).tolist()
        seconds["ours"].append(falling + ours)
        seconds["loop"].append(falling + loop)
        differences.append(float(np.abs(picture.astype(int) - same).mean()))
    return {
        "ours images/s": images / sum(seconds["ours"]),
        "loop images/s": images / sum(seconds["loop"]),
        "ratio": sum(seconds["loop"]) / sum(seconds["ours"]),
        "median ratio": median(b / a for a, b in zip(seconds["ours"], seconds["loop"], strict=True)),
        "mean difference, levels": sum(differences) / images,
    }


def draw(leaves: Sequence[Rgb8], photos: Mapping[str, Sequence[Rgb8]]) -> "Figure":
    """A strip of leaves; below it radii, spectra and differences of neighbours, leaves beside sets of photographs."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 5.6), layout="constrained")
    strip, *plots = figure.subplot_mosaic(
        [["leaves"] * 3, ["radii", "power", "differences"]], height_ratios=[1, 1.7]
    ).values()
    strip.imshow(np.hstack([np.pad(image, ((0, 0), (0, 8), (0, 0)), constant_values=255) for image in leaves[:6]]))
    strip.axis("off")
    _draw_radii(plots[0])
    sets = {"dead leaves": statistics(leaves)} | {name: statistics(squares) for name, squares in photos.items()}
    for name, found in sets.items():
        k = np.arange(1, len(found["spectrum"]))
        plots[1].loglog(k / SIDE_PX, found["spectrum"][1:], label=f"{name}: {found['slope']:.2f}")
        counts, edges = np.histogram(found["differences"], np.arange(-200, 201, 4) + 0.0, density=True)
        plots[2].semilogy((edges[1:] + edges[:-1]) / 2, np.maximum(counts, 1e-7), label=name)
    f = np.array(BAND)
    plots[1].loglog(f, 3 * sets["dead leaves"]["spectrum"][4] * (f * SIDE_PX / 4) ** -2.0, "k--", label="1/f²")
    plots[1].set(xlabel="cycles a pixel", title="power, all directions; slope")
    plots[2].set(xlabel="levels", title="differences of neighbours, density")
    for plot in plots:
        plot.legend(fontsize=8)
        plot.grid(alpha=0.3)
    return figure


def _draw_radii(plot: Any) -> None:
    """How many leaves are larger than r in the images of seed 0, 1, ..., and how many the law expects."""
    r = np.geomspace(1, SIDE_PX / 2, 60)
    for seed in range(6):
        scene = fall(np.random.default_rng(seed), SIDE_PX, SIDE_PX)
        radii = scene.radii_px[1:]
        plot.loglog(
            r, (radii[:, None] > r).sum(axis=0), "C0", lw=1, label="leaves of six images" if seed == 0 else None
        )
        shares = share_above(r, scene.smallest_px, SIDE_PX)
        plot.loglog(r, len(radii) * shares, "k--", lw=0.7, label="the law" if seed == 0 else None)
    plot.set(xlabel="r, px", title="leaves larger than r", ylim=(0.7, None))


def share_above(r: Floats, smallest_px: float, side_px: int) -> Floats:
    """The share of discs larger than ``r`` among those that touch a square image.

    Density ``r ** -3`` on the plane, and a disc touches the square if its centre lies within ``r`` of it: an area of
    ``side ** 2 + 4 side r + pi r ** 2``.
    """

    smallest, largest = np.array(smallest_px), np.array(side_px / 2)

    def larger_than(r: Floats) -> Floats:
        below, above = (-(side_px**2) / (2 * x**2) - 4 * side_px / x + np.pi * np.log(x) for x in (r, largest))
        return above - below

    return larger_than(np.clip(r, smallest, largest)) / larger_than(smallest)


def main(folder: Path | None = None, picture: Path | None = None, json_file: Path | None = None) -> None:
    """Measure and print; ``folder`` holds photographs to compare with, beside the installed ones."""
    leaves = leaf_squares(100)
    photos = {"installed photographs": photo_squares(None)} | ({folder.name: photo_squares(folder)} if folder else {})
    figures: dict[str, Any] = {"speed": time_both()}
    for name, squares in {"dead leaves": leaves, **photos}.items():
        found = statistics(squares)
        figures[name] = {key: value for key, value in found.items() if isinstance(value, int | float)}
        figures[name]["deviation of slopes"] = float(np.std(found["slopes"]))
    print(json.dumps(figures, indent=2))
    if json_file:
        write_json(json_file, figures)
    if picture:
        draw(leaves, photos).savefig(picture, dpi=80)


if __name__ == "__main__":
    import tyro

    tyro.cli(main)
