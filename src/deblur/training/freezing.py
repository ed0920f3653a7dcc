"""A trained network is exported as it is, or with GroupNorm's statistics frozen: whichever scores better."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from deblur.data.batches import collate, pairs_on
from deblur.data.crops import Key
from deblur.inference.restorer import Restorer
from deblur.inference.tiling import Tiling
from deblur.models.engine import TorchEngine
from deblur.models.freezing import freeze
from deblur.models.network import Network
from deblur.models.unet import DeblurUNet
from deblur.training.data import Data

BATCHES, BATCH = 16, 8
"""Twice as many crops changed the PSNR by less than 0.001 dB (residual) to 0.12 dB (plain, hardly trained)."""


def frozen_if_better(
    network: Network,
    psnr_db: float,
    data: Data,
    strength: float,
    tiling: Tiling,
    device: torch.device,
    check: Callable[[], None],
    on_line: Callable[[str], None],
) -> tuple[Network, float]:
    """The network with frozen statistics where that scores better, else as it is; and its score in dB.

    Args:
        network: on the CPU; one without GroupNorm stays as it is.
        psnr_db: its score on the benchmark.
        data: its first training crops give the statistics, its benchmark the scores.
        strength: of the crops' synthetic blur, 0 to 1.
        tiling: how images are cut.
        device: where the benchmark is restored.
        check: called between batches and tiles; an exception it raises stops the work.
        on_line: told what came out.
    """
    if not isinstance(network, DeblurUNet) or network.frozen:
        return network, psnr_db
    frozen = freeze(network, first_crops(data.train, strength, check))
    restorer = Restorer(TorchEngine(frozen, device), tiling)
    frozen_db = data.benchmark.score(lambda pixels: restorer(pixels, check=check)).mean("psnr_db")
    better = frozen_db > psnr_db
    told = f"GroupNorm frozen over training crops scores {frozen_db:.3f} dB, as trained {psnr_db:.3f} dB"
    on_line(f"{told}: exported {'frozen' if better else 'as trained'}")
    return (frozen, frozen_db) if better else (network, psnr_db)


def first_crops(samples: Dataset[Any], strength: float, check: Callable[[], None] = lambda: None) -> Iterator[Tensor]:
    """The blurry sides of a training set's first samples: batches ``(8, 3, H, W)`` in ``[0, 1]``, on the CPU."""
    for first in range(0, BATCHES * BATCH, BATCH):
        check()
        batch = collate([samples[Key(first + i, strength)] for i in range(BATCH)])
        yield pairs_on(batch, torch.device("cpu"))[0]
