"""A model is a folder: ``model.onnx`` and ``model.json``. Export writes it, everything that restores reads it.

Nothing is served unchecked: first the file's sha256, then the contract of its input and output, then a golden input
whose output must come out as it did at export. ONNX Runtime loads most models with a flipped bit without a word.
"""

import hashlib
import json
import logging
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from math import ceil, inf
from pathlib import Path
from typing import Any

import numpy as np

from deblur.errors import ModelError, SettingError
from deblur.files import write_json
from deblur.inference.engine import Engine, Reduced, Tiles, precision_of
from deblur.inference.engines import open_engine
from deblur.inference.restorer import Restorer
from deblur.inference.tiling import AREA_SLACK, SizeRule, Tiling
from deblur.interval import Interval

ONNX_FILE, JSON_FILE, CARD_FILE = "model.onnx", "model.json", "CARD.md"
IR_FILES = "model.xml", "model.bin"
"""The same network as OpenVINO writes it, for other programs; this one restores with the ONNX file."""
IMPORTED = "imported"
"""The architecture of an ONNX file that others made."""
FORMAT = 3
EARLIER_FORMATS = (1, 2)
GOLDEN_TOLERANCE = 1e-3
GOLDEN_TOLERANCE_BF16 = 1e-2
"""The most that bf16 may move: what it moves further, it spoils. Of a file that does not say what its own is, that."""
GOLDEN_CELL_PX = 16

KEPT_ELSEWHERE = re.compile(
    rb"\x6a(?:[\x0c-\x7f]|[\x80-\xff]\x01)\n\x08location\x12(?:[\x01-\x7f]|[\x80-\xff]\x01)(?!\n)"
)
"""How an ONNX file says that a tensor's values lie in another file, which its sha256 does not cover.

The type of a tensor that is called ``location`` looks alike, but begins with a line feed, as no file's name does.
"""

logger = logging.getLogger("deblur.inference")

OpenEngine = Callable[[Path], Engine]


@dataclass(frozen=True)
class Golden:
    """A seeded noise image and the means of the output's 16 px cells: small, and every weight has a say in it.

    Computed in bf16, whose rounding moves one network twenty times as far as another, they may lie further away.
    """

    seed: int
    side_px: int
    cell_means: list[float]
    tolerance: float = GOLDEN_TOLERANCE
    tolerance_bf16: float = GOLDEN_TOLERANCE_BF16

    def distance(self, engine: Engine) -> float:
        """Largest difference between the engine's cell means and those recorded at export."""
        return float(np.abs(golden_cell_means(engine, self.seed, self.side_px) - np.array(self.cell_means)).max())


