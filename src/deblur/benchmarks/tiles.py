"""``deblur bench tiles``: what the tile does to the picture, where a network's statistics cover the whole tile.

Against the tile size, up to the whole image as one tile: PSNR; the seam ratio; the colour drift. For a network that
sees no further than its halo all three say "as the whole image".
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from deblur.data.pairs import find_pairs
from deblur.evaluation.seams import drift_levels, seam_ratio
from deblur.files import write_json
from deblur.images import Rgb8
from deblur.inference.engine import Precision
from deblur.inference.engines import open_engine
from deblur.inference.model_folder import open_model
from deblur.inference.restorer import Restorer
from deblur.inference.tiling import Plan, Tiling
from deblur.metrics import psnr_db


@dataclass(frozen=True)
class TileFigures:
    """Means over the images. ``tile_px`` None is the whole image as one tile."""

    tile_px: int | None
    computed_share: float
    psnr_db: float
    psnr_input_db: float
    seam_ratio: float
    drift_levels: float


def bench(
    folder: Path,
    pairs: Path,
    tiles_px: Sequence[int],
    halo_px: int,
    precision: Precision,
    json_file: Path | None,
    console: Console,
) -> list[TileFigures]:
    """Restore every pair with every tile size and once whole; print the table, and write it where asked for.

    Args:
        folder: a model folder.
        pairs: a folder of pairs.
        tiles_px: tile sizes, each fitted to the image; the overlap is the model's, at most half a tile.
        halo_px: how much of the overlap is thrown away on either side, at most a quarter of the tile.
        precision: what the network computes in.
        json_file: where the figures go, too.
        console: where the table goes.
    """
    model = open_model(folder, lambda onnx: open_engine(onnx, "auto", precision))
    own = model.restorer.tiling
    loaded = [pair.load() for pair in find_pairs(pairs)]
    longest_px = max(max(blurry.shape[:2]) for blurry, _ in loaded)
    tilings: dict[int | None, Tiling] = {}
    for side_px in tiles_px:
        overlap_px = min(own.overlap_px, side_px // 2)
        tilings[side_px] = Tiling(side_px, overlap_px, own.rule, min(halo_px, overlap_px // 2))
    whole_image = Tiling(own.rule.fit(longest_px), 0, own.rule)  # one tile for any image of that size
    wholes = [restored(Restorer(model.restorer.engine, whole_image), blurry)[0] for blurry, _ in loaded]
    figures = []
    for tile_px, tiling in {**tilings, None: whole_image}.items():
        restorer = Restorer(model.restorer.engine, tiling)
        rows = [
            _figures(*restored(restorer, blurry), whole, blurry, sharp)
            for (blurry, sharp), whole in zip(loaded, wholes, strict=True)
        ]
        figures.append(TileFigures(tile_px, *np.mean(rows, axis=0).tolist()))
        console.print(f"{tile_px or 'whole'}", style="dim")
    _print(figures, len(loaded), console)
    if json_file:
        described = {"model": model.info.label, "images": len(loaded), "precision": precision}
        write_json(json_file, described | {"tiles": [asdict(row) for row in figures]})
    return figures


def _figures(restored: Rgb8, plan: Plan, whole: Rgb8, blurry: Rgb8, sharp: Rgb8) -> tuple[float, ...]:
    return (
        plan.computed_share,
        psnr_db(restored, sharp),
        psnr_db(blurry, sharp),
        seam_ratio(restored, whole, plan),
        drift_levels(restored, whole, plan),
    )


def restored(restorer: Restorer, blurry: Rgb8) -> tuple[Rgb8, Plan]:
    """A restored copy of 8-bit pixels, and the tiles it was cut into."""
    rgb = blurry.copy()
    return rgb, restorer.in_place(rgb)


def _print(figures: list[TileFigures], images: int, console: Console) -> None:
    table = Table("tile px", "computed", "PSNR dB", "gain dB", "seam ratio", "drift, levels", title=f"{images} images")
    for row in figures:
        table.add_row(
            str(row.tile_px or "whole"),
            f"{row.computed_share:.2f}",
            f"{row.psnr_db:.3f}",
            f"{row.psnr_db - row.psnr_input_db:+.3f}",
            f"{row.seam_ratio:.3f}",
            f"{row.drift_levels:.2f}",
        )
    console.print(table)
