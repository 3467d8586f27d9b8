"""The command line: one verb, one function; mistakes end in one message and exit code 2."""

from __future__ import annotations

import sys

import typer

from serene.cli import data, training, studies, models, doctor  # noqa: F401  # isort: skip  # the order of --help
from serene.cli.terminal import app
from serene.errors import SereneError

__all__ = ["app", "main"]


def main() -> None:
    """Run the command line; a user's mistake ends it with one message and exit code 2."""
    try:
        app()
    except SereneError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(2)
