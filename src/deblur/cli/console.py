"""The console that all verbs print on."""

from rich.console import Console

console = Console(highlight=False)


def say(line: str) -> None:
    """A line, as it is."""
    console.print(line, markup=False, soft_wrap=True)


def complain(sentence: str) -> None:
    """An error, on stderr."""
    Console(stderr=True, highlight=False).print(f"deblur: {sentence}", style="red", markup=False, soft_wrap=True)
