"""What all verbs share: the two streams, usual options, progress bars, tables, and what to say of a missing extra."""

from __future__ import annotations

import io
import json as json_module
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console, ConsoleOptions, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.segment import Segment
from rich.table import Table

from serene.errors import printable
from serene.registry import missing_extra
from serene.trust import accept

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


class Terminal(Console):
    """A console that nothing which is printed can steer: names and labels are anybody's."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Give what is printed, without control characters but the console's own."""
        for part in super().render(renderable, options):
            yield part if part.control else part._replace(text=printable(part.text))


class Rows(io.TextIOBase):
    """The standard output, for rows of answers: as they are for a file or another program, printable on a terminal."""

    def write(self, text: str) -> int:
        """Write a piece of text."""
        return sys.stdout.write(printable(text) if sys.stdout.isatty() else text)


out = Terminal(soft_wrap=True, highlight=False, markup=False, width=1000)  # a narrow terminal wraps lines, not columns
aside = Terminal(stderr=True, highlight=False, markup=False)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]
Jobs = Annotated[
    int | None,
    typer.Option("--jobs", "-j", min=1, help="Trainings at a time: by default one on a GPU, else one per core."),
]
On = Annotated[
    str | None,
    typer.Option("--on", help="ray: a Ray on this machine, or that of RAY_ADDRESS; ray://HOST:PORT: that cluster."),
]
Runs = Annotated[Path, typer.Option("-o", "--output", help="Folder of runs.")]


def _trusted(names: list[str] | None) -> list[str] | None:
    accept(names)
    return names


Trust = Annotated[
    list[str] | None,
    typer.Option(
        "--trust",
        callback=_trusted,
        help="Code (package.module:Name) or weights (a folder or hub name) that a folder may name; may be repeated.",
    ),
]


@contextmanager
def training() -> Iterator[None]:
    """Turn a missing torch, scikit-learn or matplotlib into one sentence."""
    try:
        yield
    except ModuleNotFoundError as error:
        if missing := missing_extra(error):
            raise missing from error
        raise


@contextmanager
def bars(shown: bool = True) -> Iterator[Callable[[str, int, int], None]]:
    """Give `progress(what, done, of)`, shown as bars on the terminal's error stream, by one of several processes."""
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=aside, disable=not shown) as bars:
        tasks: dict[str, Any] = {}

        def progress(what: str, done: int, of: int) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=of)
            bars.update(tasks[what], completed=done, total=of)

        try:
            yield progress
        except KeyboardInterrupt:
            bars.stop()
            if shown:
                aside.print("stopped; run the same command again to go on")
            raise typer.Exit(130) from None


def print_table(rows: list[dict[str, str]]) -> None:
    """Print rows of text, whose keys are the columns."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in rows[0]:
        table.add_column(name, no_wrap=True)
    for row in rows:
        table.add_row(*row.values())
    out.print(table)


def print_json(value: Any) -> None:
    """Print plain data as one JSON value."""
    text = json_module.dumps(value, indent=2, ensure_ascii=False)
    sys.stdout.write(printable(text, lambda found: f"\\u{ord(found[0]):04x}") + "\n")  # the same value
