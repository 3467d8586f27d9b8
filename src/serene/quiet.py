"""What native decoders write to the error stream, past Python, is kept away while they work."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Iterator

ERRORS = 2  # the descriptor that native libraries write to

_lock = threading.Lock()
_inside, _kept = 0, -1  # threads that decode, and where the descriptor led before the first of them


def set_apart() -> None:
    """Give Python's own error stream another descriptor, so that `hushed` keeps away nothing that Python says."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        if sys.stderr.fileno() == ERRORS:
            sys.stderr = os.fdopen(os.dup(ERRORS), "w", 1, sys.stderr.encoding, "backslashreplace")


@contextlib.contextmanager
def hushed() -> Iterator[None]:
    """Keep away what is written inside, in any thread; where Python would lose its voice with it, do nothing."""
    global _inside, _kept
    if not _apart():
        yield
        return
    with _lock:
        if not _inside:
            _kept, nowhere = os.dup(ERRORS), os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, ERRORS)
            os.close(nowhere)
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if not _inside:
                os.dup2(_kept, ERRORS)
                os.close(_kept)


def _apart() -> bool:
    with contextlib.suppress(OSError, ValueError, AttributeError):
        os.fstat(ERRORS)
        return sys.stderr.fileno() != ERRORS
    return False
