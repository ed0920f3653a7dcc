"""Training progress on a terminal; plain lines where there is none."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from deblur.training.progress import Progress

LINE_S = 60.0
"""How often work that is no training writes a line where there is no bar."""


@contextmanager
def progress_of(console: Console) -> Iterator[Progress]:
    """A bar over all images of the run, true because the total is known, with a line an epoch above it; below it, while
    it does, another for what else takes time."""
    columns = (
        TextColumn("{task.description} {task.completed:,.0f} of {task.total:,.0f}"),
        BarColumn(),
        TextColumn("{task.percentage:.0f} %"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Bar(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        training, other = (bar.add_task(words, total=0, visible=False) for words in ("crops", ""))
        line_at = time.monotonic() + LINE_S

        def say(line: str) -> None:
            bar.console.print(line, markup=False, emoji=False, soft_wrap=True)

        def work(words: str, done: int, total: int) -> None:
            nonlocal line_at
            if done == 0:
                bar.reset(other, total=total, description=words)
                line_at = time.monotonic() + LINE_S
            bar.update(other, completed=done, visible=done < total)
            if not console.is_terminal and done < total and time.monotonic() > line_at:
                line_at = time.monotonic() + LINE_S
                say(f"{words} {done} of {total}")

        yield Progress(
            on_start=lambda images: bar.update(training, total=images, visible=True),
            on_images=lambda images: bar.advance(training, images),
            on_line=say,
            on_work=work,
        )
