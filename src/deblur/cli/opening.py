"""Which model a verb opens, as a person names it, and what runs it."""

import re
import shlex
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from deblur.errors import SettingError
from deblur.inference.locating import bundled_model

if TYPE_CHECKING:
    from deblur.inference.model_folder import Model, ModelInfo, OpenEngine
    from deblur.inference.tiling import Tiling

Engine = Literal["auto", "openvino", "onnxruntime", "torch"]
CHECKPOINT = ".pth"
NAMED = re.compile(r"([A-Za-z0-9][A-Za-z0-9_.-]*)=(.+)", re.DOTALL)


@dataclass(frozen=True)
class Running:
    """How a model runs."""

    engine: Engine = "auto"
    """What runs the network: auto takes openvino on x86-64, else onnxruntime, and torch if --device is not cpu."""
    precision: Literal["auto", "f32", "bf16"] = "auto"
    """What the network computes in: auto takes bf16 where engine and processor have it, else f32."""
    threads: int | None = None
    """Threads that the network computes with; by default one for each core."""
    device: str = "cpu"
    """Where the network runs: cpu, cuda or mps. All but cpu need torch."""
    tile: int | None = None
    """Cut the photo into squares of this side, px (512 as published); by default tiles are fitted to the photo."""
    memory: float | None = None
    """Take the largest tiles with which the network needs at most this many MB; for models whose result does not depend
    on the tiles."""
    overlap: int | None = None
    """How far neighbouring tiles overlap, px; by default as when the model was validated."""


Ran = Annotated[Running, tyro.conf.arg(name="")]


@dataclass(frozen=True)
class Opening(Running):
    """Which model restores, and how it runs."""

    model: str | None = None
    """A model folder, models:/NAME@champion, or bundled (the model of this package); by default the one that
    DEBLUR_MODEL names, else the registry's champion if it has beaten the bundled model (deblur promote), else the
    bundled model."""


Opened = Annotated[Opening, tyro.conf.arg(name="")]


def opener(opening: Running) -> "Callable[[Path], Model]":
    """Opens a model folder as the options say."""
    from deblur.inference.model_folder import open_model

    open_engine = engine_opener(opening)
    return lambda folder: open_model(folder, open_engine, partial(_tiling, opening))


class Chosen:
    """Where the model is that was named, or not, and a line that says which one was opened."""

    def __init__(self, named: str | None) -> None:
        self._named, self._passed_over = named, ""

    def locate(self) -> Path:
        """The model folder."""
        from deblur.library import locate

        return locate(self._named, self._pass_over)

    def line(self, folder: Path, info: "ModelInfo") -> str | None:
        """What restores, and how to choose another; None where somebody chose."""
        if self._named:
            return None
        bundled = ", the bundled model" if folder == bundled_model() else ""
        return f"restoring with {info.label}{bundled} (choose with --model{self._passed_over})"

    def _pass_over(self, name: str, version: str) -> None:
        promote = shlex.join(["deblur", "promote", name, "--data", "SET"])
        self._passed_over = f"; the registry's champion {name} version {version} has not beaten it: {promote}"


def _tiling(opening: Running, info: "ModelInfo") -> "Tiling":
    """The model's own tiling, or the squares that were asked for."""
    own = info.tiling
    if opening.memory is not None:
        if opening.tile is not None or opening.overlap is not None:
            raise SettingError("--memory chooses the tile; leave --tile and --overlap out.")
        return info.tiling_within(opening.memory)
    if opening.tile is None and opening.overlap is None:
        return own
    from deblur.inference.tiling import Tiling

    tile_px = own.tile_px if opening.tile is None else opening.tile
    overlap_px = own.overlap_px if opening.overlap is None else opening.overlap
    if opening.overlap is None and tile_px < 2 * overlap_px:
        raise SettingError(
            f"--tile is {tile_px}; {info.name} overlaps its tiles by {overlap_px} px and needs at least "
            f"{own.rule.fit(2 * overlap_px)}, or another --overlap, too."
        )
    halo_px = min(own.halo_px, overlap_px // 2)
    return Tiling(tile_px, overlap_px, own.rule, halo_px, fitted=opening.tile is None)


def engine_opener(opening: Running) -> "OpenEngine":
    """What opens the ONNX file of a model folder: an engine, or for torch the network that the file holds.

    Raises:
        SettingError: an engine that does not run on the device.
    """
    from deblur.inference.engines import open_engine
    from deblur.inference.openvino import KEPT

    engine, device = opening.engine, opening.device
    if engine in ("openvino", "onnxruntime") and device != "cpu":
        raise SettingError(f"--engine {engine} runs on the CPU here; for --device {device} take --engine torch.")
    if engine != "torch" and device == "cpu":
        kept = KEPT if opening.memory is None else 1  # each holds the tensors of a tile
        return lambda onnx_file: open_engine(onnx_file, engine, opening.precision, opening.threads, kept)
    from deblur.models.checkpoint import network_from
    from deblur.models.engine import TorchEngine
    from deblur.training.device import pick_device

    return lambda onnx_file: TorchEngine(
        network_from(onnx_file.parent), pick_device(device), opening.precision, opening.threads
    )


def open_named(text: str | None) -> "Model":
    """Open ``bundled``, a model folder, ``models:/NAME@ALIAS``, or a checkpoint, which is exported first.

    None is what restores where nobody names a model.

    Raises:
        ModelError: it cannot be found or opened.
    """
    from deblur.library import open_model

    file = Path(text or "")
    if file.suffix != CHECKPOINT or not file.is_file():
        return open_model(text)
    from deblur.training.existing import export_weights

    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
        export_weights(file, Path(scratch), file.stem)
        return open_model(scratch)


def by_name(models: tuple[str, ...]) -> dict[str, str | None]:
    """``a=FOLDER`` -> what is served as ``a``; a single model needs no name."""
    if not models:
        return {"": None}
    named = [(found[1], found[2]) if (found := NAMED.fullmatch(each)) else ("", each) for each in models]
    by_name: dict[str, str | None] = dict(named)
    if len(by_name) < len(models) or (len(models) > 1 and "" in by_name):
        raise SettingError(f"--model is {' '.join(models)}; give each of several a name of its own: a=FOLDER b=FOLDER.")
    return by_name
