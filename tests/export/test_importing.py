"""Networks that others trained: what they want is found out, what cannot be served is refused by name."""

import pickle
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import openvino
import pytest
import torch
from onnx import TensorProto, helper

from deblur import cli
from deblur.errors import DeblurError, ModelError, SettingError
from deblur.evaluation.card import card
from deblur.export import reading
from deblur.export.convention import Convention, Range, find_convention
from deblur.export.importing import Known, import_model
from deblur.export.reading import Layout, input_of
from deblur.files import sha256_of
from deblur.images import from_rgb8, read_rgb8
from deblur.inference.locating import bundled_model
from deblur.inference.model_folder import Model, ModelInfo, open_model, read_info
from deblur.inference.onnx_runtime import OnnxEngine
from deblur.inference.openvino import OpenVinoEngine
from deblur.inference.restorer import Restorer
from deblur.inference.tiling import Tiling
from deblur.models.checkpoint import network_from
from deblur.serving.model_store import ModelStore
from tests.export.foreign_networks import Graph, bundled_as, sharpened, sharpener

UNIT = Known(range="unit", order="rgb")


def imported(file: Path, known: Known = UNIT, lines: list[str] | None = None) -> tuple[ModelInfo, Model]:
    """Into the folder ``model`` beside the file, opened in float32."""
    told = lines if lines is not None else []
    folder = file.parent / "model"
    info = import_model(file, folder, name="theirs", known=known, on_line=told.append)
    return info, open_model(folder, OnnxEngine)


def refused(file: Path, known: Known = UNIT) -> str:
    with pytest.raises(DeblurError) as caught:
        imported(file, known)
    assert not (file.parent / "model" / "model.json").exists()
    return str(caught.value)


def noise(rows: int, columns: int, count: int = 1) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.random.default_rng(3).random((count, 3, rows, columns), dtype=np.float32)


@pytest.mark.parametrize(
    ("layout", "known"),
    [
        ("nchw", Known(range="unit", order="rgb")),
        ("nhwc", Known(range="unit", order="bgr")),
        ("nchw", Known(range="signed", order="bgr")),
        ("nhwc", Known(range="byte", order="rgb")),
        ("nchw", Known(range="byte", order="bgr")),
    ],
)
def test_the_written_file_takes_and_gives_pixels(layout: Layout, known: Known, tmp_path: Path) -> None:
    assert known.range
    assert known.order
    info, model = imported(sharpener(tmp_path / "theirs.onnx", layout, known.range, known.order), known)
    for tiles in (noise(64, 64), noise(33, 50)):
        assert np.abs(model.restorer.engine(tiles) - sharpened(tiles)).max() < 1e-5
    assert (info.reach_px, info.halo_px, info.statistics, info.multiple_of) == (8, 8, False, 1)
    assert info.architecture == {
        "name": "imported",
        "layout": layout,
        "range": known.range,
        "order": known.order,
        "output": "restored",
    }


def test_layout_range_order_and_reach_of_a_real_network_are_found(tmp_path: Path) -> None:
    """It restores what is warm, so the order can be told."""
    lines: list[str] = []
    info, model = imported(bundled_as(tmp_path / "theirs.onnx", "nhwc", "byte", "bgr"), Known(), lines)
    assert [info.architecture[key] for key in ("layout", "range", "order")] == ["nhwc", "byte", "bgr"]
    assert lines[0] == "layout nhwc; sides: multiples of 16 px, at least 16"
    assert (info.multiple_of, info.reach_px, info.halo_px, info.tile_px) == (16, 136, 136, 544)
    folder = bundled_model()
    assert folder is not None
    assert info.reach_px == read_info(folder).reach_px
    pixels = np.random.default_rng(1).random((700, 90, 3), dtype=np.float32)
    whole = Restorer(model.restorer.engine, Tiling(704, 0, model.restorer.tiling.rule))
    squares = Restorer(model.restorer.engine, replace(model.restorer.tiling, fitted=False))
    assert (len(squares.plan(pixels)), len(whole.plan(pixels))) == (2, 1)
    assert np.abs(squares(pixels) - whole(pixels)).max() < 1e-5


def test_what_cannot_be_told_is_asked_for_by_name(tmp_path: Path) -> None:
    """The bundled model treats red and blue nearly alike."""
    said = refused(bundled_as(tmp_path / "theirs.onnx"), Known())
    assert "order rgb" in said
    assert "order bgr" in said
    assert said.endswith("Name order, as its authors say.")


