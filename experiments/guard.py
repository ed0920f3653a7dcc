"""Fit what the guard keeps of a change: the numbers between "fitted" and "end of fitted" in ``inference/guard.py``.

python -m experiments.guard PAIRS[:WEIGHT[:SHRINK]] ... --sharp FOLDER[:WEIGHT] ... prints them. Each picture is
restored once; of each cell the features are kept, and three sums that tell the error for any share that is kept. So a
picture's error is a function of the network's numbers, and PSNR itself is what is fitted.
"""

import argparse
from collections.abc import Iterator
from math import ceil

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from deblur.data.report_sets import open_report_sets
from deblur.images import Photo, Rgb8
from deblur.inference import guard
from deblur.inference.engine import Planes
from deblur.inference.locating import bundled_model
from deblur.inference.model_folder import Model, open_model
from deblur.inference.photo import restore_photo

HIDDEN, STEPS, SEED = 8, 500, 0
STRONG, WEAK, SHARP_DB = 8.0, 16.0, 48.0
"""What a decibel less than without the guard costs (strong blur), less than doing nothing (weak), wanted (sharp)."""
Cells = tuple[NDArray[np.float32], NDArray[np.float32]]


def planes_of(rgb: Rgb8) -> Planes:
    """``(3, H, W)`` in ``[0, 1]``."""
    return np.ascontiguousarray(rgb.transpose(2, 0, 1), np.float32) / np.float32(255)


def cells_of(blurry: Rgb8, restored: Rgb8, sharp: Rgb8) -> Cells:
    """Features ``(cells, 8)``, and ``(cells, 3)``: error of the input, its product with the change, the change; MSE."""
    before, after = planes_of(blurry), planes_of(restored)
    watching = guard.Guard(blurry)
    take = watching.before(lambda rows, planes: None)
    take(slice(0, len(blurry)), after.copy())
    change, wanted = 255 * (after - before), 255 * (planes_of(sharp) - before)
    sums = [
        _sums((a * b).mean(axis=0)) / blurry[..., 0].size for a, b in ((wanted,) * 2, (change, wanted), (change,) * 2)
    ]
    features = [guard.features(*watching.around(row))[0] for row in range(ceil(len(blurry) / guard.CELL_PX))]
    return np.concatenate(features), np.stack(sums, axis=-1).reshape(-1, 3).astype(np.float32)


def _sums(values: NDArray[np.float32]) -> NDArray[np.float32]:
    by_row = np.add.reduceat(values, np.arange(0, values.shape[0], guard.CELL_PX), axis=0)
    return np.add.reduceat(by_row, np.arange(0, values.shape[1], guard.CELL_PX), axis=1)


def read(model: Model, text: str, kind: str) -> Iterator[tuple[Cells, float, bool]]:
    """(cells, weight, whether it is a sharp photograph) of each picture of a source."""
    folder, weight, shrink = (*text.split(":"), "1", "1")[:3]
    (of,) = open_report_sets([kind + folder])
    for pair in of.pairs:
        blurry, sharp = (_shrunk(each, int(shrink)) for each in pair.load())
        restored, _ = restore_photo(model, Photo(blurry.copy()), guarded=False)
        yield cells_of(blurry, restored.rgb8, sharp), float(weight), of.sharp


def _shrunk(rgb: Rgb8, times: int) -> Rgb8:
    size = rgb.shape[1] // times, rgb.shape[0] // times
    return rgb if times == 1 else np.asarray(Image.fromarray(rgb).resize(size, Image.Resampling.BICUBIC))


def fit(pictures: list[tuple[Cells, float, bool]]) -> tuple[torch.nn.Linear, torch.nn.Linear]:
    """The two layers of a network on the features as they are; between them is tanh."""
    features = torch.from_numpy(np.concatenate([cells[0] for cells, _, _ in pictures])).float()
    wanted2, product, change2 = torch.from_numpy(np.concatenate([cells[1] for cells, _, _ in pictures])).T
    picture = torch.tensor(np.repeat(np.arange(len(pictures)), [len(cells[0]) for cells, _, _ in pictures]))
    weights, sharp = (torch.tensor([each[i] for each in pictures]) for i in (1, 2))

    def psnr_db(share: torch.Tensor) -> torch.Tensor:
        error = wanted2 - 2 * share * product + share**2 * change2
        mse = torch.zeros(len(pictures)).index_add(0, picture, error)
        return 10 * torch.log10(255**2 / (mse.clamp_min(0) + 0.3))

    before_db, off_db = psnr_db(torch.zeros(len(features))), psnr_db(torch.ones(len(features)))
    torch.manual_seed(SEED)
    first, last = torch.nn.Linear(8, HIDDEN), torch.nn.Linear(HIDDEN, 1)
    torch.nn.init.constant_(last.bias, 3.0)
    numbers = [*first.parameters(), *last.parameters()]
    mean, spread = features.mean(0), features.std(0)
    optimizer = torch.optim.Adam(numbers, 0.04)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    for _ in range(STEPS):
        on_db = psnr_db(torch.sigmoid(last(torch.tanh(first((features - mean) / spread)))[:, 0]))
        gain_db, best_db = on_db - before_db, torch.maximum(off_db, before_db)
        strong = STRONG * torch.relu(best_db - on_db) - 0.2 * gain_db
        weak = WEAK * torch.relu(-gain_db) - gain_db
        pairs = torch.where(before_db < 30, strong, weak)
        loss = (weights * torch.where(sharp, torch.relu(SHARP_DB - on_db), pairs)).sum() / weights.sum()
        loss = loss + 3e-5 * torch.stack([(each**2).sum() for each in numbers]).sum()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
    with torch.no_grad():
        first.weight /= spread
        first.bias.copy_(first.bias - first.weight @ mean)
    return first, last


def main() -> None:
    """Restore, fit, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pairs", nargs="+")
    parser.add_argument("--sharp", nargs="*", default=[])
    asked = parser.parse_args()
    folder = bundled_model()
    assert folder is not None
    model = open_model(folder)
    pictures = [each for text in asked.pairs for each in read(model, text, "")]
    pictures += [each for text in asked.sharp for each in read(model, text, "photos:")]
    first, last = fit(pictures)
    for name, values in (("HIDDEN", first.weight.T), ("HIDDEN_BIAS", first.bias), ("KEPT", last.weight[0])):
        print(name, "=", np.array2string(values.detach().numpy(), precision=3, separator=", "))
    print("KEPT_BIAS =", round(last.bias.item(), 3))


if __name__ == "__main__":
    main()
