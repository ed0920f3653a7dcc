"""A teacher: a model whose answers the student is compared with, asked while the student trains, or beforehand."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from deblur.errors import SettingError
from deblur.files import sha256_of
from deblur.inference.engine import Engine
from deblur.inference.engines import open_engine
from deblur.inference.model_folder import JSON_FILE, open_model, whole_info
from deblur.inference.restorer import Restorer
from deblur.inference.tiling import SizeRule, Tiling
from deblur.models.checkpoint import load_checkpoint, network_from, network_of, read_state
from deblur.models.engine import TorchEngine
from deblur.models.features import Watched
from deblur.models.network import Network
from deblur.registry.record import RunRecord

TILE_PX, OVERLAP_PX = 512, 32
Answers = Callable[[Tensor], tuple[Tensor, Tensor | None]]
"""``(B, 3, H, W)`` float32 in ``[0, 1]`` -> the teacher's answer, the same and clamped, and its features if known."""


@dataclass(frozen=True)
class Teacher:
    """A model that was named.

    Args:
        name: as it was named.
        sha256: of its file: a checkpoint, the newest state of a training, or ``model.onnx``.
        tiling: of whole pictures: what it was validated with, where that is known.
        network: it, where it is one of this program's; None: an engine runs the folder's ONNX file.
        folder: of a model folder.
    """

    name: str
    sha256: str
    tiling: Tiling
    network: Network | None
    folder: Path | None

    def answers(self, device: torch.device, dtype: torch.dtype | None, largest_px: int) -> Answers:
        """To be asked about crops of up to ``largest_px`` a side, on ``device`` if it runs in torch.

        Raises:
            SettingError: it takes no tiles of that size.
        """
        if self.network:
            return NetworkAnswers(self.network, device, dtype)
        assert self.folder is not None
        restorer = self._opened(self.folder)
        rule = restorer.tiling.rule
        if not rule.accepts(rule.fit(largest_px)):
            raise SettingError(
                f"The teacher {self.name} takes sides of {rule}, and crops have {largest_px} px. Lower patch_size, or "
                "let it answer beforehand, tile by tile: 'deblur teach'."
            )
        return EngineAnswers(restorer.engine, rule)

    def restorer(self, device: torch.device) -> Restorer:
        """For whole pictures, in float32, by its tiling.

        A model folder is run on the CPU by the engine that suits the machine.
        """
        if self.folder and (self.network is None or device.type == "cpu"):
            return self._opened(self.folder)
        assert self.network is not None
        return Restorer(TorchEngine(self.network, device), self.tiling)

    def _opened(self, folder: Path) -> Restorer:
        return open_model(folder, lambda onnx: open_engine(onnx, precision="f32")).restorer


def find_teacher(name: str) -> Teacher:
    """A model folder, ``models:/NAME@ALIAS``, a training's output folder, a checkpoint, or official weights.

    Raises:
        ModelError: it cannot be found or read.
    """
    path = Path(name)
    if name.startswith("models:/"):
        from deblur.registry.versions import fetch

        path = fetch(name)
    if (path / JSON_FILE).is_file():
        info = whole_info(path)
        return Teacher(name, info.sha256, info.tiling, None if info.origin else network_from(path), path)
    if path.is_file():
        state, digest = load_checkpoint(path), sha256_of(path)
        network, recorded = network_of(state), state.get("settings", {})
    else:
        network, record = network_from(path), RunRecord(path)
        recorded, digest = record.run["settings"], hashlib.sha256(read_state(path).data).hexdigest()
    return Teacher(name, digest, _tiling(network, recorded), network, None)


def _tiling(network: Network, recorded: Mapping[str, Any]) -> Tiling:
    """What a run recorded, else the usual tiles; with a halo, the overlap that makes them exact."""
    halo_px, tile_px = network.halo_px, recorded.get("tile_size", TILE_PX)
    if not halo_px:
        return Tiling(tile_px, recorded.get("tile_overlap", OVERLAP_PX), network.size_rule)
    return Tiling(network.size_rule.fit(max(tile_px, 4 * halo_px)), 2 * halo_px, network.size_rule, halo_px)


class NetworkAnswers:
    """A network answers on the student's device, in the student's precision."""

    def __init__(self, network: Network, device: torch.device, dtype: torch.dtype | None) -> None:
        self.network = network.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.network.eval().requires_grad_(False)
        self.dtype, self.watched = dtype, Watched(network)

    def __call__(self, blurry: Tensor) -> tuple[Tensor, Tensor | None]:
        with torch.no_grad(), torch.autocast(blurry.device.type, dtype=self.dtype, enabled=self.dtype is not None):
            answer = self.network(blurry)
        return answer.float().clamp(0, 1), self.watched.features


class EngineAnswers:
    """An engine answers, crop by crop; one that is smaller than its tiles is filled up by reflection."""

    def __init__(self, engine: Engine, rule: SizeRule) -> None:
        self.engine, self.rule = engine, rule

    def __call__(self, blurry: Tensor) -> tuple[Tensor, Tensor | None]:
        crops = blurry.cpu().numpy()
        lacking = [(0, self.rule.fit(side) - side) for side in crops.shape[2:]]
        padded = np.pad(crops, [(0, 0), (0, 0), *lacking], mode="reflect")
        height, width = crops.shape[2:]
        answers = np.concatenate([self.engine(padded[i : i + 1]) for i in range(len(padded))])
        answer = torch.from_numpy(np.ascontiguousarray(answers[..., :height, :width])).clamp(0, 1)
        return answer.to(blurry.device), None
