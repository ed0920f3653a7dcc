"""What tiles leave in a picture: seams and drift are found where they are, and a picture without them has none."""

import numpy as np
import pytest
from PIL import Image

from deblur.data.photos import SharpPhoto, shaken
from deblur.evaluation.seams import drift_levels, seam_ratio
from deblur.inference.restorer import Restorer
from deblur.inference.tiling import Tiling, plan_tiles
from deblur.metrics import psnr_db
from deblur.models.engine import TorchEngine
from deblur.models.unet import DeblurUNet
from tests.conftest import sharpening_network


@pytest.fixture
def photo(photos: dict[str, SharpPhoto]) -> np.ndarray:
    return photos["astronaut"].pixels[:400, :400] // 2 + 40


PLAN = plan_tiles(400, 400, Tiling(256, 32, fitted=False))


def test_a_picture_without_tiles_has_no_seam_and_no_drift(photo: np.ndarray) -> None:
    assert len(PLAN) == 4
    assert seam_ratio(photo, photo, PLAN) == 1.0
    assert drift_levels(photo, photo, PLAN) == 0.0
    assert seam_ratio(photo, photo, plan_tiles(400, 400, Tiling(512))) == 1.0


def test_a_brighter_tile_is_a_drift_and_its_edge_a_seam(photo: np.ndarray) -> None:
    seen = photo.copy()
    seen[:, 200:] += 12
    assert seam_ratio(seen, photo, PLAN) > 1.02
    assert drift_levels(seen, photo, PLAN) == pytest.approx(12 * 200 / 256)  # 56 of its columns lie before
    both = photo + 5
    assert seam_ratio(both, photo, PLAN) == 1.0
    assert drift_levels(both, photo, PLAN) == pytest.approx(5)


@pytest.mark.parametrize("tiling", [Tiling(256, 64, halo_px=32), Tiling(256, 0), Tiling(256, 64)])
def test_a_hard_edge_is_a_seam_and_a_flat_picture_has_none(photo: np.ndarray, tiling: Tiling) -> None:
    plan = plan_tiles(400, 400, tiling)
    for picture in (photo, np.full_like(photo, 80)):
        seen = picture.copy()
        seen[:, 200:] += 60
        assert len(plan.columns.starts) == 2
        assert seam_ratio(seen, picture, plan) > 1.05
        assert seam_ratio(picture, picture, plan) == 1.0


def test_a_step_far_from_the_borders_is_no_seam(photo: np.ndarray) -> None:
    seen = photo.copy()
    seen[:, 60:] += 12
    assert seam_ratio(seen, photo, PLAN) < 1.0


def test_tiles_of_512_px_stay_within_the_stated_tolerance_of_the_whole_image(photos: dict[str, SharpPhoto]) -> None:
    """GroupNorm, residual: 0.1 dB of the whole image's PSNR and 3 levels of colour (documentation/measurements.md)."""
    small = Image.fromarray(photos["motorcycle_left"].pixels)
    large = np.asarray(small.resize((1110, 750), Image.Resampling.BICUBIC))
    pair = shaken(SharpPhoto("motorcycle_left", large), np.random.default_rng(0), 8.0)
    engine, rule = TorchEngine(sharpening_network()), DeblurUNet.size_rule
    tiled = Restorer(engine, Tiling(512, 64, rule))
    plan = tiled.plan(pair.blurry)
    assert len(plan) > 1
    whole = Restorer(engine, Tiling(rule.fit(max(pair.blurry.shape)), 0, rule))
    results = []
    for restorer in (tiled, whole):
        rgb = pair.blurry.copy()
        restorer.in_place(rgb)
        results.append(rgb)
    assert not np.array_equal(*results), "the statistics do depend on the tile"
    assert psnr_db(results[0], pair.sharp) == pytest.approx(psnr_db(results[1], pair.sharp), abs=0.1)
    assert drift_levels(results[0], results[1], plan) < 3
    assert seam_ratio(results[0], results[1], plan) == pytest.approx(1, abs=0.02)
