"""Checkpoints: whole files, proved by their sha256 before they are read, and read without pickled code.

A training state is two files, ``last.pth`` and ``last.json`` {file, sha256, epoch, step}; the one before it is kept as
``previous.pth`` and ``previous.json``. Writing ``last.json`` is the commit: until then the old state counts. A state is
whatever ``.pth`` has the sha256 that one of the two ``.json`` names, so it is found wherever a kill left the renames.
"""

import hashlib
import io
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from deblur.errors import ModelError
from deblur.files import replace, sha256_of, write_json, write_whole
from deblur.inference.model_folder import ONNX_FILE, whole_info
from deblur.models import build
from deblur.models.network import Network
from deblur.models.official import as_checkpoint, is_state_dict

LAST, PREVIOUS = "last.pth", "previous.pth"
LAST_JSON, PREVIOUS_JSON = "last.json", "previous.json"
PUBLISHED = {"name": "DeblurUNet", "width": 32, "residual": False}
"""The network of the published system, whose checkpoints carry no architecture."""


@dataclass(frozen=True)
class Best:
    """The best checkpoint so far."""

    file: str
    sha256: str
    epoch: int
    psnr_db: float


@dataclass(frozen=True)
class SavedState:
    """A training state as it was read: its bytes, what its ``.json`` says, and what was damaged."""

    data: bytes
    file: str
    epoch: int
    step: int
    best: dict[str, Any] | None
    damaged: list[str]


def best_name(epoch: int, psnr_db: float) -> str:
    """The published name of a best checkpoint."""
    return f"best_model_epoch_{epoch}_psnr_{psnr_db:.2f}.pth"


def save_checkpoint(path: Path, checkpoint: dict[str, Any]) -> str:
    """Write a checkpoint and return its sha256; a kill leaves the old file or the new one."""
    buffer = io.BytesIO()
    torch.save(checkpoint, buffer)
    write_whole(path, buffer.getbuffer())
    return hashlib.sha256(buffer.getbuffer()).hexdigest()


def save_state(folder: Path, state: dict[str, Any], best: Best | None = None) -> None:
    """Make ``state`` (with its ``epoch`` and ``step``) the newest in ``folder`` and keep the one before it.

    Raises:
        DiskFull: no room; the old state still counts.
    """
    part = folder / "next.pth"
    sha256 = save_checkpoint(part, state)
    for new, old in ((LAST, PREVIOUS), (LAST_JSON, PREVIOUS_JSON)):
        if (folder / new).exists():
            replace(folder / new, folder / old)
    replace(part, folder / LAST)
    commit = {"file": LAST, "sha256": sha256, "epoch": state["epoch"], "step": state["step"]}
    write_json(folder / LAST_JSON, commit | {"best": asdict(best) if best else None})


def has_state(folder: Path) -> bool:
    """Whether a training state was ever committed in ``folder``."""
    return (folder / LAST_JSON).exists() or (folder / PREVIOUS_JSON).exists()


def read_state(folder: Path) -> SavedState:
    """The newest whole training state in ``folder``.

    Raises:
        ModelError: none is whole; it names each file and what is wrong with it.
    """
    digests = {name: sha256_of(folder / name) for name in (LAST, PREVIOUS) if (folder / name).is_file()}
    damaged: list[str] = []
    for name in (LAST_JSON, PREVIOUS_JSON):
        try:
            entry = json.loads((folder / name).read_text(encoding="utf-8"))
            file = next((file for file, digest in digests.items() if digest == entry["sha256"]), None)
            if file:
                data = (folder / file).read_bytes()
                return SavedState(data, file, entry["epoch"], entry["step"], entry.get("best"), damaged)
            own = Path(name).with_suffix(".pth")  # what it names after the renames of a save
            damaged.append(f"{own} is not the file that {name} describes (sha256 differs, or it is missing)")
        except FileNotFoundError:
            continue
        except (OSError, ValueError, KeyError, TypeError) as error:
            damaged.append(f"{name} is broken ({type(error).__name__})")
    raise ModelError(f"{folder} holds no whole training state: {'; '.join(damaged) or 'nothing was saved yet'}.")


def recover_state(folder: Path) -> SavedState:
    """:func:`read_state`, and what was found becomes ``last.pth`` again: the next save must not push it out.

    Raises:
        ModelError: none is whole.
    """
    saved = read_state(folder)
    if saved.file != LAST or saved.damaged:
        entry = {"file": LAST, "sha256": hashlib.sha256(saved.data).hexdigest(), "epoch": saved.epoch}
        if saved.file != LAST:
            replace(folder / saved.file, folder / LAST)
        write_json(folder / LAST_JSON, entry | {"step": saved.step, "best": saved.best})
    return saved


