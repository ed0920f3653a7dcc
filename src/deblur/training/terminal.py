"""Training progress on a terminal; plain lines where there is none."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from deblur.training.progress import Progress


@contextmanager
def progress_of(console: Console) -> Iterator[Progress]:
    """A bar over all images of the run, true because the total is known, with a line an epoch above it."""
    columns = (
        TextColumn("{task.completed:,.0f} of {task.total:,.0f} crops"),
        BarColumn(),
        TextColumn("{task.percentage:.0f} %"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Bar(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("training", total=0, visible=False)

        def start(images: int) -> None:
            bar.update(task, total=images, visible=True)

        yield Progress(
            on_start=start,
            on_images=lambda images: bar.advance(task, images),
            on_line=lambda line: bar.console.print(line, markup=False, emoji=False, soft_wrap=True),
        )
