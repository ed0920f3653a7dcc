"""The torch engine: validates a network while it trains, and restores on a GPU."""

import numpy as np
import torch

from deblur.inference.engine import Batch
from deblur.models.unet import DeblurUNet


class TorchEngine:
    """Runs a network in evaluation mode on its device; satisfies ``inference.engine.Engine``."""

    def __init__(self, model: DeblurUNet, device: torch.device | str = "cpu") -> None:
        self.model, self.device = model.to(device), torch.device(device)

    def __call__(self, batch: Batch, /) -> Batch:
        was_training = self.model.training
        self.model.eval()
        with torch.inference_mode():
            restored = self.model(torch.from_numpy(batch).to(self.device)).float().cpu().numpy()
        self.model.train(was_training)
        return np.asarray(restored, dtype=np.float32)
