"""Fit what the guard keeps of a change, and count what it catches of broken models.

python -m experiments.guard fit PAIRS[:WEIGHT[:SHRINK]] ... --sharp FOLDER ... --models FOLDER ... prints the numbers
between "fitted" and "end of fitted" in ``inference/guard.py``. Each model restores each picture once; of each cell the
features are kept, and three sums that tell the error for any share that is kept. So a picture's error is a function of
the numbers, and PSNR itself is what is fitted. Mutants of the first model have a say, lest one network be learned.

python -m experiments.guard mutants PAIRS ... counts the results of mutants that lose more than 3 dB to doing nothing.

python -m experiments.guard time PAIRS ... restores the first pair with and without it by turns.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from math import ceil
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import numpy_helper
from PIL import Image

from deblur.data.pairs import evenly_chosen
from deblur.data.photos import SharpPhoto, shaken
from deblur.data.report_sets import PhotoPair, open_report_sets
from deblur.evaluation.alignment import align
from deblur.evaluation.ways import KeepingBoth
from deblur.images import Photo, Rgb8, centre_crop, planes_of
from deblur.inference import guard
from deblur.inference.engine import Planes
from deblur.inference.locating import bundled_folder
from deblur.inference.model_folder import ONNX_FILE, open_model, read_info
from deblur.inference.onnx_runtime import OnnxEngine
from deblur.inference.photo import restore_photo
from deblur.inference.restorer import Restorer
from deblur.metrics import psnr_db

HIDDEN, STEPS, SEED = 3, 400, 0
STRONG, WEAK, SHARP_DB = 16.0, 16.0, 48.0
"""What a decibel less than without the guard costs (strong blur), less than doing nothing (weak), wanted (sharp)."""
OF_MUTANTS, LATER_MODELS, CLEAN = 0.1, 0.3, 4.0
"""Weights of results of mutants and of later models, and of pairs that are blurred without noise."""
OF_A_SOURCE, OF_A_SET, SIDE_PX, LARGE_PX, MARGIN_PX = 80, 3, 256, 512, 8
MUTANTS, LOST_DB = 104, 3.0
Pair = tuple[Rgb8, Rgb8]
Kind = Literal["pair", "sharp", "mutant"]


class Cells(NamedTuple):
    """Of one result, features ``(cells, 8)`` and ``(cells, 3)``: error of the input, its product with the change, the
    change; in MSE of the picture.
    """

    features: NDArray[np.float32]
    sums: NDArray[np.float32]
    weight: float
    kind: Kind


def seen(restorer: Restorer, blurry: Rgb8) -> tuple[Rgb8, KeepingBoth]:
    """A picture restored as users get it, and the guard that saw it."""
    guarded = blurry.copy()
    both = KeepingBoth(guarded)
    restorer.in_place(guarded, guard=both)
    return guarded, both


def cells_of(restorer: Restorer, pair: Pair, weight: float, kind: Kind) -> Cells:
    """Restore a picture. Nothing is to be had where the change is broken."""
    _, both = seen(restorer, pair[0])
    before, sharp, after = (each.transpose(2, 0, 1).astype(np.float32) for each in (*pair, both.unguarded))
    wanted, change = sharp - before, after - before
    sums = [_sums((a * b).mean(axis=0)) / before[0].size for a, b in ((wanted,) * 2, (change, wanted), (change,) * 2)]
    by_cell = np.stack(sums, axis=-1).reshape(-1, 3)
    found, above = both.features_of(slice(0, ceil(before.shape[1] / guard.CELL_PX)))
    by_cell[above.reshape(-1) > 0, 1:] = 0
    return Cells(found.reshape(len(by_cell), -1).astype(np.float32), by_cell, weight, kind)


def _sums(values: NDArray[np.float32]) -> NDArray[np.float32]:
    by_row = np.add.reduceat(values, np.arange(0, values.shape[0], guard.CELL_PX), axis=0)
    return np.add.reduceat(by_row, np.arange(0, values.shape[1], guard.CELL_PX), axis=1)


def mutants(folder: Path, count: int, seed: int) -> Iterator[Restorer]:
    """Models with mutated weights, as no one opens them: they fail their golden input."""
    whole = onnx.load(folder / ONNX_FILE).SerializeToString()
    for number in range(count):
        model = onnx.load_from_string(whole)
        tensors = [each for each in model.graph.initializer if each.data_type == onnx.TensorProto.FLOAT16]
        weights = [numpy_helper.to_array(each).copy() for each in tensors]
        _mutate(weights, np.random.default_rng((seed, number)))
        for tensor, values in zip(tensors, weights, strict=True):
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
        with tempfile.TemporaryDirectory() as place:
            onnx.save(model, Path(place) / ONNX_FILE)
            engine = OnnxEngine(Path(place) / ONNX_FILE, 1)
        yield Restorer(engine, read_info(folder).tiling)


def _mutate(weights: list[NDArray[np.float16]], rng: np.random.Generator) -> None:
    """Flip bits anywhere; or of one layer scale, shuffle, or blur by noise the weights, change channels or biases."""
    wrong = rng.choice(["bits", "scale", "shuffle", "noise", "channels", "bias"])
    if wrong == "bits":
        for _ in range(rng.choice([1, 10, 100, 1000])):
            tensor = weights[
                rng.choice(len(weights), p=np.array([w.size for w in weights]) / sum(w.size for w in weights))
            ]
            tensor.reshape(-1).view(np.uint16)[rng.integers(tensor.size)] ^= np.uint16(1 << rng.integers(16))
        return
    tensor = weights[rng.choice([i for i, each in enumerate(weights) if (each.ndim == 1) == (wrong == "bias")])]
    if wrong == "scale":
        tensor *= np.float16(rng.choice([-1, 0, 0.5, 0.75, 1.33, 2, 4]))
    elif wrong == "shuffle":
        tensor[...] = rng.permutation(tensor.ravel()).reshape(tensor.shape)
    elif wrong == "noise":
        tensor += (rng.choice([0.1, 0.3, 1, 3]) * tensor.std() * rng.normal(size=tensor.shape)).astype(np.float16)
    elif wrong == "channels":
        tensor[rng.random(len(tensor)) < rng.choice([0.05, 0.3])] *= np.float16(rng.choice([0, -1, 5]))
    else:
        tensor += (rng.choice([0.1, 0.5, 2]) * rng.choice([-1, 1], tensor.shape)).astype(np.float16)


def count_caught(sets: Sequence[str], seed: int) -> None:
    """Print how many results of mutants lose more than 3 dB, and what is left of that with the guard."""
    pairs = [pair.load() for each in open_report_sets(sets) for pair in evenly_chosen(each.pairs, OF_A_SET)]
    crops = [(centre_crop(blurry, SIDE_PX), centre_crop(sharp, SIDE_PX)) for blurry, sharp in pairs]
    lost, golden = [], read_info(bundled_folder()).golden
    for restorer in mutants(bundled_folder(), MUTANTS, seed):
        opened = golden.distance(restorer.engine) <= golden.tolerance_bf16  # the widest that a model is opened with
        for blurry, sharp in crops:
            guarded, both = seen(restorer, blurry)
            gains = [psnr_db(each, sharp) - psnr_db(blurry, sharp) for each in (both.unguarded, guarded)]
            lost.append([*gains, both.replaced > 0, opened])
    losing = np.array([each for each in lost if each[0] < -LOST_DB])
    without, guarded_db, replaced, served = losing.T
    print(
        f"{len(lost)} results; {len(losing)} lose more than {LOST_DB:g} dB: {without.mean():.1f} dB on average without "
        f"the guard, {guarded_db.mean():.2f} with it. Cells replaced in {replaced.sum():.0f}; "
        f"{(guarded_db >= -LOST_DB).sum()} lose {LOST_DB:g} dB or less, {(guarded_db >= -1).sum()} lose 1 dB or less.\n"
        f"Mutants that fail their golden input are not opened; of the others come {sum(each[3] for each in lost)} "
        f"results, {served.sum():.0f} of the {len(losing)}, and with the guard "
        f"{(served.astype(bool) & (guarded_db < -LOST_DB)).sum()} lose more than {LOST_DB:g} dB."
    )


def measure_time(sets: Sequence[str], turns: int = 23) -> None:
    """Print the processor time of a photo with the guard and without, and what estimating its blur alone takes."""
    model, first = open_model(bundled_folder()), open_report_sets(sets)[0].pairs[0].load()[0]
    for height, width in ((512, 512), (1080, 1920)):
        rgb = np.asarray(Image.fromarray(first).resize((width, height)))
        cells = planes_of(rgb)[:, : height // guard.CELL_PX * guard.CELL_PX].reshape(3, -1, guard.CELL_PX, width)
        at_once = guard.rows_at_once(width)

        def estimate(cells: Planes = cells, at_once: int = at_once) -> None:
            for row in range(0, cells.shape[1], at_once):
                found = guard.blur_statistics(cells[:, row : row + at_once])
                nothing = np.zeros((guard.CHANGE, *found.shape[1:]), np.float32)
                area_px = np.full_like(found[0], guard.CELL_PX**2)
                guard.kept_shares(guard.features(np.concatenate([found, nothing]), area_px)[0])

        def restore(*, guarded: bool, rgb: Rgb8 = rgb) -> None:
            restore_photo(model, Photo(rgb.copy()), guarded=guarded)

        ways: list[Callable[[], None]] = [partial(restore, guarded=False), partial(restore, guarded=True), estimate]
        taken = np.array([[_cpu_s(way) for way in ways] for _ in range(turns)])
        off, on, alone = np.median(taken, axis=0) * 1e3
        print(
            f"{width}x{height}: {off:.1f} ms without, {on:.1f} with the guard ({on / off - 1:+.1%}); "
            f"estimating the blur {alone:.2f} ms ({alone / off:.1%})"
        )


def _cpu_s(way: Callable[[], None]) -> float:
    started = time.process_time()
    way()
    return time.process_time() - started


def read(folders: Sequence[str], sharp: Sequence[str]) -> Iterator[tuple[Pair, float, Kind]]:
    """Pairs as they are or scaled down; sharp photographs, and others shaken."""
    for text in folders:
        folder, weight, shrink = (*text.split(":"), "1", "1")[:3]
        for pair in evenly_chosen(open_report_sets([folder])[0].pairs, OF_A_SOURCE):
            blurry, wanted = (centre_crop(_shrunk(each, int(shrink)), LARGE_PX) for each in pair.load())
            yield (blurry, wanted), float(weight), "pair"
    for folder in sharp:
        photos = [each for each in open_report_sets([f"photos:{folder}"])[0].pairs if isinstance(each, PhotoPair)]
        for pair in evenly_chosen(photos, OF_A_SOURCE):
            yield replace(pair, side_px=LARGE_PX).load(), 1.0, "sharp"
        for number, pair in enumerate(evenly_chosen(photos[1:], OF_A_SOURCE)):
            yield _shaken(pair, np.random.default_rng((SEED, number))), CLEAN, "pair"


def _shaken(photo: PhotoPair, rng: np.random.Generator) -> Pair:
    """Blurred without noise; the sharp one is moved by whole pixels to where the blurry one lies."""
    crop = centre_crop(photo.load()[1], SIDE_PX + 2 * MARGIN_PX)
    pair = shaken(SharpPhoto(photo.name, crop), rng, rng.uniform(3, 12))
    moved = align(pair.blurry, pair.sharp)
    sharp = np.roll(pair.sharp, (-round(moved.dy_px), -round(moved.dx_px)), axis=(0, 1))
    inner = slice(MARGIN_PX, -MARGIN_PX)
    return pair.blurry[inner, inner].copy(), sharp[inner, inner].copy()


def _shrunk(rgb: Rgb8, times: int) -> Rgb8:
    size = rgb.shape[1] // times, rgb.shape[0] // times
    return rgb if times == 1 else np.asarray(Image.fromarray(rgb).resize(size, Image.Resampling.BICUBIC))


def gather(folders: Sequence[str], sharp: Sequence[str], models: Sequence[Path]) -> Iterator[Cells]:
    """All that the fit rests on."""
    pairs = []
    restorers = [open_model(folder).restorer for folder in models]
    for pair, weight, kind in read(folders, sharp):
        for restorer, of_model in zip(restorers, [1.0] + [LATER_MODELS] * len(models), strict=False):
            yield cells_of(restorer, pair, weight * of_model, kind)
        if kind == "pair":
            pairs.append((centre_crop(pair[0], SIDE_PX), centre_crop(pair[1], SIDE_PX)))
    rng = np.random.default_rng(SEED)
    for restorer in mutants(models[0], MUTANTS, SEED + 1):
        for i in rng.choice(len(pairs), 6, replace=False):
            yield cells_of(restorer, pairs[i], OF_MUTANTS, "mutant")


def fit(pictures: list[Cells]) -> tuple[torch.nn.Linear, torch.nn.Linear]:
    """The two layers of a network on the features as they are; between them is tanh."""
    features = torch.from_numpy(np.concatenate([each.features for each in pictures]))
    wanted2, product, change2 = torch.from_numpy(np.concatenate([each.sums for each in pictures])).T
    picture = torch.tensor(np.repeat(np.arange(len(pictures)), [len(each.sums) for each in pictures]))
    weights = torch.tensor([each.weight for each in pictures])
    sharp, mutant = (torch.tensor([each.kind == kind for each in pictures]) for kind in ("sharp", "mutant"))

    def psnr(share: torch.Tensor) -> torch.Tensor:
        error = wanted2 - 2 * share * product + share**2 * change2
        mse = torch.zeros(len(pictures)).index_add(0, picture, error)
        return 10 * torch.log10(255**2 / (mse.clamp_min(0) + 0.3))

    before_db, off_db = psnr(torch.zeros(len(features))), psnr(torch.ones(len(features)))
    torch.manual_seed(SEED)
    first, last = torch.nn.Linear(8, HIDDEN), torch.nn.Linear(HIDDEN, 1)
    torch.nn.init.constant_(last.bias, 2.0)
    numbers = [*first.parameters(), *last.parameters()]
    mean, spread = features.mean(0), features.std(0)
    optimizer = torch.optim.Adam(numbers, 0.05)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    for _ in range(STEPS):
        on_db = psnr(torch.sigmoid(last(torch.tanh(first((features - mean) / spread)))[:, 0]))
        gain_db, missed_db = on_db - before_db, torch.relu(torch.maximum(off_db, before_db) - on_db)
        pairs = torch.where(before_db < 30, STRONG * missed_db - 0.2 * gain_db, WEAK * torch.relu(-gain_db) - gain_db)
        each = torch.where(sharp, torch.relu(SHARP_DB - on_db), torch.where(mutant, 4 * torch.relu(-gain_db), pairs))
        loss = (weights * each).sum() / weights.sum() + 3e-5 * torch.stack([(n**2).sum() for n in numbers]).sum()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
    with torch.no_grad():
        first.weight /= spread
        first.bias.copy_(first.bias - first.weight @ mean)
    return first, last


def main() -> None:
    """Restore, fit, print; or restore, count, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", choices=["fit", "mutants", "time"])
    parser.add_argument("pairs", nargs="+")
    parser.add_argument("--sharp", nargs="*", default=[])
    parser.add_argument("--models", nargs="*", type=Path, default=[bundled_folder()])
    parser.add_argument("--seed", type=int, default=SEED)
    asked = parser.parse_args()
    if asked.task == "mutants":
        count_caught(asked.pairs, asked.seed)
    elif asked.task == "time":
        measure_time(asked.pairs)
    else:
        print_fit(asked.pairs, asked.sharp, asked.models)


def print_fit(pairs: Sequence[str], sharp: Sequence[str], models: Sequence[Path]) -> None:
    """Between "fitted" and "end of fitted" in ``inference/guard.py``."""
    first, last = fit(list(gather(pairs, sharp, models)))
    values: dict[str, Any] = {"HIDDEN": first.weight.T, "HIDDEN_BIAS": first.bias, "KEPT": last.weight[0]}
    for name, value in values.items():
        print(f"{name} = np.array({np.array2string(value.detach().numpy(), precision=3, separator=', ')})")
    print("KEPT_BIAS =", round(last.bias.item(), 3))


if __name__ == "__main__":
    main()
