"""The command line: one verb, one function; mistakes end in one message and exit code 2."""

from __future__ import annotations

import errno
import re
import sys

import typer

from serene.cli import data, training, studies, models, doctor  # noqa: F401  # isort: skip  # the order of --help
from serene.cli.terminal import app
from serene.errors import SereneError, printable, quoted
from serene.quiet import set_apart

__all__ = ["app", "main"]

LONG = re.compile(r"\S{301,}")  # a name that a message quotes no more than the beginning of


def main() -> None:
    """Run the command line; a user's mistake ends it with one message and exit code 2."""
    set_apart()
    try:
        app()
    except SereneError as error:
        message = str(error)
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        message = f"The path {error.filename} is longer than this system allows; give a shorter one."
    else:
        return
    typer.echo(printable(f"error: {LONG.sub(lambda name: quoted(name[0]), message)}"), err=True)
    sys.exit(2)
