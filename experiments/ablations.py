"""``python -m experiments.ablations DATA OUT``: what each part of a recipe is worth.

Small trainings, each of which differs from another in one thing, all on the same crops in the same order. They
are child runs of one in MLflow, and their records stay in OUT. The same command goes on where it was stopped.
"""

from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from statistics import fmean

import tyro

from deblur.cli.console import console, say
from deblur.cli.train import parsed, share_cores
from deblur.data.report_sets import ReportSet, open_report_sets
from deblur.evaluation.statistics import bootstrap
from deblur.inference.restorer import Restorer
from deblur.library import open_model
from deblur.metrics import psnr_db
from deblur.training.settings import TrainSettings
from deblur.training.sweep import Trial, sweep
from deblur.training.terminal import progress_of

REAL = ("gopro/val", "reds/val", "reds320/val")
SYNTHETIC = "synthetic"
SOURCES = (
    "photos:photos/extra=2.7",
    "photos:photos/more=1.1",
    "photos:photos/unsplash_ccby=0.2",
    "gopro/train",
    "reds/train",
)
ALL = "--preset best-recipe --num_epochs 2 --epoch_images 2000 --eval_every 2 --seed 1 --num_workers 1 --doctor off"
PUBLISHED, PIXELS = "--loss ms-ssim=0.84 charbonnier=0.16", "--loss charbonnier=1"
CONSTANT, LAST = "--schedule constant", "--ema_decay 0"
FAST = "--network FastUNet --width 32"
ANSWERED = "--learning_rate 5e-4 --epoch_images 3000"
TAUGHT = "--learning_rate 5e-4 --loss l1=1"


@dataclass(frozen=True)
class Row:
    """A training: what it has beside :data:`ALL`, the row it is compared with, and the one that it goes on from.

    Its crops come from the images that the teacher answered, where ``answered``.
    """

    name: str
    than: str | None
    flags: str
    init: str | None = None
    answered: bool = False


ROWS = (
    Row("published", None, f"{PUBLISHED} {CONSTANT} {LAST} --no-residual"),
    Row("residual", "published", f"{PUBLISHED} {CONSTANT} {LAST}"),
    Row("annealing", "residual", f"{PUBLISHED} {LAST}"),
    Row("average", "annealing", PUBLISHED),
    Row("charbonnier", "average", PIXELS),
    Row("log-fft", "charbonnier", f"{PIXELS} log-fft=0.02"),
    Row("edge", "charbonnier", f"{PIXELS} edge=0.05"),
    Row("no-norm", "charbonnier", f"{PIXELS} {FAST}"),
    Row("growing-crops", "charbonnier", f"{PIXELS} --patch_size 96@0.5 128@0.8 160"),
    Row("alone", None, f"{FAST} {ANSWERED} --loss l1=1", "no-norm", answered=True),
    Row("output", "alone", f"{FAST} {ANSWERED} --loss l1=0.5 teacher:l1=0.5", "no-norm", answered=True),
    Row(
        "fading",
        "alone",
        f"{FAST} {ANSWERED} --loss l1=0.5 teacher:l1=0.5 --teacher_decay cosine",
        "no-norm",
        answered=True,
    ),
    Row("on-alone", None, f"{FAST} {TAUGHT}", "no-norm"),
    Row("features", "on-alone", f"{FAST} {TAUGHT} teacher:features=0.1", "no-norm"),
)
RECIPE = tuple(row.name for row in ROWS if not row.init)


def main(
    data: tyro.conf.Positional[Path],
    out: tyro.conf.Positional[Path],
    rows: tuple[str, ...] = RECIPE,
    answers: Path | None = None,
    teacher: Path | None = None,
) -> None:
    """Train what is missing, score it with the guard off, and print the table.

    Args:
        data: photos/, gopro/, reds/, reds320/, and synthetic/ of 'deblur synth'.
        out: Gets a folder for each row, and needs those whose weights others begin from.
        rows: Which; by default the recipe, part by part.
        answers: What 'deblur teach' made of the pairs in DATA/crops, for the rows that are answered.
        teacher: A model that runs in torch, for the row features.
    """
    if unknown := set(rows) - {row.name for row in ROWS}:
        raise SystemExit(f"No row {' or '.join(sorted(unknown))}; there are {', '.join(row.name for row in ROWS)}.")
    share_cores()
    chosen = {row.name: row for row in ROWS if row.name in rows}
    trials = [Trial(number, {"row": name}) for number, name in enumerate(chosen, 1)]

    def settings(trial: Trial, folder: Path) -> TrainSettings:
        row = chosen[trial.values["row"]]
        return settings_of(row, data, out, answers if row.answered else teacher)

    done = list(sweep(out, trials, settings, partial(progress_of, console), say))
    sets = open_report_sets([str(data / name) for name in (*REAL, SYNTHETIC)])
    models = {each.trial.values["row"]: open_model(each.result.record.model_folder).restorer for each in done}
    gained = {name: [_gains(restorer, of) for of in sets] for name, restorer in models.items()}
    scenes = [[f"{of.name}/{scene}" for scene in of.scenes] for of in sets]
    for name, gains in gained.items():
        cells = [f"{fmean(of):+.2f}" for of in gains]
        than = chosen[name].than
        if than in gained:
            more = [[a - b for a, b in zip(*both, strict=True)] for both in zip(gains, gained[than], strict=True)]
            real = bootstrap(list(chain(*more[:-1])), list(chain(*scenes[:-1])))
            cells += [f"{than}: {real}", str(bootstrap(more[-1], scenes[-1]))]
        say(f"| {name} | {' | '.join(cells)} |")


def _gains(restorer: Restorer, pairs: ReportSet) -> list[float]:
    """PSNR over the blurry input, dB, of each pair, without the guard."""
    gains = []
    for pair in pairs.pairs:
        blurry, sharp = pair.load()
        restored = blurry.copy()
        restorer.in_place(restored)
        gains.append(psnr_db(restored, sharp) - psnr_db(blurry, sharp))
    return gains


def settings_of(row: Row, data: Path, out: Path, teacher: Path | None) -> TrainSettings:
    """The settings of one row, as a command line says them."""
    sources = ("crops/gopro", "crops/reds") if row.answered else SOURCES
    arguments = [*ALL.split(), *row.flags.split(), "--output_dir", str(out / row.name), "--cache", str(out / "cache")]
    arguments += ["--train_data", *(_in(data, each) for each in sources)]
    arguments += ["--test_data", *(str(data / each) for each in REAL)]
    if row.init:
        arguments += ["--init", str(out / row.init)]
    if teacher and "teacher:" in row.flags:
        arguments += ["--teacher", str(teacher)]
    return parsed(arguments).resolved()


def _in(data: Path, source: str) -> str:
    """A source below ``data``."""
    kind, colon, place = source.rpartition(":")
    return f"{kind}{colon}{data / place}"


if __name__ == "__main__":
    tyro.cli(main)
