"""``python -m experiments.judge RUN OUT DATA ...``: every new best of a training, exported and judged while it trains.

The export is in half precision; the rule is that of ``deblur promote``, on sets that chose nothing. OUT always holds
the model that won last, at first a copy of the one that the training began from; a stop while a new one takes its place
leaves it beside OUT, and the next start puts it back.
"""

import shutil
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import tyro

from deblur.cli.console import counted, say, show
from deblur.data.report_sets import ReportSet, open_report_sets
from deblur.errors import FolderInUse
from deblur.evaluation.contest import check_enough, decide
from deblur.evaluation.evaluation import evaluate
from deblur.evaluation.tables import verdict_listing
from deblur.evaluation.ways import model_ways
from deblur.export.onnx import export_model
from deblur.inference.locating import bundled_folder
from deblur.inference.model_folder import open_model, read_info
from deblur.models.checkpoint import network_from
from deblur.registry.record import RUNNING, RunRecord
from deblur.training.resuming import sole_trainer


def main(
    run: tyro.conf.Positional[Path],
    out: tyro.conf.Positional[Path],
    data: tyro.conf.Positional[tuple[str, ...]],
    began_from: Path | None = None,
    wait_s: float = 60.0,
) -> None:
    """Judge until the training has ended and its last best is judged.

    Args:
        run: The output folder of a training.
        out: A new folder, or one that this command wrote.
        data: Sets as 'deblur promote' takes them, with 20 pairs or more in all.
        began_from: Model folder that holds the place at first; by default the bundled one.
        wait_s: Between two looks at the run.
    """
    sets, record, judged = open_report_sets(data), RunRecord(run), None
    check_enough(
        [str((each.origin, scene)) for each in sets if not each.sharp for scene in each.scenes], by_image=False
    )
    if not out.exists() and _before(out).exists():
        _before(out).rename(out)
    if not out.exists():
        shutil.copytree(began_from or bundled_folder(), out)
    while True:
        killed = _killed(record)
        ended, best = killed or record.run["status"] != RUNNING, record.best_checkpoint
        if best and best != judged:
            judged = best
            with tempfile.TemporaryDirectory(dir=out.parent) as scratch:
                challenger, info = Path(scratch) / "challenger", read_info(out)
                export_model(network_from(best), challenger, name=info.name, tiling=info.tiling, half=True)
                if _wins(challenger, out, sets):
                    _take_place(challenger, out)
                    say(f"{best.name} is in {out} now.")
        elif ended:
            if killed:
                say(f"Nobody trains in {run}, but its record was never closed: the training was killed. Resume it.")
            return
        else:
            time.sleep(wait_s)


def _killed(record: RunRecord) -> bool:
    """Whether nobody trains in the folder although its record says so; False where the file system has no locks."""
    if record.run["status"] != RUNNING:
        return False
    with suppress(FolderInUse), sole_trainer(record.folder):
        with suppress(FolderInUse), sole_trainer(record.folder):
            return False
        return record.run["status"] == RUNNING
    return False


def _take_place(winner: Path, out: Path) -> None:
    """There is a whole model at every moment, in OUT or beside it."""
    shutil.rmtree(_before(out), ignore_errors=True)
    out.rename(_before(out))
    winner.rename(out)
    shutil.rmtree(_before(out))


def _before(out: Path) -> Path:
    """Where the model that won before lies while another takes its place."""
    return out.with_name(f".{out.name}.before")


def _wins(challenger: Path, champion: Path, sets: list[ReportSet]) -> bool:
    """Whether it does; tells the evidence."""
    ways = model_ways([(str(folder), open_model(folder)) for folder in (challenger, champion)])
    with counted(sets) as on_done:
        verdict = decide(evaluate(sets, ways, on_done=on_done), ways[0].name, ways[1].name)
    show([verdict_listing(verdict).for_terminal()])
    return verdict.wins


if __name__ == "__main__":
    tyro.cli(main)
