"""What all verbs share: the two streams, usual options, progress bars, tables, and what to say of a missing extra."""

from __future__ import annotations

import json as json_module
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from serene.registry import missing_extra

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
out = Console(soft_wrap=True, highlight=False, markup=False, width=1000)  # a narrow terminal wraps lines, not columns
aside = Console(stderr=True, highlight=False, markup=False)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]
Jobs = Annotated[
    int | None,
    typer.Option("--jobs", "-j", min=1, help="Trainings at a time: by default one on a GPU, else one per core."),
]
Runs = Annotated[Path, typer.Option("-o", "--output", help="Folder of runs.")]


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
def bars() -> Iterator[Callable[[str, int, int], None]]:
    """Give `progress(what, done, of)`, shown as bars on the terminal's error stream."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=aside) as bars:
        tasks: dict[str, Any] = {}

        def progress(what: str, done: int, of: int) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=of)
            bars.update(tasks[what], completed=done, total=of)

        try:
            yield progress
        except KeyboardInterrupt:
            bars.stop()
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
    sys.stdout.write(json_module.dumps(value, indent=2, ensure_ascii=False) + "\n")
