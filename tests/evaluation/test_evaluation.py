"""Whole evaluations, of models whose worth is known: what is measured, and what it says together."""

import json
import shutil
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import uniform_filter

from deblur.data.report_sets import open_report_sets
from deblur.errors import SettingError
from deblur.evaluation.evaluation import Evaluation, evaluate
from deblur.evaluation.ways import Way, model_ways, reference_ways, tiled_against_whole
from deblur.files import write_json
from deblur.images import Rgb8
from deblur.inference.model_folder import open_model
from deblur.inference.onnx_runtime import OnnxEngine
from deblur.metrics import psnr_db, ssim
from tests.evaluation.planted import DARKER

pytestmark = pytest.mark.usefixtures("trusted")


def ways_of(planted: Path, *names: str) -> list[Way]:
    return model_ways([(name, open_model(planted / name, OnnxEngine)) for name in names])


@pytest.fixture(scope="module")
def found(planted: Path, trusted: None) -> Evaluation:
    return evaluate(
        open_report_sets([str(planted / "pairs")]), [*ways_of(planted, "by10", "by4"), *reference_ways()[:1]]
    )


def test_the_figures_are_those_of_the_images(found: Evaluation, planted: Path) -> None:
    row = found.rows(None, "lighter-10")[3]
    blurry, sharp = open_report_sets([str(planted / "pairs")])[0].pairs[3].load()
    lighter = np.clip(blurry.astype(int) + 10, 0, 255).astype(np.uint8)
    assert row.name == "scene00-0003.png"
    assert row.restored.psnr_db == pytest.approx(psnr_db(lighter, sharp), abs=0.01)
    assert row.restored.ssim == pytest.approx(ssim(lighter, sharp), abs=1e-4)
    assert (row.blurry.psnr_db, row.blurry.ssim) == (psnr_db(blurry, sharp), ssim(blurry, sharp))
    assert (row.width_px, row.height_px, row.scene) == (96, 96, "scene00")
    assert row.seconds > 0


def test_a_planted_better_model_is_found_better(found: Evaluation) -> None:
    of_pairs = {each.way: each for each in found.summaries}
    assert of_pairs["lighter-10"].gain_db.low > of_pairs["lighter-4"].gain_db.high > 0
    (difference,) = found.differences
    assert (difference.way, difference.than) == ("lighter-10", "lighter-4")
    assert difference.psnr_db.low > 2
    assert (difference.psnr_db.groups, difference.psnr_db.by) == (5, "scenes")
    assert of_pairs["lighter-10"].blurry.psnr_db == pytest.approx(10 * np.log10(255**2 / (DARKER**2 + 16)), abs=0.1)


def test_where_nothing_can_be_gained_no_model_is_better(planted: Path, tmp_path: Path) -> None:
    """A pair of equal pictures, which a model can only harm, would decide the difference."""
    folder = shutil.copytree(planted / "few", tmp_path / "few")
    equal = sorted((folder / "sharp").iterdir())[:2]
    for file in equal:
        shutil.copy(file, folder / "blur")
    ways = ways_of(planted, "by4", "by10")
    (difference,) = evaluate(open_report_sets([str(folder)]), ways).differences
    assert difference.psnr_db.high == pytest.approx(-6, abs=0.1)
    for file in (folder / "sharp").iterdir():
        shutil.copy(file, folder / "blur")
    assert not evaluate(open_report_sets([str(folder)]), ways).differences


def test_groups_hold_every_pair_once(found: Evaluation) -> None:
    for each in found.bins:
        assert sum(group.images for group in each.groups) == 20, each.by
    assert {each.by for each in found.bins} == {"blur strength", "size", "scene"}
    worst = found.worst("lighter-4")
    assert len(worst) == 10
    assert worst[0].gain_db == min(row.gain_db for row in found.rows(None, "lighter-4"))


def test_it_is_deterministic_and_json_has_what_was_promised(found: Evaluation, planted: Path, tmp_path: Path) -> None:
    again = evaluate(open_report_sets([str(planted / "pairs")]), ways_of(planted, "by10", "by4"))
    assert [row.restored for row in again.rows(None, "lighter-4")] == [
        row.restored for row in found.rows(None, "lighter-4")
    ]
    write_json(tmp_path / "e.json", found.as_json())
    told = json.loads((tmp_path / "e.json").read_text(encoding="utf-8"))
    wanted = {
        "name",
        "psnr_db",
        "ssim",
        "psnr_input_db",
        "ssim_input",
        "seconds",
        "shifted_psnr_input_db",
        "set",
        "way",
    }
    assert wanted <= told["images"][0].keys()
    assert len(told["images"]) == 60
    assert told["sets"][0]["fingerprint"] == found.sets[0].fingerprint


