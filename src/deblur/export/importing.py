"""A model folder of a restoration network that others trained: what it wants is found out and written into the file."""

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass, replace
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np

from deblur.errors import ModelError, SettingError
from deblur.export.convention import SAME_DB, Convention, Order, Range, find_convention, photographs, psnr_db
from deblur.export.foreign import Foreign
from deblur.export.inner import Inner
from deblur.export.onnx import GOLDEN_SIDE_PX, describe, golden_of, make_folder, write_onnx
from deblur.export.probing import find_reach, find_stride
from deblur.export.reading import Layout, read_foreign
from deblur.export.wrapping import note, wrap
from deblur.inference.engine import Tiles
from deblur.inference.model_folder import IMPORTED, ONNX_FILE, Golden, ModelInfo
from deblur.inference.onnx_runtime import OnnxEngine
from deblur.inference.openvino import PRECISION, OpenVinoEngine
from deblur.inference.tiling import SizeRule, Tiling

TILE_PX, OVERLAP_PX = 512, 64
TRIED_PX = 128
"""Side of the photographs that the network is tried on, where it takes any."""
PARITY = 1e-4
"""How far the written file may be from the network as its authors wrote it, in pixel values of 0 to 1."""


@dataclass(frozen=True)
class Known:
    """What a person knows of a network and need not be found out; None is found out."""

    layout: Layout | None = None
    range: Range | None = None
    order: Order | None = None
    output: str | None = None


def import_model(
    file: Path,
    folder: Path,
    *,
    name: str,
    known: Known = Known(),
    features: str | None = None,
    on_line: Callable[[str], None] = lambda line: None,
) -> ModelInfo:
    """Write a model folder of an ONNX file that others made; returns what ``model.json`` says.

    Args:
        file: takes one image and returns it restored; weights may lie beside it.
        folder: where ``model.onnx`` and ``model.json`` go.
        name: what the model is called.
        known: what need not be found out; ``on_line`` is told the rest.
        features: one of its inner tensors, ``(B, C, i, j)``, for students that are compared with it.

    Raises:
        ModelError: it is no such file, cannot be served, or it cannot be told how it takes its pictures.
        SettingError: a folder that cannot hold a model, or no such tensor.
    """
    if file.resolve() == (folder / ONNX_FILE).resolve():
        raise SettingError(f"{file} would be replaced by what is made from it. Choose another folder.")
    model = read_foreign(file)
    network = Foreign(model, known.layout, known.output)
    on_line(f"layout {network.layout}; sides: {network.rule}")
    tried_px = network.rule.max_side_px or network.rule.fit(TRIED_PX)
    convention, kept_db = find_convention(network, list(network.images), tried_px, known.range, known.order)
    on_line(f"{convention}: photographs come back with {kept_db:.1f} dB")
    layouts = network.layout, network.images[convention.output]
    wrapped = wrap(model, convention, layouts, one_by_one=not network.takes_batches())
    data = wrapped.SerializeToString()
    engine = OnnxEngine(data)
    _check_parity(engine, network, convention, tried_px)
    reach_px = find_reach(engine, network.rule)
    tiling = _tiling(engine, network.rule, reach_px)
    on_line(_told(reach_px, tiling))
    golden = golden_of(engine, tiling.rule.fit(GOLDEN_SIDE_PX))
    tolerance = golden.tolerance * max(1.0, float(np.abs(golden.cell_means).max()))
    golden = replace(golden, tolerance=tolerance, tolerance_bf16=max(tolerance, golden.tolerance_bf16))
    inner = {}
    if features:
        rule = tiling.rule
        sides_px = rule.min_side_px, rule.max_side_px or rule.min_side_px + rule.multiple_of
        inner = {"features": features, "channels": Inner(data, features).channels(*sides_px)}
    make_folder(folder)
    on_line(_write_for_engines(wrapped, folder, golden, photographs(tried_px)[0][:1]))
    architecture = {"layout": network.layout, "range": convention.range, "order": convention.order} | inner
    return describe(
        folder,
        name,
        tiling,
        golden,
        run_id=None,
        reach_px=reach_px,
        halo_px=tiling.halo_px,
        statistics=reach_px is None,
        architecture={"name": IMPORTED, **architecture, "output": convention.output},
    )


