"""The console that all verbs print on. No line that cannot be printed costs any work."""

import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from rich.console import Console, ConsoleOptions, RenderableType
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.segment import Segment

from deblur.files import escaped

if TYPE_CHECKING:
    from deblur.data.report_sets import ReportSet
    from deblur.evaluation.evaluation import OnPart


WIDE = 200
"""Columns of a file or a pipe."""
LINE_S, SPEED_S = 60.0, 600.0
"""How often long work writes a line where there is no bar, and over how long its speed is averaged."""


class PlainConsole(Console):
    """Text as it is: no markup, no emoji codes, and control characters escaped, so that no terminal obeys a name."""

    def __init__(self, *, stderr: bool = False) -> None:
        super().__init__(stderr=stderr, highlight=False, markup=False, emoji=False)
        if not self.is_terminal and "COLUMNS" not in os.environ:
            self.width = WIDE

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for text, style, control in super().render(renderable, options):
            yield Segment(text if control else escaped(text, keep="\n"), style, control)


console = PlainConsole()


def say(line: str) -> None:
    """A line, as it is."""
    console.print(line, soft_wrap=True)


def remark(line: str) -> None:
    """A line beside the results, on stderr."""
    PlainConsole(stderr=True).print(line, soft_wrap=True)


def show(tables: "Iterable[RenderableType]") -> None:
    """Tables, and lines as they are."""
    for each in tables:
        console.print(each, soft_wrap=isinstance(each, str))


def complain(sentence: str) -> None:
    """An error, on stderr."""
    PlainConsole(stderr=True).print(f"deblur: {sentence}", style="red", soft_wrap=True)


@contextmanager
def counted(sets: "Sequence[ReportSet]") -> Iterator["OnPart"]:
    """A bar for each set that is measured; gives what is told each image."""
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        tasks = {each.name: progress.add_task(escape(each.name), total=len(each.pairs)) for each in sets}
        yield lambda report_set, number: progress.update(tasks[report_set.name], completed=number)


@contextmanager
def long_work() -> Iterator[Callable[[str, float, float], None]]:
    """A bar with the time that is left; where there is no terminal, a line a minute.

    Gives what is told how far it is: in words, how much of the work is done, and all of it, in any unit.
    """
    columns, line_at = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn()), time.monotonic() + LINE_S
    shown = console.is_terminal
    with Progress(
        *columns, console=console, transient=True, disable=not shown, speed_estimate_period=SPEED_S
    ) as progress:
        task = progress.add_task("", total=None)

        def tell(words: str, done: float, total: float) -> None:
            nonlocal line_at
            progress.update(task, description=escape(words), completed=done, total=total)
            left_s = progress.tasks[0].time_remaining
            if not shown and left_s is not None and time.monotonic() > line_at:
                line_at = time.monotonic() + LINE_S
                say(f"{words}, about {left_s / 60:.0f} min left")

        yield tell


class Tolerant:
    """A stream for people whose writer goes on, whatever becomes of what is written.

    What its encoding lacks is written escaped. Where nobody reads any more, or the disk is full, lines are lost and
    the next ones are tried again; ``trouble`` is the last error. Everything else is the stream's own.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.trouble: OSError | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        encoding = self._stream.encoding or "utf-8"
        with self._noting():
            self._stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
        return len(text)

    def flush(self) -> None:
        with self._noting():
            self._stream.flush()

    def finish(self) -> None:
        """Let go of what can still not be written: Python would try again as it ends, and exit with 120."""
        try:
            self._stream.flush()
        except OSError:
            with suppress(OSError), Path(os.devnull).open("wb") as nowhere:
                os.dup2(nowhere.fileno(), self._stream.fileno())

    @contextmanager
    def _noting(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self.trouble = error


@contextmanager
def tolerant_output() -> Iterator[None]:
    """Whatever prints meanwhile, also a library, prints on :class:`Tolerant` streams.

    At the end it is told if the disk was full; who closed the pipe knows that.
    """
    with redirect_stdout(_tolerant(sys.stdout)), redirect_stderr(_tolerant(sys.stderr)):
        try:
            yield
        finally:
            for stream in (sys.stdout, sys.stderr):
                if isinstance(stream, Tolerant):
                    stream.finish()
                    if stream.trouble and not isinstance(stream.trouble, BrokenPipeError):
                        complain(f"Lines are missing from the output, which could not be written: {stream.trouble}.")


def _tolerant(stream: TextIO | None) -> Any:
    """Python has no such stream where the process was started without it."""
    return stream and Tolerant(stream)
