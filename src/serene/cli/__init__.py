"""The command line: one verb, one function; mistakes end in one message and exit code 2."""

from __future__ import annotations

import contextlib
import errno
import os
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
        try:
            app()
        finally:
            sys.stdout.flush()
    except SereneError as error:
        message = str(error)
    except OSError as error:
        message = _refused(error)
    except (MemoryError, RuntimeError) as error:
        if "allocate" not in str(error) and not isinstance(error, MemoryError):
            raise
        message = f"There is too little memory ({error}); make the model or its batches smaller, or lower --jobs."
    else:
        return
    typer.echo(printable(f"error: {LONG.sub(lambda name: quoted(name[0]), message)}"), err=True)
    sys.exit(2)


def _refused(error: OSError) -> str:
    """Say what the system refuses; raise again what is no matter of files."""
    if error.errno == errno.ENAMETOOLONG:
        return f"The path {error.filename} is longer than this system allows; give a shorter one."
    if error.filename is not None:
        return f"Cannot use {error.filename}: {error.strerror}."
    # the last: a disk so full that Python finds no folder for temporary files
    if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EPIPE, errno.EFBIG, errno.ENOENT):
        raise error
    with contextlib.suppress(OSError, ValueError):  # or the interpreter tries to write the rest once more as it ends
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return f"Cannot write the output: {error.strerror}."