def _check_parity(engine: OnnxEngine, network: Foreign, convention: Convention, side_px: int) -> None:
    """The file that will be written against the network as its authors wrote it, on photographs."""
    blurry, _ = photographs(side_px)
    expected = convention.pixels(network(convention.given(blurry[:1]))[convention.output])
    distance = float(np.abs(engine(blurry[:1]) - expected).max())
    if not distance <= PARITY * max(1.0, float(np.abs(expected).max())):
        raise ModelError(f"The wrapped network is {distance:.2g} away from the original; it was not written.")


def _tiling(engine: OnnxEngine, rule: SizeRule, reach_px: int | None) -> Tiling:
    """With a halo where tiles change nothing with it, else blended."""
    tile_px = rule.max_side_px or rule.fit(max(TILE_PX, 4 * (reach_px or 0)))
    blended_px = min(OVERLAP_PX, tile_px // 4)
    if reach_px is not None and 4 * reach_px <= tile_px:
        stride_px = find_stride(engine, replace(rule, multiple_of=1) if rule.max_side_px else rule, reach_px)
        if stride_px is not None and tile_px % stride_px == 0 and tile_px >= 2 * stride_px:
            aligned = replace(rule, multiple_of=stride_px, min_side_px=ceil(rule.min_side_px / stride_px) * stride_px)
            return Tiling(tile_px, 2 * reach_px or blended_px, aligned, reach_px)
    return Tiling(tile_px, blended_px if tile_px >= 2 * rule.multiple_of else 0, rule)


def _told(reach_px: int | None, tiling: Tiling) -> str:
    if reach_px is None:
        return "reach: to the end of the tile (statistics over it, or attention), or too far to tell: tiles are blended"
    exact = tiling.halo_px == reach_px
    return f"reach: {reach_px} px; tiles {'change nothing' if exact else 'are blended'}"


def _write_for_engines(model: Any, folder: Path, golden: Golden, blurry: Tiles) -> str:
    """Write a ``ModelProto``, with a word in its metadata where it must be computed in float32; returns what was found.

    bf16 is allowed where a processor that has it stays within the golden input's tolerance and, on a photograph
    ``(1, 3, h, w)``, within one level of 255. Nobody's word is no permission.
    """
    allowed, why = _bf16(write_onnx(folder, model), golden, blurry)
    if not allowed:
        note(model, PRECISION, "f32")
        write_onnx(folder, model)
    return f"precision: {'bf16 or f32' if allowed else 'f32 only'} ({why})"


def _bf16(onnx: Path, golden: Golden, blurry: Tiles) -> tuple[bool, str]:
    if importlib.util.find_spec("openvino") is None:
        return False, "OpenVINO is not here to try bf16"
    try:
        engine = OpenVinoEngine(onnx, "f32")
        distance, expected = golden.distance(engine), engine(blurry)
    except Exception as error:  # OpenVINO raises RuntimeError and others
        raise ModelError(f"OpenVINO cannot run the network: {str(error).splitlines()[0][:300]}") from error
    if not distance <= golden.tolerance:
        raise ModelError(f"OpenVINO computes something else than ONNX Runtime (golden input off by {distance:.2g}).")
    try:
        half = OpenVinoEngine(onnx, "bf16")
    except SettingError:
        return False, "this processor has no bf16 to try"
    distance, apart_db = golden.distance(half), float(psnr_db(half(blurry), expected).min())
    allowed = distance <= golden.tolerance_bf16 and apart_db >= SAME_DB
    return allowed, f"in bf16 the golden input is off by {distance:.1g}, a photograph by {apart_db:.0f} dB"
