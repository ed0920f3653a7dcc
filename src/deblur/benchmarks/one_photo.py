"""The ways to restore a photo that are compared, and one photo by one of them in a process of its own.

``python -m deblur.benchmarks.one_photo WAY MODEL_FOLDER PHOTO STARTED`` prints how long it took and the peak memory:
of this way alone, because nothing is imported that it does not need.
"""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np

from deblur.errors import SettingError
from deblur.evaluation.footprint import peak_mb
from deblur.images import Photo, Rgb8, from_rgb8, read, to_rgb8, write
from deblur.inference.engine import Precision, Tiles
from deblur.inference.engines import EngineName, open_engine
from deblur.inference.model_folder import open_model
from deblur.inference.photo import restore_photo
from deblur.inference.restorer import Restorer
from deblur.inference.tiling import Tiling

Restore = Callable[[Rgb8], None]
"""Restores pixels in place."""

TILE_PX, OVERLAP_PX = 512, 64


def ours(engine: EngineName, precision: Precision) -> Callable[[Path], Restore]:
    """Fitted tiles on an engine of the deployed part, without the guard, which the other ways have not."""

    def opened(folder: Path) -> Restore:
        model = open_model(folder, lambda onnx: open_engine(onnx, engine, precision))

        def restore(rgb: Rgb8) -> None:
            restore_photo(model, Photo(rgb), guarded=False)

        return restore

    return opened


def ours_in_torch(fitted: bool) -> Callable[[Path], Restore]:
    """The torch engine, on fitted tiles or on the published squares."""

    def opened(folder: Path) -> Restore:
        from deblur.models.checkpoint import network_from
        from deblur.models.engine import TorchEngine

        network = network_from(folder)
        tiling = Tiling(TILE_PX, OVERLAP_PX, network.size_rule, fitted=fitted)
        restorer = Restorer(TorchEngine(network), tiling)

        def restore(rgb: Rgb8) -> None:
            restorer.in_place(rgb)

        return restore

    return opened


def published_loop(folder: Path) -> Restore:
    """The loop as published: 512 px tiles every 448 px, what is left at the ends padded to 16, weights divided out."""
    from deblur.models.checkpoint import network_from

    network = network_from(folder).eval()

    def restore(rgb: Rgb8) -> None:
        import torch

        pixels = from_rgb8(rgb)
        height, width = rgb.shape[:2]
        total, weights = np.zeros_like(pixels), np.zeros((height, width, 1), np.float32)
        step_px = TILE_PX - OVERLAP_PX
        for top in range(0, height, step_px):
            for left in range(0, width, step_px):
                tile = pixels[top : top + TILE_PX, left : left + TILE_PX]
                h, w = tile.shape[:2]
                padded = np.pad(tile, ((0, -h % 16), (0, -w % 16), (0, 0)), mode="reflect")
                with torch.inference_mode():
                    answer = network(torch.from_numpy(padded.transpose(2, 0, 1)[None].copy()))[0, :, :h, :w]
                weight = (_ramp(h)[:, None] * _ramp(w))[..., None]
                total[top : top + h, left : left + w] += answer.numpy().transpose(1, 2, 0) * weight
                weights[top : top + h, left : left + w] += weight
        rgb[:] = to_rgb8(total / weights)

    return restore


def monai(folder: Path) -> Restore:
    """MONAI's sliding_window_inference in torch float32: 512 px, 12.5 % overlap, gaussian weights."""
    try:
        from monai.inferers import sliding_window_inference
    except ImportError as error:
        raise SettingError(
            "MONAI is not installed, and only this comparison wants it: pip install --no-deps monai"
        ) from error
    from deblur.models.checkpoint import network_from

    network = network_from(folder).eval()

    def restore(rgb: Rgb8) -> None:
        import torch

        batch = torch.from_numpy(from_rgb8(rgb).transpose(2, 0, 1)[None].copy())
        with torch.inference_mode():
            answer = sliding_window_inference(batch, TILE_PX, 1, network, overlap=0.125, mode="gaussian")
        rgb[:] = to_rgb8(answer[0].numpy().transpose(1, 2, 0))

    return restore


WAYS: dict[str, Callable[[Path], Restore]] = {
    "published loop, torch f32": published_loop,
    "MONAI sliding window, torch f32": monai,
    "ours, torch f32, published tiles": ours_in_torch(fitted=False),
    "ours, torch f32": ours_in_torch(fitted=True),
    "ours, ONNX Runtime f32": ours("onnxruntime", "f32"),
    "ours, OpenVINO f32": ours("openvino", "f32"),
    "ours, OpenVINO bf16": ours("openvino", "bf16"),
    "ours": ours("auto", "auto"),
}


def measure(way: str, folder: Path, photo_file: Path, started_s: float) -> dict[str, Any]:
    """One photo from file to file: seconds since ``started_s`` (epoch time), of the stages, and peak memory."""
    restore = WAYS[way](folder)
    times = [time.perf_counter()]
    photo = read(photo_file)
    times.append(time.perf_counter())
    restore(cast(Rgb8, photo.rgb))  # ours takes 16 bits, too
    times.append(time.perf_counter())
    with photo_file.with_suffix(".restored").open("wb") as stream:
        write(photo, stream)
    times.append(time.perf_counter())
    stages = dict(zip(("decode_s", "restore_s", "encode_s"), np.diff(times).tolist(), strict=True))
    return {"answered_s": time.time() - started_s, "peak_mb": peak_mb(), **stages}


def _ramp(length_px: int) -> Tiles:
    """Weights along an axis that fall off linearly over the overlap at both ends, and nowhere to 0."""
    to_end = np.minimum(np.arange(length_px), np.arange(length_px)[::-1]) + 1
    return np.minimum(to_end / OVERLAP_PX, 1.0).astype(np.float32)


if __name__ == "__main__":
    way, folder, photo_file, started_s = sys.argv[1:]
    print(json.dumps(measure(way, Path(folder), Path(photo_file), float(started_s))))
