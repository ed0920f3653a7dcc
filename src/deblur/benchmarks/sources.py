"""``deblur bench sources``: what each kind of training data is worth.

The same small network, from the same random weights, sees the same number of crops of each mixture. There is no
choosing: the averaged weights of the last step are scored on whole images of every set, beside doing nothing.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from deblur.benchmarks.machine import describe_machine
from deblur.data.sources import open_sources, validation_pairs
from deblur.errors import SettingError
from deblur.evaluation.scores import EvaluationSet, Scores
from deblur.files import write_json
from deblur.inference.restorer import Restorer
from deblur.models.checkpoint import load_checkpoint, network_of
from deblur.models.engine import TorchEngine
from deblur.synthesis.draw import SEVERITIES
from deblur.training.recipe import run
from deblur.training.settings import TrainSettings
from deblur.training.terminal import progress_of

EPOCH_IMAGES = 1000


def bench(
    mixtures: Mapping[str, Sequence[str]],
    sets: Sequence[str],
    crops: int,
    output: Path,
    settings: Mapping[str, Any],
    json_file: Path | None,
    console: Console,
) -> dict[str, Any]:
    """Train once a mixture, score on every set, print the table; what was trained already is not trained again.

    Args:
        mixtures: name -> sources, as ``train_data`` takes them.
        sets: sources of validation pairs.
        crops: that each network sees.
        output: a folder for the runs.
        settings: of the training, beside the ``fast`` preset's.
        json_file: where the figures go, after every training.
        console: where the table goes.

    Raises:
        SettingError: nothing to train on or to score.
    """
    if not mixtures or not sets or crops < 8:
        raise SettingError("mixtures and sets need one entry each at least, and crops 8.")
    scored = {source: _images(source) for source in sets}
    figures: dict[str, Any] = {"machine": describe_machine(), "crops": crops, "mixtures": dict(mixtures), "sets": {}}
    for name, sources in mixtures.items():
        console.print(f"{name}: {' '.join(sources)}")
        made = _settings(sources, sets[0], crops, output / name, settings)
        with progress_of(console) as progress:
            result = run(made, progress=progress)
        assert result is not None
        assert result.record.best_checkpoint is not None
        network = network_of(load_checkpoint(result.record.best_checkpoint)).eval()
        restorer = Restorer(TorchEngine(network), made.network.tiling(network))
        for set_name, images in scored.items():
            figures["sets"].setdefault(set_name, {})[name] = _figures(images.score(restorer))
        if json_file:
            write_json(json_file, figures)
    report(figures, console)
    return figures


def report(figures: Mapping[str, Any], console: Console) -> None:
    """A row a set: doing nothing, and the gain of each mixture with its 95 % interval by scene."""
    names = list(figures["mixtures"])
    table = Table("set", "images", "blurry dB", *names, title=f"gain in dB after {figures['crops']} crops")
    for set_name, by_mixture in figures["sets"].items():
        first = next(iter(by_mixture.values()))
        gains = ["{gain_db:+.2f} [{gain_low_db:+.2f}, {gain_high_db:+.2f}]".format(**by_mixture[n]) for n in names]
        table.add_row(set_name, str(first["images"]), f"{first['input_db']:.2f}", *gains)
    console.print(table)


def _settings(
    sources: Sequence[str], validate: str, crops: int, folder: Path, settings: Mapping[str, Any]
) -> TrainSettings:
    epochs = max(1, crops // EPOCH_IMAGES)
    made = TrainSettings.of_preset("fast").but(
        train_data=tuple(sources),
        test_data=(validate,),
        num_epochs=epochs,
        epoch_images=crops // epochs,
        eval_every=epochs,
        tracking="off",
        output_dir=folder,
        **settings,
    )
    return made.resolved()


def _images(source: str) -> EvaluationSet:
    return EvaluationSet(validation_pairs(open_sources([source]), None, SEVERITIES["medium"]))


def _figures(scores: Scores) -> dict[str, float]:
    gain = scores.gain_db
    return {
        "images": len(scores.images),
        "input_db": scores.mean("psnr_input_db"),
        "psnr_db": scores.mean("psnr_db"),
        "gain_db": gain.mean,
        "gain_low_db": gain.low,
        "gain_high_db": gain.high,
        "ssim_input": scores.mean("ssim_input"),
        "ssim": scores.mean("ssim"),
    }