@dataclass(frozen=True)
class ModelInfo:
    """``model.json``: what must be known of a network to restore with it, and where it came from.

    Args:
        name: of the model.
        run_id: of the training, where a tracker knows it.
        git_commit: of the code that exported it.
        sha256: of ``model.onnx``.
        precision: of the arithmetic in the file.
        multiple_of: of a tile's sides, px.
        min_side_px: of a tile.
        reach_px: how far away a pixel can lie and still change the result here; None: as far as the tile goes.
        halo_px: how much of a tile's border is thrown away. As wide as the reach, tiles change nothing.
        statistics: whether the network computes statistics over the whole tile.
        tile_px: side of the tile that the model was validated with.
        overlap_px: of neighbouring tiles.
        psnr_db: of the file on its validation images; None: never verified.
        psnr_input_db: of the blurry input there.
        architecture: what ``models.build`` makes.
        golden: what the file must compute.
        gain_db: of the file over the blurry input there; None: never verified, or by a version that kept no interval.
        scored_on: fingerprint of the validation images; None as above.
        trained: what the run recorded of its settings, data, time and energy; None: nobody did.
        reported: figures on sets that chose nothing, from an evaluation; None: nobody made one.
        bytes_per_px: what a tile takes in float32, measured; None: nobody measured it.
        max_side_px: of a tile; None: any. As large as ``min_side_px`` where the network takes one size only.
        licence: of network and weights; None: not recorded.
        origin: of a network that others trained and that was imported, the original's ``file`` and ``sha256``; None:
            this program trained it.
        version: in a registry.
        format: of ``model.json``.
    """

    name: str
    run_id: str | None
    git_commit: str | None
    sha256: str
    precision: str
    multiple_of: int
    min_side_px: int
    reach_px: int | None
    halo_px: int
    statistics: bool
    tile_px: int
    overlap_px: int
    psnr_db: float | None
    psnr_input_db: float | None
    architecture: dict[str, Any]
    golden: Golden
    gain_db: Interval | None = None
    scored_on: str | None = None
    trained: dict[str, Any] | None = None
    reported: dict[str, Any] | None = None
    bytes_per_px: float | None = None
    max_side_px: int | None = None
    licence: str | None = None
    origin: dict[str, str] | None = None
    version: str | None = None
    format: int = FORMAT

    @property
    def tiling(self) -> Tiling:
        """The tiling that the model was validated with; tiles with a halo overlap by nothing else."""
        overlap_px = 2 * self.halo_px or self.overlap_px
        rule = SizeRule(self.multiple_of, self.min_side_px, self.max_side_px)
        return Tiling(self.tile_px, overlap_px, rule, self.halo_px)

    def tiling_within(self, memory_mb: float) -> Tiling:
        """The largest tiles that the network restores within ``memory_mb`` (1e6 bytes); the result is the same.

        Raises:
            SettingError: the result depends on the tile, nobody measured what one takes, or there is too little memory.
        """
        if not 0 < memory_mb < inf:
            raise SettingError(f"memory is {memory_mb:g}; it must be a number of MB above 0.")
        if self.halo_px == 0 or self.halo_px != self.reach_px:
            why = "statistics over the tile" if self.statistics else "borders of tiles that are blended"
            raise SettingError(
                f"memory does not suit {self.name}: its result depends on the tile ({why}), so it keeps the one of "
                f"{self.tile_px} px that it was validated with. Ask for another by its size."
            )
        if self.bytes_per_px is None:
            raise SettingError(
                f"{JSON_FILE} of {self.name} does not say what a tile takes. Export it again, or ask for a tile by its "
                "size."
            )
        least_px = self.tiling.rule.fit(4 * self.halo_px)
        side_px = (memory_mb * 1e6 / self.bytes_per_px / AREA_SLACK) ** 0.5
        tile_px = int(side_px) // self.multiple_of * self.multiple_of
        if tile_px < least_px:
            least_mb = ceil(AREA_SLACK * least_px**2 * self.bytes_per_px / 1e6)
            raise SettingError(f"memory is {memory_mb:g} MB; {self.name} needs at least {least_mb} MB.")
        return replace(self.tiling, tile_px=tile_px)

    @property
    def has_network(self) -> bool:
        """Whether it is a network of this program, which torch can run and train; an ONNX file of others is none."""
        return self.architecture.get("name") != IMPORTED

    @property
    def label(self) -> str:
        """``name`` or ``name/version``: how answers name their model."""
        return f"{self.name}/{self.version}" if self.version else self.name


@dataclass(frozen=True)
class Model:
    """A checked model, ready to restore."""

    info: ModelInfo
    restorer: Restorer
    bf16_refused: bool = False
    """Whether this processor's bf16 failed the golden input, so that it computes in float32."""


def golden_cell_means(engine: Engine, seed: int, side_px: int) -> Tiles:
    """The engine's output on the golden input, averaged over cells: a flat array."""
    noise = np.random.default_rng(seed).random((1, 3, side_px, side_px), dtype=np.float32)
    cells = side_px // GOLDEN_CELL_PX
    output = engine(noise)[0, :, : cells * GOLDEN_CELL_PX, : cells * GOLDEN_CELL_PX]
    return output.reshape(3, cells, GOLDEN_CELL_PX, cells, GOLDEN_CELL_PX).mean(axis=(2, 4)).ravel()


def write_info(folder: Path, info: ModelInfo) -> None:
    """Write ``model.json``."""
    write_json(folder / JSON_FILE, asdict(info) | {"gain_db": info.gain_db and info.gain_db.as_json()})


