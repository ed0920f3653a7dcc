"""``deblur bench infer``: every way restores the same photo, and the figures say what was measured."""

import json
from pathlib import Path
from statistics import median

import numpy as np
import pytest
from PIL import Image

from deblur import cli
from deblur.benchmarks import infer
from deblur.benchmarks.one_photo import WAYS
from deblur.errors import SettingError
from deblur.export.importing import Known, import_model
from deblur.export.onnx import export_model
from deblur.inference.tiling import Tiling
from deblur.models.unet import DeblurUNet
from deblur.registry.benchmarks import flattened
from tests.conftest import sharpening_network
from tests.export.foreign_networks import sharpener


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bench")
    network = sharpening_network()
    export_model(network, path, name="tiny", tiling=Tiling(512, 64, network.size_rule))
    return path


@pytest.mark.parametrize("way", WAYS)
def test_every_way_restores_the_same_photo(folder: Path, way: str) -> None:
    """One tile: only rounding and the engine's precision can differ. (MONAI fills up to 512 px with black.)"""
    if "MONAI" in way:
        pytest.importorskip("monai", reason="MONAI is no dependency; pip install --no-deps monai brings it")
    rgb = infer.photo_of((512, 512) if "MONAI" in way else (160, 240))
    expected, restored = rgb.copy(), rgb.copy()
    WAYS["ours, ONNX Runtime f32"](folder)(expected)
    try:
        restore = WAYS[way](folder)
    except SettingError as error:
        pytest.skip(str(error))
    restore(restored)
    assert not np.array_equal(restored, rgb)
    assert np.abs(restored.astype(int) - expected).max() <= 1


def test_the_published_loop_pads_its_slivers_and_blends_its_tiles(folder: Path) -> None:
    """Two columns, the second a sliver of 82 px: away from seams and borders the tile's own statistics remain."""
    rgb = infer.photo_of((100, 530))
    restored = rgb.copy()
    infer.WAYS[infer.PUBLISHED](folder)(restored)
    assert 0.1 < np.abs(restored.astype(float) - rgb).mean() < 20


def test_operations_are_counted_as_published() -> None:
    """16.37 G multiplications and additions at 256x256."""
    assert infer.flops_per_pixel(DeblurUNet().eval()) * 256**2 / 2e9 == pytest.approx(16.37, abs=0.01)


def test_the_verb_measures_prints_draws_and_logs(
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    own_project: Path,
) -> None:
    monkeypatch.setattr(infer, "FULL_HD", (72, 128))
    monkeypatch.setattr(infer, "SMALL_PHOTO", (64, 64))
    figures_file, picture = tmp_path / "figures.json", tmp_path / "picture.png"
    arguments = ["bench", "infer", "--model", str(folder), "--megapixels", "0.01", "0.04", "--runs", "2"]
    assert cli.main([*arguments, "--json", str(figures_file), "--picture", str(picture), "--tracking"]) == 0
    printed = capsys.readouterr().out
    assert "published loop, torch f32 / ours, OpenVINO f32: " in printed
    assert printed.count("frames/s") == 2
    figures = json.loads(figures_file.read_text())
    for seconds in (*map(median, figures["seconds"].values()), *(each["restore_s"] for each in figures["scaling"])):
        assert f" {1 / seconds:.3g} " in printed
    assert all(len(seconds) == 2 for seconds in figures["seconds"].values())
    assert figures["peak_mb"].keys() == figures["seconds"].keys()
    assert {point["megapixels"] for point in figures["scaling"]} == {0.01, 0.04}
    assert all(0 < n <= whole for n, whole in zip(figures["network_s"], figures["file_to_file_s"], strict=True))
    assert figures["ratios"] == infer.ratios(figures)
    with Image.open(picture) as drawn:
        assert drawn.size[0] > 500

    from deblur.registry.tracking import connect

    client = connect()
    (run,) = client.search_runs([client.get_experiment_by_name("deblur").experiment_id])
    assert run.info.run_name == "bench infer"
    assert run.data.metrics["ratios.network - matrix limit"] > 0
    assert {artifact.path for artifact in client.list_artifacts(run.info.run_id)} == {"figures.json", "picture.png"}


def test_a_network_of_others_is_refused_with_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Torch cannot run it, and all ways are compared with torch's."""
    known = Known(range="unit", order="rgb")
    import_model(sharpener(tmp_path / "theirs.onnx"), tmp_path / "model", name="theirs", known=known)
    assert cli.main(["bench", "infer", "--model", str(tmp_path / "model"), "--runs", "1"]) == 1
    assert "without a network that can be trained, exported or run by torch" in " ".join(
        capsys.readouterr().err.split()
    )


def test_lists_become_medians_and_names_what_mlflow_takes() -> None:
    assert flattened({"a/b": {"c, d": [3, 1, 2]}, "e": "f", "g": [{"h": 1}]}) == {"a-b.c- d": 2, "e": "f"}
