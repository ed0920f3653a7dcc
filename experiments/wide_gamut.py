"""Display P3 and Adobe RGB: restore the profile's own code values, or convert to sRGB and back?

``python -m experiments.wide_gamut FOLDER`` takes the sharp sRGB photographs in FOLDER, in two ways: converted (colours
that sRGB holds, as of most photographs), and with their codes taken for those of the wide space (saturated colours that
sRGB does not hold). Each is blurred in light by one kernel, rounded to 8 bits, and restored by the bundled model

own          as it is
there, back  converted to sRGB, cut at its borders, restored, converted back
change       the same, but only what the restoration changed is taken over

and scored by PSNR in its own codes. A table is printed.
"""

import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.signal import oaconvolve

from deblur.colour import ADOBE_RGB, CICP_PRIMARIES, SRGB, SRGB_CURVE, Space
from deblur.images import Pixels, centre_crop, from_rgb8, image_files, read_rgb8, to_rgb8
from deblur.inference.locating import bundled_model
from deblur.inference.model_folder import open_model
from deblur.inference.restorer import Restorer
from deblur.synthesis.frozen import frozen_kernel, frozen_kernels

SIDE_PX = 384
KERNELS = (5, 8, 18)
SPACES = {"Display P3": Space(CICP_PRIMARIES[12], SRGB_CURVE), "Adobe RGB": ADOBE_RGB}


def light(codes: NDArray[np.floating], space: Space) -> NDArray[np.float64]:
    """Codes in ``[0, 1]`` -> the space's own linear light."""
    g, a, b, c, d = space.curve
    return np.where(codes >= d, np.maximum(a * codes + b, 0) ** g, c * codes)


def codes(linear: NDArray[np.floating], space: Space) -> Pixels:
    """The inverse of :func:`light`; what the space does not hold is cut at 0 and 1."""
    g, a, b, c, d = space.curve
    linear = np.clip(linear, 0, 1)
    low = linear < float(light(np.array(d), space))
    return np.where(low, linear / (c or 1), (linear ** (1 / g) - b) / a).astype(np.float32)


def to_xyz(space: Space) -> NDArray[np.float64]:
    """The matrix from linear light to XYZ, ``(3, 3)``; all spaces here have the same white."""
    white, *colours = (np.array([x / y, 1.0, (1 - x - y) / y]) for x, y in zip(*[iter(space.xy)] * 2, strict=True))
    columns = np.stack(colours, axis=1)
    return columns * np.linalg.solve(columns, white)


def converted(pixels: Pixels, source: Space, target: Space) -> Pixels:
    """The same colours in another space, cut at its borders."""
    matrix = np.linalg.solve(to_xyz(target), to_xyz(source))
    return codes(light(pixels, source) @ matrix.T, target)


def restored(restorer: Restorer, blurry: Pixels, space: Space) -> dict[str, Pixels]:
    """By each way, in the codes of ``space``."""
    plain = converted(blurry, space, SRGB)
    there = converted(restorer(plain), SRGB, space)
    return {
        "own": restorer(blurry),
        "there, back": there,
        "change": np.clip(blurry + there - converted(plain, SRGB, space), 0, 1),
    }


def psnr_db(a: Pixels, b: Pixels) -> float:
    """Of 8-bit codes."""
    return float(-10 * np.log10(np.mean((from_rgb8(to_rgb8(a)) - from_rgb8(to_rgb8(b))) ** 2)))


def main(folder: Path) -> None:
    """Print the table: mean gain over the blurry input, and in how many pictures another way is better than the own."""
    restorer = open_model(bundled_model() or Path()).restorer
    names, kernels = list(frozen_kernels()), [frozen_kernel(number) for number in KERNELS]
    photos = [from_rgb8(centre_crop(read_rgb8(file), SIDE_PX)) for file in image_files(folder)]
    print(f"{len(photos)} photographs, kernels {', '.join(names[number] for number in KERNELS)}")
    for space_name, space in SPACES.items():
        for content in ("converted", "saturated"):
            gains: dict[str, list[float]] = {}
            for photo in photos:
                truth = converted(photo, SRGB, space) if content == "converted" else photo
                for kernel in kernels:
                    linear = np.clip(
                        oaconvolve(light(truth, space), kernel[..., None], mode="valid", axes=(0, 1)), 0, 1
                    )
                    radius = len(kernel) // 2
                    sharp = truth[radius : len(truth) - radius, radius : truth.shape[1] - radius]
                    blurry = from_rgb8(to_rgb8(codes(linear, space)))
                    before = psnr_db(blurry, sharp)
                    for way, result in restored(restorer, blurry, space).items():
                        gains.setdefault(way, []).append(psnr_db(result, sharp) - before)
            own = np.array(gains["own"])
            told = (
                f"{way} {np.mean(gain):+.3f} dB ({np.sum(np.array(gain) > own)} better)" for way, gain in gains.items()
            )
            print(f"{space_name}, {content}: {', '.join(told)}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
