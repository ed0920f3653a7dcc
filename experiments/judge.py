"""``python -m experiments.judge RUN OUT DATA ...``: every new best of a training, exported and judged while it trains.

The export is in half precision; the rule is that of ``deblur promote``, on sets that chose nothing. OUT always holds
the model that won last, at first a copy of the one that the training began from.
"""

import shutil
import tempfile
import time
from pathlib import Path

import tyro

from deblur.cli.console import counted, say, show
from deblur.data.report_sets import ReportSet, open_report_sets
from deblur.evaluation.contest import decide
from deblur.evaluation.evaluation import evaluate
from deblur.evaluation.tables import verdict_listing
from deblur.evaluation.ways import model_ways
from deblur.export.onnx import export_model
from deblur.inference.locating import bundled_folder
from deblur.inference.model_folder import open_model, read_info
from deblur.models.checkpoint import network_from
from deblur.registry.record import RUNNING, RunRecord


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
    if not out.exists():
        shutil.copytree(began_from or bundled_folder(), out)
    while True:
        ended, best = record.run["status"] != RUNNING, record.best_checkpoint
        if best and best != judged:
            judged = best
            with tempfile.TemporaryDirectory(dir=out.parent) as scratch:
                challenger, info = Path(scratch) / "challenger", read_info(out)
                export_model(network_from(best), challenger, name=info.name, tiling=info.tiling, half=True)
                if _wins(challenger, out, sets):
                    shutil.rmtree(out)
                    challenger.rename(out)
                    say(f"{best.name} is in {out} now.")
        elif ended:
            return
        else:
            time.sleep(wait_s)


def _wins(challenger: Path, champion: Path, sets: list[ReportSet]) -> bool:
    """Whether it does; tells the evidence."""
    ways = model_ways([(str(folder), open_model(folder)) for folder in (challenger, champion)])
    with counted(sets) as on_done:
        verdict = decide(evaluate(sets, ways, on_done=on_done), ways[0].name, ways[1].name)
    show([verdict_listing(verdict).for_terminal()])
    return verdict.wins


if __name__ == "__main__":
    tyro.cli(main)
