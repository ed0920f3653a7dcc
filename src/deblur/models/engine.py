"""The torch engine: validates a network while it trains, and restores on a GPU."""

import numpy as np
import torch

from deblur.inference.engine import Precision, Tiles, check_threads
from deblur.models.network import Network


class TorchEngine:
    """Runs a network in evaluation mode on its device; satisfies ``inference.engine.Engine``.

    Args:
        model: the network.
        device: where it runs.
        precision: bf16 computes under autocast; auto is bf16 on a GPU that has it, else f32.
        threads: threads of torch in this process; None leaves them.
    """

    def __init__(
        self,
        model: Network,
        device: torch.device | str = "cpu",
        precision: Precision = "f32",
        threads: int | None = None,
    ) -> None:
        self.device = torch.device(device)
        self.model = model.to(self.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        gpu_has_bf16 = self.device.type == "cuda" and torch.cuda.is_bf16_supported()
        bf16 = precision == "bf16" or (precision == "auto" and gpu_has_bf16)
        self.precision: Precision = "bf16" if bf16 else "f32"
        check_threads(threads)
        if threads:
            torch.set_num_threads(threads)

    def __call__(self, batch: Tiles, /) -> Tiles:
        was_training = self.model.training
        self.model.eval()
        bf16 = torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16")
        with torch.inference_mode(), bf16:
            restored = self.model(torch.from_numpy(batch).to(self.device)).float().cpu().numpy()
        self.model.train(was_training)
        return np.asarray(restored, dtype=np.float32)
