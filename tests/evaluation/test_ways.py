"""A model is told with the guard and without it, and its network runs once."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from deblur.evaluation.ways import model_ways
from deblur.images import Photo
from deblur.inference.engine import Tiles
from deblur.inference.model_folder import open_model
from deblur.inference.onnx_runtime import OnnxEngine
from deblur.inference.photo import restore_photo
from deblur.inference.restorer import Restorer


def test_both_are_what_the_door_gives_and_the_network_runs_once(model_folder: Path) -> None:
    opened = open_model(model_folder, OnnxEngine)
    calls: list[Tiles] = []

    def counting(tile: Tiles) -> Tiles:
        calls.append(tile)
        return opened.restorer.engine(tile)

    model = replace(opened, restorer=Restorer(counting, opened.restorer.tiling))
    blurry = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    guarded, unguarded = model_ways([("here", model)], with_unguarded=True)
    results = [way.restore(blurry)[0] for way in (unguarded, guarded)]
    assert len(calls) == 1
    expected = [restore_photo(opened, Photo(blurry.copy()), guarded=on)[0].rgb for on in (False, True)]
    assert all(np.array_equal(*both) for both in zip(results, expected, strict=True))
    assert [guarded.name, unguarded.name] == ["tiny", "tiny, guard off"]
    assert guarded.model
    assert not unguarded.model, "it is no contestant of its own"