@pytest.mark.parametrize("value_range", ["unit", "signed", "byte"])
def test_the_range_of_a_real_network_is_found(value_range: Range) -> None:
    """Its result may be nearer to its input in a wrong range, where it does less."""
    folder = bundled_model()
    assert folder is not None
    engine, theirs = OnnxEngine(folder / "model.onnx"), Convention("out", value_range)
    run = lambda tiles: {"out": theirs.given(engine(theirs.pixels(tiles)))}  # noqa: E731
    found, kept_db = find_convention(run, ["out"], 128, order="rgb")
    assert found == theirs
    assert 25 < kept_db < 35


def test_where_several_ways_are_the_same_picture_the_usual_one_is_taken() -> None:
    found, _ = find_convention(lambda tiles: {"out": tiles}, ["out"], 64)
    assert found == Convention("out", "unit", "rgb")


def test_a_network_that_breaks_every_picture_is_refused() -> None:
    with pytest.raises(ModelError, match="name range, order and output"):
        find_convention(lambda tiles: {"out": tiles * 0}, ["out"], 64)
    told, _ = find_convention(lambda tiles: {"out": tiles * 0}, ["out"], 64, "byte", "bgr")
    assert told == Convention("out", "byte", "bgr"), "what is given is taken as it is"


def test_of_several_outputs_the_picture_is_found(tmp_path: Path) -> None:
    file = sharpener(tmp_path / "theirs.onnx", residual=True)
    info, model = imported(file)
    assert info.architecture["output"] == "restored"
    assert np.abs(model.restorer.engine(noise(64, 64)) - sharpened(noise(64, 64))).max() < 1e-5
    info, model = imported(file, replace(UNIT, output="added"))
    assert info.architecture["output"] == "added", "as it was told"
    assert abs(model.restorer.engine(noise(64, 64)).mean()) < 0.1


def test_one_fixed_size_is_a_tile_of_that_size(tmp_path: Path) -> None:
    lines: list[str] = []
    info, model = imported(sharpener(tmp_path / "theirs.onnx", size=64), lines=lines)
    assert lines[0] == "layout nchw; sides: 64 px only"
    assert (info.tile_px, info.min_side_px, info.max_side_px, info.multiple_of, info.halo_px) == (64, 64, 64, 1, 8)
    pixels = noise(150, 97)
    expected = sharpened(pixels)[0].transpose(1, 2, 0)
    assert np.abs(model.restorer(pixels[0].transpose(1, 2, 0)) - expected).max() < 1e-5
    assert model.restorer(np.ones((10, 3, 3), np.float32)).shape == (10, 3, 3)
    with pytest.raises(SettingError, match="64 px only"):
        replace(info.tiling, tile_px=128)


def test_a_pointwise_network_of_a_small_fixed_size_is_blended(tmp_path: Path) -> None:
    graph = Graph(size=64)
    info, _ = imported(graph.save(tmp_path / "theirs.onnx", out=graph.add("Mul", "image", 0.9)))
    assert (info.reach_px, info.tile_px, info.tiling.overlap_px) == (0, 64, 16)


def test_a_mean_over_the_tile_is_noticed(tmp_path: Path) -> None:
    graph = Graph()
    mean = graph.add("GlobalAveragePool", "image")
    away = graph.add("Mul", graph.add("Sub", "image", mean), 0.05)
    info, _ = imported(graph.save(tmp_path / "theirs.onnx", out=graph.add("Add", "image", away)))
    assert (info.reach_px, info.halo_px, info.statistics) == (None, 0, True)
    assert (info.tiling.tile_px, info.tiling.overlap_px) == (512, 64)
    assert "statistics over the tile" in card(info)


def test_a_stride_is_found_by_sides_and_by_shifting(tmp_path: Path) -> None:
    for inside in (False, True):
        graph = Graph()
        image = graph.add("Pad", "image", np.array([0, 0, 0, 0, 0, 0, 7, 7])) if inside else "image"
        coarse = graph.add("AveragePool", image, kernel_shape=[8, 8], strides=[8, 8])
        again = graph.add("Resize", coarse, "", np.array([1, 1, 8, 8], np.float32), mode="nearest")
        if inside:  # it pads and crops by itself, so it takes every side
            shape = graph.add("Slice", graph.add("Shape", "image"), np.array([2]), np.array([4]))
            again = graph.add("Slice", again, np.array([0, 0]), shape, np.array([2, 3]))
        detail = graph.add("Mul", graph.add("Sub", "image", again), 0.1)
        folder = tmp_path / str(inside)
        info, _ = imported(graph.save(folder / "theirs.onnx", out=graph.add("Add", "image", detail)))
        assert (info.multiple_of, info.reach_px, info.halo_px) == (8, 8, 8)


