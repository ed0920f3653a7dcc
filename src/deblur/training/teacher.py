"""A teacher: a model whose answers the student is compared with, asked while the student trains, or beforehand."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from deblur.errors import SettingError
from deblur.export.inner import Inner
from deblur.files import sha256_of
from deblur.inference.engine import Tiles
from deblur.inference.engines import open_engine
from deblur.inference.locating import BUNDLED, bundled_folder
from deblur.inference.model_folder import JSON_FILE, ONNX_FILE, open_model, whole_info
from deblur.inference.restorer import Restorer
from deblur.inference.tiling import SizeRule, Tiling
from deblur.library import locate
from deblur.models.checkpoint import load_checkpoint, network_from, network_of, read_state
from deblur.models.engine import TorchEngine
from deblur.models.features import Watched, feature_channels
from deblur.models.network import OVERLAP_PX, TILE_PX, Network
from deblur.registry.record import RunRecord

Answers = Callable[[Tensor], tuple[Tensor, Tensor | None]]
"""``(B, 3, H, W)`` float32 in ``[0, 1]`` -> the teacher's answer, the same and clamped, and its features if known."""


@dataclass(frozen=True)
class Teacher:
    """A model that was named.

    Args:
        name: as it was named.
        sha256: of its file: a checkpoint, the newest state of a training, or ``model.onnx``.
        tiling: of whole pictures: what it was validated with, where that is known.
        network: where it is one of this program's; None: an engine runs the folder's ONNX file.
        folder: of a model folder.
        inner: of an imported network, the tensor of its features and their channels, if one was named.
    """

    name: str
    sha256: str
    tiling: Tiling
    network: Network | None
    folder: Path | None = None
    inner: tuple[str, int] | None = None

    @property
    def channels(self) -> int | None:
        """Of its features; None: it has none to show."""
        if self.network:
            return feature_channels(self.network)
        return self.inner[1] if self.inner else None

    def check_takes(self, largest_px: int) -> None:
        """Refuse to be asked about crops of up to ``largest_px`` a side where an engine takes no tiles of that size.

        Raises:
            SettingError: it is so.
        """
        rule = self.tiling.rule
        if not self.network and not rule.accepts(rule.fit(largest_px)):
            raise SettingError(
                f"The teacher {self.name} takes sides of {rule}, and crops have {largest_px} px. Lower patch_size, or "
                "let it answer beforehand, tile by tile: 'deblur teach'."
            )

    def answers(self, device: torch.device, dtype: torch.dtype | None) -> Answers:
        """To be asked about crops that it takes, on ``device`` if it runs in torch."""
        if self.network:
            return network_answers(self.network, device, dtype)
        if self.folder and self.inner:
            return engine_answers(Inner((self.folder / ONNX_FILE).read_bytes(), self.inner[0]), self.tiling.rule)
        engine = self.restorer(device).engine
        return engine_answers(lambda tiles: (engine(tiles),), self.tiling.rule)

    def restorer(self, device: torch.device) -> Restorer:
        """For whole pictures, in float32; on the CPU a model folder is run by the engine that suits the machine."""
        if self.folder and (self.network is None or device.type == "cpu"):
            return open_model(self.folder, lambda onnx: open_engine(onnx, precision="f32")).restorer
        assert self.network is not None
        return Restorer(TorchEngine(self.network, device), self.tiling)


def place_of(name: str) -> Path:
    """Where a model that was named lies: ``bundled``, ``models:/NAME@ALIAS``, or what is a path already."""
    return bundled_folder() if name == BUNDLED else locate(name)


def find_teacher(name: str) -> Teacher:
    """A model folder, ``models:/NAME@ALIAS``, ``bundled``, a training's folder, a checkpoint, or official weights.

    Raises:
        ModelError: it cannot be found or read.
    """
    path = place_of(name)
    if (path / JSON_FILE).is_file():
        info = whole_info(path)
        named = info.architecture
        inner = (named["features"], named["channels"]) if "features" in named else None
        return Teacher(name, info.sha256, info.tiling, network_from(path) if info.has_network else None, path, inner)
    if path.is_file():
        state, digest = load_checkpoint(path), sha256_of(path)
        network, recorded = network_of(state, name), state.get("settings", {})
    else:
        network, recorded = network_from(path), RunRecord(path).run["settings"]
        digest = hashlib.sha256(read_state(path).data).hexdigest()
    tiling = network.tiling(recorded.get("tile_size", TILE_PX), recorded.get("tile_overlap", OVERLAP_PX))
    return Teacher(name, digest, tiling, network)


def network_answers(network: Network, device: torch.device, dtype: torch.dtype | None) -> Answers:
    """A network answers on the student's device, in the student's precision; it is not trained."""
    network = network.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    network.eval().requires_grad_(False)
    watched = Watched(network)

    def answer(blurry: Tensor) -> tuple[Tensor, Tensor | None]:
        with torch.no_grad(), torch.autocast(blurry.device.type, dtype=dtype, enabled=dtype is not None):
            return network(blurry).float().clamp(0, 1), watched.features

    return answer


def engine_answers(ask: Callable[[Tiles], tuple[Tiles, ...]], rule: SizeRule) -> Answers:
    """An engine answers, crop by crop, perhaps with features; one that is smaller than its tiles is filled up."""

    def answer(blurry: Tensor) -> tuple[Tensor, Tensor | None]:
        sides = blurry.shape[2:]
        filled = [rule.fit(side) for side in sides]
        lacking = [(0, 0), (0, 0), *((0, whole - side) for whole, side in zip(filled, sides, strict=True))]
        crops = np.pad(blurry.cpu().numpy(), lacking, mode="reflect")
        restored, *features = zip(*(ask(crops[i : i + 1]) for i in range(len(crops))), strict=True)

        def own(parts: Sequence[Tiles]) -> Tensor:
            """What belongs to the crops, of pictures or of features, which are smaller."""
            whole = np.concatenate(parts)
            rows, columns = (ceil(whole.shape[2 + i] * sides[i] / filled[i]) for i in range(2))
            return torch.tensor(whole[..., :rows, :columns], device=blurry.device)

        return own(restored).clamp(0, 1), own(features[0]) if features else None

    return answer
