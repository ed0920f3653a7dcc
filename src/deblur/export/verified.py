"""The one way from weights to a verified model folder: for a training, for ``register`` and for ``export``.

The network is exported as it was trained or frozen, whichever restores the validation images better; the written file
is opened again and scored as users get it; a file that scores otherwise than the network did is not to be used.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from deblur.data.pairs import fingerprint
from deblur.errors import RegistrationError, SettingError
from deblur.evaluation.scores import EvaluationSet, Scores
from deblur.export.onnx import export_model
from deblur.inference.model_folder import open_model, write_info
from deblur.inference.onnx_runtime import OnnxEngine
from deblur.inference.restorer import Restorer
from deblur.inference.tiling import Tiling
from deblur.models.engine import TorchEngine
from deblur.models.network import Network

VERIFY_TOLERANCE_DB = 0.02
OnWork = Callable[[str, int, int], None]
"""Told what takes time, in words, how many parts of it are done, none at first, and of how many."""
Freeze = Literal["off", "auto", "always"]
"""Whether a network's statistics are frozen: never, where the validation images come out better, or always."""


@dataclass(frozen=True)
class Exported:
    """The network in a written model folder, and its scores (None: there were no images to verify it on).

    ``trained`` are those in torch, where this call measured them: of the network as trained, or, where ``freeze`` is
    ``always``, of the frozen one.
    """

    network: Network
    scores: Scores | None = None
    trained: Scores | None = None

    @property
    def frozen(self) -> bool:
        """Whether it was exported with frozen statistics."""
        return bool(self.network.architecture.get("frozen", False))


def export_verified(
    network: Network,
    folder: Path,
    images: EvaluationSet,
    tiling: Tiling,
    *,
    name: str,
    run_id: str | None = None,
    half: bool = False,
    freeze: Freeze = "off",
    crops: Iterable[Tensor] = (),
    psnr_db: float | None = None,
    device: torch.device | str = "cpu",
    check: Callable[[], None] = lambda: None,
    on_line: Callable[[str], None] = lambda line: None,
    on_work: OnWork = lambda words, done, total: None,
) -> Exported:
    """Write ``network`` as a model folder and prove the file.

    Args:
        network: on the CPU.
        folder: where ``model.onnx`` and ``model.json`` go.
        images: the validation images; without any the folder is written and not verified.
        tiling: how they are cut, and how the model will cut photos.
        name: what the model is called.
        run_id: of the training, where a tracker knows it.
        half: keep the weights in float16.
        freeze: whether statistics are frozen; nothing happens to a network that has none.
        crops: what they are taken from: batches ``(B, 3, H, W)`` in ``[0, 1]``.
        psnr_db: what validation measured with the network, if it did; says nothing of one that is always frozen.
        device: where the network in torch is scored.
        check: called between tiles; an exception it raises stops the work.
        on_line: told what is done, and what was decided.
        on_work: told how many images are scored.

    Raises:
        SettingError: ``always``, and the network has no statistics.
        RegistrationError: the written file scores otherwise than the network did.
    """
    scores, on_images = None, f"on {len(images.pairs)} whole image{'s' * (len(images.pairs) != 1)}"

    def scored(each: Network) -> Scores:
        restorer = Restorer(TorchEngine(each, device), tiling)
        return images.score(lambda pixels: restorer(pixels, check=check), on_done=partial(on_work, "scoring"))

    if freeze == "always":
        if not network.can_freeze:
            raise SettingError("The network has no GroupNorm that could be frozen. Leave freeze out.")
        network, psnr_db = network.frozen_over(crops), None
    frozen = None
    if freeze == "auto" and network.can_freeze and images.pairs:
        on_line(f"trying GroupNorm frozen, {on_images}")
        frozen = network.frozen_over(crops)
    if images.pairs and psnr_db is None:
        on_line(f"scoring the network {on_images}")
        scores = scored(network)
        psnr_db = scores.mean("psnr_db")
    if frozen and psnr_db is not None:
        network, psnr_db = _better(network, psnr_db, frozen, scored, on_line)
    on_line("exporting")
    export_model(network, folder, name=name, tiling=tiling, run_id=run_id, half=half)
    if psnr_db is None:
        return Exported(network)
    on_line(f"verifying {on_images}")
    return Exported(network, verify_model(folder, images, psnr_db, check, on_work), scores)


def _better(
    network: Network,
    psnr_db: float,
    frozen: Network,
    scored: Callable[[Network], Scores],
    on_line: Callable[[str], None],
) -> tuple[Network, float]:
    """The frozen network where it scores better, else the network as trained; and its score in dB."""
    frozen_db = scored(frozen).mean("psnr_db")
    better = frozen_db > psnr_db
    told = f"GroupNorm frozen over training crops scores {frozen_db:.3f} dB, as trained {psnr_db:.3f} dB"
    on_line(f"{told}: exported {'frozen' if better else 'as trained'}")
    return (frozen, frozen_db) if better else (network, psnr_db)


def verify_model(
    folder: Path,
    images: EvaluationSet,
    trained_psnr_db: float | None,
    check: Callable[[], None] = lambda: None,
    on_work: OnWork = lambda words, done, total: None,
) -> Scores:
    """Open a written model folder, score it on whole images as the server would restore them, and record the scores:
    how sure the gain over the blurry input is, and on which images, too.

    Args:
        folder: from ``export_model``.
        images: the validation images.
        trained_psnr_db: what validation measured with the network in torch; None where there is no such network.
        check: called between tiles and inside them; an exception it raises stops the work.
        on_work: told how many images are scored.

    Raises:
        RegistrationError: the file's PSNR is more than 0.02 dB away from ``trained_psnr_db``.
    """
    model = open_model(folder, OnnxEngine)  # float32: it is the file that is verified, not a machine's bf16
    told = partial(on_work, "verifying")
    scores = images.score(lambda pixels: model.restorer(pixels, check=check), on_done=told, with_ms_ssim=True)
    psnr_db = scores.mean("psnr_db")
    if trained_psnr_db is not None and not abs(psnr_db - trained_psnr_db) <= VERIFY_TOLERANCE_DB:
        raise RegistrationError(
            f"The exported file scores {psnr_db:.3f} dB, validation measured {trained_psnr_db:.3f} dB: more than "
            f"{VERIFY_TOLERANCE_DB} dB apart. It is not to be used, and was not registered; the files are in {folder}."
        )
    info = replace(
        model.info,
        psnr_db=psnr_db,
        psnr_input_db=scores.mean("psnr_input_db"),
        gain_db=scores.gain_db,
        scored_on=fingerprint(images.pairs),
    )
    write_info(folder, info)
    return scores
