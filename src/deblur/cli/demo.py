"""``deblur demo``: the whole loop in minutes."""

from pathlib import Path

from deblur.cli.console import console
from deblur.cli.train import share_cores


def demo(photos: Path | None = None) -> int:
    """Train, track, register, serve and restore in a few minutes, on photos at hand.

    Args:
        photos: A folder of sharp photos to use instead of those that came with the dependencies.
    """
    share_cores()
    from deblur.demo import run_demo

    run_demo(photos, console)
    return 0
