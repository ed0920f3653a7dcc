"""Presets: settings by name that go well together, a row each. What a row leaves out is as published.

All keep the spine: a U-Net, MS-SSIM + Charbonnier, clipped gradients, the checkpoint with the best PSNR.
"""

from typing import Any

PRESETS: dict[str, dict[str, Any]] = {
    "published": {},
    "residual": {"residual": True},
    "small": {
        "residual": True,
        "width": 16,
        "patch_size": 128,
        "tile_size": 256,
        "batch_size": 8,
        "learning_rate": 4e-3,
    },
    "fast": {"network": "FastUNet", "tile_size": 1024, "batch_size": 8, "learning_rate": 1e-3},
}