def test_a_network_that_takes_batches_still_does(tmp_path: Path) -> None:
    graph = Graph(batch="n")
    file = graph.save(tmp_path / "theirs.onnx", out=graph.add("Mul", "image", 0.9))
    _, model = imported(file)
    assert np.allclose(model.restorer.engine(noise(20, 30, 2)), noise(20, 30, 2) * 0.9)
    written = input_of(onnx.load(tmp_path / "model" / "model.onnx"))
    assert (written.name, written.sizes) == ("blurry", (None, 3, None, None))


def test_weights_beside_the_file_are_taken_in(tmp_path: Path) -> None:
    file = sharpener(tmp_path / "theirs.onnx")
    model = onnx.load(file)
    onnx.save(model, file, save_as_external_data=True, location="weights.bin", size_threshold=0)
    imported(file)
    (tmp_path / "weights.bin").unlink()
    assert np.abs(open_model(tmp_path / "model").restorer.engine(noise(64, 64)) - sharpened(noise(64, 64))).max() < 0.02
    shutil.rmtree(tmp_path / "model")
    assert "weights.bin" in refused(file)


def test_provenance_and_licence_are_recorded(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = sharpener(tmp_path / "theirs.onnx")
    before = file.read_bytes()
    command = ["import", str(file), str(tmp_path / "model"), "--name", "theirs", "--range", "unit", "--order", "rgb"]
    assert cli.main([*command, "--licence", " "]) == 1
    assert "licence is empty" in capsys.readouterr().err
    assert cli.main([*command, "--licence", "MIT"]) == 0
    info = read_info(tmp_path / "model")
    assert (info.licence, info.origin) == ("MIT", {"file": "theirs.onnx", "sha256": sha256_of(file)})
    assert file.read_bytes() == before
    assert "imported from theirs.onnx" in card(info)
    assert "Licence: MIT." in card(info)


def test_bf16_is_used_only_where_it_is_good_enough(tmp_path: Path) -> None:
    if "BF16" not in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        pytest.skip("this processor has no bf16")
    imported(sharpener(tmp_path / "fine" / "theirs.onnx"))
    assert OpenVinoEngine(tmp_path / "fine" / "model" / "model.onnx").precision == "bf16"
    graph = Graph()
    up = graph.add("Conv", "image", 1001 * np.eye(3, dtype=np.float32)[..., None, None])
    down = graph.add("Conv", "image", 1000 * np.eye(3, dtype=np.float32)[..., None, None])
    lines: list[str] = []
    imported(graph.save(tmp_path / "coarse" / "theirs.onnx", out=graph.add("Sub", up, down)), lines=lines)
    assert lines[-1].startswith("precision: f32 only (in bf16 ")
    onnx_file = tmp_path / "coarse" / "model" / "model.onnx"
    assert OpenVinoEngine(onnx_file).precision == "f32"
    with pytest.raises(SettingError, match="loses too much in bf16"):
        OpenVinoEngine(onnx_file, "bf16")
    open_model(onnx_file.parent)


def larger(graph: Graph) -> str:
    return graph.add("Resize", "image", "", np.array([1, 1, 2, 2], np.float32), mode="nearest")


def two_inputs(graph: Graph) -> str:
    graph.inputs.append(helper.make_tensor_value_info("sigma", TensorProto.FLOAT, [1]))
    return graph.add("Mul", "image", "sigma")


def table_of(side_px: int) -> Callable[[Graph], str]:
    """What is added to each place comes from a table of so many."""

    def build(graph: Graph) -> str:
        table = np.zeros((1, 3, side_px, side_px), np.float32)
        sides = graph.add("Slice", graph.add("Shape", "image"), np.array([2]), np.array([4]))
        return graph.add("Add", "image", graph.add("Slice", table, np.array([0, 0]), sides, np.array([2, 3])))

    return build


REFUSED: dict[str, tuple[Graph, Callable[[Graph], str], str]] = {
    "super-resolution": (Graph(), larger, r"an image \(1, 3, 16, 17\) the network answers out \(1, 3, 32, 34\)"),
    "of a fixed size": (Graph(size=32), larger, r"an image \(1, 3, 32, 32\) the network answers out \(1, 3, 64, 64\)"),
    "custom operator": (
        Graph(),
        lambda g: g.add("Sharpen", "image", domain="their.own"),
        r"have: their\.own\.Sharpen\.",
    ),
    "unknown operator": (Graph(), lambda g: g.add("Deblur", "image"), r"have: Deblur\."),
    "two inputs": (Graph(), two_inputs, r"2 inputs \(image, sigma\)"),
    "grey": (Graph(channels=1), lambda g: g.add("Neg", "image"), r"takes \(1, 1, \?, \?\)"),
    "batches": (Graph(batch=4), lambda g: g.add("Neg", "image"), r"takes \(4, 3, \?, \?\)"),
    "layout": (Graph(channels=None), lambda g: g.add("Neg", "image"), "Name layout"),
    "no picture": (Graph(), lambda g: g.add("GlobalMaxPool", "image"), r"answers out \(1, 3, 1, 1\)"),
    "a table of 96 px": (Graph(), table_of(96), "refuses tiles of 64 x 640 px"),
    "a table of 256 px": (Graph(), table_of(256), "refuses tiles of 64 x 640 px"),
    "never runs": (Graph(), lambda g: g.add("Reshape", "image", np.array([1, 7])), "no size that was tried"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_served_is_refused_by_name(case: str, tmp_path: Path) -> None:
    graph, build, words = REFUSED[case]
    assert re.search(words, refused(graph.save(tmp_path / "theirs.onnx", out=build(graph))))


def test_other_kinds_of_input_are_refused(tmp_path: Path) -> None:
    for kind, shape, words in ((TensorProto.UINT8, [1, 3, 8, 8], "UINT8"), (TensorProto.FLOAT, [3, 8, 8], "(3, 8, 8)")):
        graph = Graph()
        graph.inputs = [helper.make_tensor_value_info("image", kind, shape)]
        assert words in refused(graph.save(tmp_path / "theirs.onnx", out=graph.add("Identity", "image")))
    graph = Graph()
    graph.inputs = [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, 32, 48])]
    assert "(1, 3, 32, 48)" in refused(graph.save(tmp_path / "theirs.onnx", out=graph.add("Neg", "image")))


class Trap:
    """What would be done if it were unpickled."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.file,)


def test_other_files_are_refused_and_nothing_is_unpickled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "theirs.onnx"
    for data in (pickle.dumps(Trap(tmp_path / "sprung")), b"", b"no model", b"PK\x03\x04 and more"):
        file.write_bytes(data)
        assert "is not an ONNX file" in refused(file)
    torch.save(Trap(tmp_path / "sprung"), file)
    assert "is not an ONNX file" in refused(file)
    assert not (tmp_path / "sprung").exists()
    file.unlink()
    assert "There is no file" in refused(file)
    monkeypatch.setattr(reading, "LARGEST_MB", 1e-4)
    assert "allowed are" in refused(sharpener(file))


def test_what_a_person_says_is_checked(tmp_path: Path) -> None:
    file = sharpener(tmp_path / "model.onnx")
    assert "has restored" in refused(file, Known(output="mask"))
    assert "layout is nhwc" in refused(file, Known(layout="nhwc"))
    with pytest.raises(SettingError, match="Choose another folder"):
        import_model(file, tmp_path, name="theirs", known=UNIT)


def test_an_imported_folder_has_no_network_in_torch(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    imported(sharpener(tmp_path / "theirs.onnx"))
    with pytest.raises(ModelError, match="was imported: it is an ONNX file"):
        network_from(tmp_path / "model")
    assert cli.main(["export", str(tmp_path / "model"), str(tmp_path / "again")]) == 1
    assert "without a network that can be trained" in " ".join(capsys.readouterr().err.split())


def test_the_verbs_take_it_like_any_other(
    tmp_path: Path, pair_folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file, folder = sharpener(tmp_path / "theirs.onnx", "nhwc", "byte", "bgr", size=64), str(tmp_path / "model")
    known = ["--layout", "nhwc", "--range", "byte", "--order", "bgr", "--output", "restored"]
    assert cli.main(["import", str(file), folder, "--name", "theirs", "--licence", "MIT", *known]) == 0
    assert "precision: " in capsys.readouterr().out
    assert "imported from theirs.onnx" in (tmp_path / "model" / "CARD.md").read_text()
    photo = pair_folder / "blur" / "coffee.png"
    restore = ["restore", str(photo), str(tmp_path / "out.png"), "--model", folder, "--precision", "f32"]
    assert cli.main([*restore, "--guard", "off"]) == 0
    tiles = from_rgb8(read_rgb8(photo)).transpose(2, 0, 1)[None]
    written = from_rgb8(read_rgb8(tmp_path / "out.png")).transpose(2, 0, 1)[None]
    assert np.abs(written - sharpened(tiles)).max() < 0.003, "half a level and a little"
    assert ModelStore(lambda: Path(folder)).get().info.name == "theirs"
    monkeypatch.chdir(tmp_path)
    assert cli.main(["evaluate", folder, "--data", str(pair_folder), "--no-references"]) == 0
    assert cli.main(["compare", str(photo), "--models", folder, "--out", "sheet.png"]) == 0
    assert "theirs" in capsys.readouterr().out