def test_ways_are_timed_in_fair_turns(planted: Path) -> None:
    """Of a model, another and a third, each comes first, and right behind each other one, as often."""
    (pairs,) = open_report_sets([str(planted / "pairs")])
    turns: list[str] = []

    def way(name: str) -> Way:
        def restore(blurry: Rgb8) -> tuple[Rgb8, float]:
            turns.append(name)
            return blurry, 0.1

        return Way(name, restore)

    evaluate([replace(pairs, pairs=pairs.pairs[:12], scenes=pairs.scenes[:12])], [way(name) for name in "abc"])
    orders = [turns[at : at + 3] for at in range(0, len(turns), 3)]
    assert set(Counter(order[0] for order in orders).values()) == {4}
    behind = Counter(two for order in orders for two in pairwise(order))
    assert len(behind) == 6
    assert set(behind.values()) == {4}


def test_models_of_one_name_are_told_apart(planted: Path, tmp_path: Path) -> None:
    """Also where the last folders of their paths are called the same; rows of one name would be taken for one model."""
    named = [str(shutil.copytree(planted / "by4", tmp_path / place / "run" / "model")) for place in ("a", "b")]
    opened = [(name, open_model(Path(name), OnnxEngine)) for name in named]
    assert [way.name for way in model_ways(opened)] == [f"lighter-4 ({name})" for name in named]
    with pytest.raises(SettingError, match="is named twice"):
        model_ways([opened[0], opened[0]])


def test_sharp_photographs_are_a_kind_of_their_own(planted: Path) -> None:
    found = evaluate(open_report_sets([f"photos:{planted / 'pairs' / 'sharp'}"]), ways_of(planted, "by4"))
    assert not found.summaries
    (kept,) = found.kept
    assert kept.psnr_db == pytest.approx(20 * np.log10(255 / 4), abs=0.1)
    assert kept.least_psnr_db <= kept.psnr_db


def test_displacement_is_told_from_damage(planted: Path) -> None:
    """A perfect restoration that lies two pixels beside its reference loses as it comes, and gains after one shift."""
    (pairs,) = open_report_sets([str(planted / "pairs")])
    sharp = {pair.load()[0].tobytes(): pair.load()[1] for pair in pairs.pairs}

    def beside(blurry: Rgb8) -> tuple[Rgb8, float]:
        return np.roll(sharp[blurry.tobytes()], 2, axis=1), 0.1

    (summary,) = evaluate([pairs], [Way("beside", beside)]).summaries
    assert summary.shifted_gain_db is not None
    assert summary.shifted_gain_db.low > summary.gain_db.high + 10


def test_what_is_softer_than_its_reference_has_a_smaller_gradient(planted: Path) -> None:
    (pairs,) = open_report_sets([str(planted / "pairs")])
    sharp = {pair.load()[0].tobytes(): pair.load()[1] for pair in pairs.pairs}

    def softened(blurry: Rgb8) -> tuple[Rgb8, float]:
        return uniform_filter(sharp[blurry.tobytes()], (3, 3, 1)), 0.1

    ways = [Way("softened", softened), Way("sharp", lambda blurry: (sharp[blurry.tobytes()], 0.1))]
    found = evaluate([replace(pairs, pairs=pairs.pairs[::4], scenes=pairs.scenes[::4])], ways)
    assert all(0 < row.restored.gradient < 0.9 for row in found.rows(None, "softened"))
    assert {row.restored.gradient for row in found.rows(None, "sharp")} == {1.0}


def test_tiles_that_change_nothing(planted: Path) -> None:
    model = open_model(planted / "by4", OnnxEngine)
    image = np.random.default_rng(0).integers(0, 240, (200, 300, 3), dtype=np.uint8)
    tiled = tiled_against_whole(model, image)
    assert tiled.tiles > 1
    assert tiled.psnr_db > 60
    assert tiled.seam_ratio == pytest.approx(1, abs=0.01)
