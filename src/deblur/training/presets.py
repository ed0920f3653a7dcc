"""Presets: settings by name that go well together, a row each. What a row leaves out is as in the first.

The first four are the spine: a U-Net, MS-SSIM + Charbonnier, clipped gradients, the checkpoint with the best PSNR. The
others are published systems (documentation/systems): a network, an objective, a source and a schedule each. Then come
the best of what was compared part by part (documentation/systems/ablations.md), and the best recipe that was found for
going on from the weights that come with the package (documentation/training-log.md).
"""

from typing import Any

SMALL: dict[str, Any] = {
    "residual": True,
    "width": 16,
    "patch_size": 128,
    "tile_size": 256,
    "batch_size": 8,
    "learning_rate": 4e-3,
}

NAFNET: dict[str, Any] = {
    "network": "NAFNet",
    "loss": ("charbonnier=1",),
    "batch_size": 32,
    "epoch_images": 32_000,  # 200 epochs are the 200,000 steps of the official GoPro options
    "learning_rate": 1e-3,
    "weight_decay": 0.0,
    "patience": 200,
}

PRESETS: dict[str, dict[str, Any]] = {
    "published": {},
    "residual": {"residual": True},
    "small": SMALL,
    "fast": {"network": "FastUNet", "tile_size": 1024, "batch_size": 8, "learning_rate": 1e-3},
    "nafnet": NAFNET,
    "nafnet-small": NAFNET | {"width": 16},
    "ecanet-kd": {
        "network": "EcaUNet",
        "loss": ("l1=0.3", "teacher:l1=0.7"),
        "blur": "motion-jpeg",
        "batch_size": 16,
        "num_epochs": 100,
        "learning_rate": 1e-3,
        "schedule": "restarts",
    },
    "senet-kd": {
        "network": "SeUNet",
        "loss": ("l1=1", "teacher:l1=0.5", "teacher:features=0.1", "ssim=0.2"),
        "batch_size": 16,
        "accumulate": 2,
        "optimizer": "adam",
        "learning_rate": 1e-3,
        "schedule": "restarts",
        "eval_every": 5,
    },
    "msafn": {
        "network": "Msafn",
        "loss": ("l1=1", "ssim=0.2"),
        "batch_size": 8,
        "learning_rate": 1e-3,
        "schedule": "onecycle",
    },
    "light-msafn": {
        "network": "LightMsafn",
        "loss": ("l1=0.5", "teacher:l2=0.5", "teacher:features=0.1"),
        "teacher_decay": "cosine",
        "batch_size": 16,
        "learning_rate": 1e-3,
        "schedule": "onecycle",
        "centralise": True,
    },
    "nafnet-leaves": {
        "network": "NAFNet",
        "width": 16,
        "train_data": ("leaves",),
        "loss": ("charbonnier=1",),
        "batch_size": 16,
        "learning_rate": 1e-3,
        "weight_decay": 0.0,
    },
    "stacked-leaves": {
        "network": "StackedConv",
        "train_data": ("leaves",),
        "loss": ("l2=1",),
        "batch_size": 16,
        "learning_rate": 1e-3,
    },
    "best-recipe": SMALL | {"loss": ("charbonnier=1", "edge=0.05"), "learning_rate": 2e-3},
    "weights": {
        "network": "FastUNet",
        "tile_size": 1024,
        "severity": 0.6,
        "milder": 0.8,
        "noise": 0.5,
        "loss": ("charbonnier=1", "fft=0.05", "ms-ssim=0.1"),
        "patch_size": 192,
        "batch_size": 16,
        "epoch_images": 4000,
        "optimizer": "muon",
        "learning_rate": 5e-4,
        "patience": 1000,
    },
}