def load_checkpoint(source: Path | bytes) -> dict[str, Any]:
    """Read a checkpoint onto the CPU; tensors and plain values only. Official weights become one.

    Args:
        source: a file, whose sha256 is checked where a ``last.json`` beside it records one, or a state's bytes.

    Raises:
        ModelError: missing, damaged, neither a checkpoint of this program nor official weights that are known.
    """
    name = "the training state" if isinstance(source, bytes) else str(source)
    try:
        data = source if isinstance(source, bytes) else source.read_bytes()
        if isinstance(source, Path) and _recorded_digest(source) not in (None, hashlib.sha256(data).hexdigest()):
            raise ModelError(f"{name} is damaged: its sha256 is not the one in {source.parent / LAST_JSON}.")
        state: dict[str, Any] = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except ModelError:
        raise
    except FileNotFoundError as error:
        raise ModelError(f"There is no checkpoint {name}.") from error
    except Exception as error:  # zip, pickle and storage errors share no base
        raise ModelError(f"{name} is not a readable checkpoint ({type(error).__name__}).") from error
    if isinstance(state, dict) and "params" in state:
        return as_checkpoint(state["params"])
    if not isinstance(state, dict) or "model_state_dict" not in state:
        raise ModelError(f"{name} is not a checkpoint: it has no model_state_dict.")
    for part in ("model_state_dict", "ema_state_dict"):
        if not is_state_dict(state.get(part, {})):
            raise ModelError(f"{name} is not a checkpoint of this program: its {part} is not tensors by name.")
    architecture = state.get("architecture", PUBLISHED)
    if not isinstance(architecture, Mapping) or not isinstance(architecture.get("name"), str):
        raise ModelError(
            f"{name} is not a checkpoint of this program: its architecture is {str(architecture)[:80]} and should be a "
            f"name with arguments, such as {PUBLISHED}."
        )
    return state


def network_of(state: dict[str, Any], source: str = "the checkpoint") -> Network:
    """The network of a loaded checkpoint; of a training state, the averaged weights, which are what is served."""
    network = build(state.get("architecture", PUBLISHED))
    return _filled(network, state.get("ema_state_dict") or state["model_state_dict"], source)


def network_from(path: Path) -> Network:
    """The network of a checkpoint file (also an official one of NAFNet or Restormer), of a training's output folder
    (its newest whole state), or of a model folder (whose ONNX file keeps every weight under its name).

    Raises:
        ModelError: nothing readable there, weights of another network or that are not numbers, or an imported
            ONNX file.
        SettingError: an architecture with arguments that the network refuses.
    """
    if path.is_dir() and has_state(path):
        return network_of(load_checkpoint(read_state(path).data), str(path))
    if path.is_dir():
        info = whole_info(path)
        if not info.has_network:
            raise ModelError(
                f"{path} was imported: it is an ONNX file that restores, without a network that can be trained, "
                "exported or run by torch. Name a checkpoint, or a model of this program."
            )
        return _filled(build(info.architecture), _weights_in(path / ONNX_FILE), str(path))
    return network_of(load_checkpoint(path), str(path))


def _recorded_digest(path: Path) -> str | None:
    """What ``last.json`` beside a checkpoint says of it."""
    try:
        entry = json.loads((path.parent / LAST_JSON).read_text(encoding="utf-8"))
        return next((e["sha256"] for e in (entry, entry["best"]) if e and e["file"] == path.name), None)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _weights_in(onnx_file: Path) -> dict[str, torch.Tensor]:
    import onnx
    from onnx import numpy_helper

    graph = onnx.load(onnx_file).graph
    return {tensor.name: torch.from_numpy(numpy_helper.to_array(tensor).copy()) for tensor in graph.initializer}


def _filled(network: Network, weights: dict[str, torch.Tensor], source: str) -> Network:
    own = network.state_dict()
    counters = {name: own[name] for name in own if name.endswith(".num_batches_tracked")}  # an ONNX file lacks them
    try:
        network.load_state_dict({name: (counters | weights)[name] for name in own})
    except (KeyError, RuntimeError) as error:
        raise ModelError(f"{source} holds the weights of another network ({error}).") from error
    for name, weight in network.state_dict().items():
        if not torch.isfinite(weight).all():
            raise ModelError(f"{source} holds weights that are not numbers ({name}). Name other ones.")
    return network
