"""``python -m experiments.frozen_kernels``: draws the frozen kernels; ``--make`` made them, once."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from deblur.evaluation.panels import side_by_side, stacked
from deblur.files import whole_file
from deblur.images import Rgb8
from deblur.synthesis.frozen import FILE, frozen_kernels
from deblur.synthesis.kernels import (
    disc_kernel,
    gaussian_kernel,
    kernel_from_trajectory,
    line_kernel,
    shake_trajectory,
    swing_trajectory,
)

COLUMNS, SCALE, CELL_PX = 6, 4, 188
FIRST_SEED = 11  # with it no side is longer than 47 px
MOTIONS = (
    *("swing 4", "shake 5", "swing 7", "shake 8", "swing 10", "shake 12", "swing 14", "shake 16"),
    *("line 16", "shake 18", "swing 20", "shake 22", "line 25", "shake 28"),
    *("disc 8", "swing 32", "shake 34", "swing 40", "shake 42", "shake 48"),
)


def made() -> dict[str, NDArray[np.float32]]:
    """The kernels as ``kernels.py`` makes them today, by what they are: 4 of optics, 20 mostly of motion."""
    kernels = {
        "Gaussian, sigma 0.7 px": gaussian_kernel(0.7),
        "disc, radius 1.5 px": disc_kernel(1.5),
        "Gaussian, sigma 2 x 1 px": gaussian_kernel(2.0, 0.5, np.pi / 6),
        "disc, radius 3 px": disc_kernel(3.0),
    }
    for seed, motion in enumerate(MOTIONS, FIRST_SEED):
        kind, size = motion.split()
        rng, px = np.random.default_rng(seed), float(size)
        if kind == "disc":
            kernels[f"disc, radius {size} px"] = disc_kernel(px)
        elif kind == "line":
            kernels[f"line, {size} px"] = line_kernel(px, rng.uniform(0, np.pi))
        else:
            path = _close(shake_trajectory(rng, px) if kind == "shake" else swing_trajectory(rng, px))
            kernels[f"{kind}, {size} px"] = kernel_from_trajectory(path)
    return kernels


def _close(path: NDArray[np.float64]) -> NDArray[np.float64]:
    """The path at eight times as many points, so that a long one is no row of dots; centred on its mean."""
    steps = np.linspace(0, len(path) - 1, 8 * len(path))
    points = np.stack([np.interp(steps, np.arange(len(path)), axis) for axis in path.T], axis=1)
    return points - points.mean(axis=0)


def drawing() -> Image.Image:
    """Every kernel four times as large, its largest weight white; light is drawn as codes (power 1 / 2.2)."""
    cells = [_drawn(kernel) for kernel in frozen_kernels().values()]
    captions = [f"{number}  {name}" for number, name in enumerate(frozen_kernels())]
    rows = [slice(first, first + COLUMNS) for first in range(0, len(cells), COLUMNS)]
    return stacked([side_by_side(cells[row], captions[row]) for row in rows])


def _drawn(kernel: NDArray[np.float32]) -> Rgb8:
    codes = np.rint(255 * (kernel / kernel.max()) ** (1 / 2.2)).astype(np.uint8)
    large = codes.repeat(SCALE, axis=0).repeat(SCALE, axis=1)
    margin = (CELL_PX - len(large)) // 2
    return np.pad(large, margin, constant_values=0)[..., None].repeat(3, axis=2)


def main(picture: Path = Path("documentation/kernels.png"), make: bool = False) -> None:
    """Draw them. ``make`` writes the file anew: every figure that names a kernel is of another one then."""
    if make:
        with whole_file(Path("src/deblur/synthesis") / FILE) as stream:
            np.savez_compressed(stream, **made())  # type: ignore[arg-type]
    drawing().save(picture)


if __name__ == "__main__":
    import tyro

    tyro.cli(main)