def read_info(folder: Path) -> ModelInfo:
    """Read ``model.json``.

    Raises:
        ModelError: missing, not JSON, or fields that are missing, unknown or of no meaning.
    """
    path = folder / JSON_FILE
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        if values["format"] not in (*EARLIER_FORMATS, FORMAT):
            raise ModelError(f"{path} has format {values['format']}; this program reads 1 to {FORMAT}.")
        if values["format"] == 1:
            values = _from_format_1(values)
        gain = values.get("gain_db")
        parts = {"golden": Golden(**values["golden"]), "gain_db": Interval.read(gain) if gain else None}
        info = ModelInfo(**{**values, **parts, "format": FORMAT})
        bytes.fromhex(info.sha256)
        _ = info.tiling  # its numbers may make none
    except (FileNotFoundError, NotADirectoryError) as error:
        lacks = f"it has no {JSON_FILE}" if folder.is_dir() else "there is none of that name"
        raise ModelError(f"{folder} is not a model folder: {'it is a file' if folder.is_file() else lacks}.") from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError, ArithmeticError, SettingError) as error:
        raise ModelError(
            f"{path} is broken ({type(error).__name__}: {error}). Export or fetch the model again."
        ) from error
    return info


def _from_format_1(values: dict[str, Any]) -> dict[str, Any]:
    """It had one field for reach, halo and statistics: ``receptive_px``, null where statistics cover the tile."""
    reach_px = values.pop("receptive_px")
    statistics = reach_px is None and not values["architecture"].get("frozen", False)
    return values | {"reach_px": reach_px, "halo_px": reach_px or 0, "statistics": statistics}


def whole_info(folder: Path) -> ModelInfo:
    """Read ``model.json`` of a folder whose ``model.onnx`` is the file that it describes, and all there is.

    Raises:
        ModelError: a file is missing, broken or altered, or ``model.onnx`` keeps weights in another file.
    """
    info, onnx = read_info(folder), folder / ONNX_FILE
    if not onnx.is_file():
        raise ModelError(f"{folder} is not a model folder: it has no {ONNX_FILE}.")
    data = onnx.read_bytes()
    if hashlib.sha256(data).hexdigest() != info.sha256:
        raise ModelError(
            f"{onnx} is not the file that {JSON_FILE} describes (sha256 differs). Export or fetch it again."
        )
    if KEPT_ELSEWHERE.search(data):
        raise ModelError(
            f"{onnx} keeps weights in another file, not checked by the sha256. 'deblur import' takes them in."
        )
    return info


def is_whole(folder: Path) -> bool:
    """Whether :func:`whole_info` can read it."""
    try:
        whole_info(folder)
    except (ModelError, OSError):
        return False
    return True


def open_model(
    folder: Path,
    open_engine: OpenEngine = open_engine,
    tiling_of: Callable[[ModelInfo], Tiling] = lambda info: info.tiling,
) -> Model:
    """Check a model folder and open it.

    Args:
        folder: holds ``model.onnx`` and ``model.json``.
        open_engine: makes the engine from the path of ``model.onnx``; by default the one that suits the machine.
        tiling_of: chooses the tiling; by default the one that the model was validated with.

    Raises:
        ModelError: a file is missing or altered, or the model does not compute what it did at export.
    """
    info = whole_info(folder)
    onnx, tiling = folder / ONNX_FILE, tiling_of(info)
    engine = open_engine(onnx)
    try:
        _check_golden(info, engine, onnx)
    except ModelError as error:
        f32 = engine.in_f32() if isinstance(engine, Reduced) else None
        if f32 is None:
            raise
        _check_golden(info, f32, onnx)  # some processors' bf16 products are wrong
        logger.warning("%s Going on in f32, which is right here.", error)
        return Model(info, Restorer(f32, tiling), bf16_refused=True)
    return Model(info, Restorer(engine, tiling))


def _check_golden(info: ModelInfo, engine: Engine, onnx: Path) -> None:
    try:
        distance = info.golden.distance(engine)
    except ModelError:
        raise
    except Exception as error:  # the engine's own exceptions share no public base
        raise ModelError(f"{onnx} does not run on its golden input ({type(error).__name__}).") from error
    precision = precision_of(engine)
    if not distance <= (info.golden.tolerance_bf16 if precision == "bf16" else info.golden.tolerance):
        off = f"golden input off by {distance:.2g} in {precision}"
        raise ModelError(f"{onnx} computes something else than at export ({off}).")


def stamp_version(folder: Path, name: str, version: str, run_id: str | None) -> None:
    """Write what only the registry knows (name, version number, run) into a copy of a model folder."""
    write_info(folder, replace(read_info(folder), name=name, version=version, run_id=run_id))
