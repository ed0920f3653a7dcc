"""``deblur ship``: send a run that is recorded on disk to MLflow."""

from pathlib import Path

import tyro

from deblur.cli.console import say


def ship(run_dir: tyro.conf.Positional[Path], name: str | None = None) -> int:
    """Send a training run that is recorded on disk to MLflow.

    Args:
        run_dir: The output folder of the training (its --output_dir).
        name: Also register the run's verified model under this name; by default under the one that the training was
            given.
    """
    from deblur.training.registering import ship_record

    run_id, _ = ship_record(run_dir, name, say)
    say(f"run {run_id}")
    return 0
