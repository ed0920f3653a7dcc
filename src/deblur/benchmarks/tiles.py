"""``deblur bench tiles``: what the tile does to the picture, where a network's statistics cover the whole tile.

Against the tile size, up to the whole image as one tile: PSNR; the seam ratio; the colour drift. For a network that
sees no further than its halo all three say "as the whole image".
"""

from collections.abc import Sequence
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


def bench(
    folder: Path,
    pairs: Path,
    tiles_px: Sequence[int],
    halo_px: int,
    precision: Precision,
    json_file: Path | None,
    console: Console,
) -> None:
    """Restore every pair with every tile size and once whole; print means, and write them where asked for.

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
    own, engine = model.restorer.tiling, model.restorer.engine
    loaded = [pair.load() for pair in find_pairs(pairs)]
    longest_px = max(max(blurry.shape[:2]) for blurry, _ in loaded)
    tilings: dict[int | None, Tiling] = {}
    for side_px in tiles_px:
        overlap_px = min(own.overlap_px, side_px // 2)
        tilings[side_px] = Tiling(side_px, overlap_px, own.rule, min(halo_px, overlap_px // 2))
    tilings[None] = Tiling(own.rule.fit(longest_px), 0, own.rule)  # one tile for any image of that size
    wholes = [restored(Restorer(engine, tilings[None]), blurry)[0] for blurry, _ in loaded]
    columns = ("tile px", "computed", "PSNR dB", "gain dB", "seam ratio", "drift, levels")
    table, figures = Table(*columns, title=f"{len(loaded)} images"), []
    for tile_px, tiling in tilings.items():
        rows = []
        for (blurry, sharp), whole in zip(loaded, wholes, strict=True):
            rgb, plan = restored(Restorer(engine, tiling), blurry)
            psnrs = psnr_db(rgb, sharp), psnr_db(blurry, sharp)
            rows.append([plan.computed_share, *psnrs, seam_ratio(rgb, whole, plan), drift_levels(rgb, whole, plan)])
        share, psnr, psnr_input, seams, drift = np.mean(rows, axis=0).tolist()
        gain = f"{psnr - psnr_input:+.3f}"
        table.add_row(str(tile_px or "whole"), f"{share:.2f}", f"{psnr:.3f}", gain, f"{seams:.3f}", f"{drift:.2f}")
        row = {"tile_px": tile_px, "computed_share": share, "psnr_db": psnr, "psnr_input_db": psnr_input}
        figures.append(row | {"seam_ratio": seams, "drift_levels": drift})
        console.print(f"{tile_px or 'whole'}", style="dim")
    console.print(table)
    if json_file:
        described = {"model": model.info.label, "images": len(loaded), "precision": precision}
        write_json(json_file, described | {"tiles": figures})


def restored(restorer: Restorer, blurry: Rgb8) -> tuple[Rgb8, Plan]:
    """A restored copy of 8-bit pixels, and the tiles it was cut into."""
    rgb = blurry.copy()
    return rgb, restorer.in_place(rgb)
