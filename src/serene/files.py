"""Files are written whole or not at all, by one process at a time; and what is damaged is said to be, by its name."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import glob
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from serene.errors import SereneError

MARK, FORMER = ".serene-", ".former"  # in the names of temporary copies, and of a folder that is being replaced
BESIDE, EXCHANGE = -100, 2  # of Linux's renameat2: paths as they are given, and two that change places


@contextlib.contextmanager
def whole_file(path: str | Path, *, synced: bool = True) -> Iterator[Path]:
    """Give a temporary path beside `path`; rename it only when the block succeeds, and leave nothing behind else.

    Until then it is locked, so that the next writer of `path` clears away what a killed one left, and nothing else.

    Args:
        path: of the file.
        synced: write it to the disk before it is renamed, so that a power loss leaves the old file or the new one;
            what can be computed again, file by file, need not wait for the disk.
    """
    path = Path(path)
    try:
        temporary, handle = _held(path, lambda **named: _closed(*tempfile.mkstemp(suffix=path.suffix, **named)))
    except OSError as error:
        raise cannot_write(path, error) from error
    try:
        yield temporary
        os.chmod(temporary, 0o666 & ~_umask())  # mkstemp makes files that only their owner can read
        if synced:
            _sync(temporary)
        os.replace(temporary, path)
    except OSError as error:
        raise cannot_write(path, error) from error
    finally:
        os.close(handle)
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def whole_folder(path: str | Path) -> Iterator[Path]:
    """Give a temporary folder beside `path`; it replaces `path` only when the block succeeds, as `whole_file` does.

    Both change places in one step where the system can do that. Elsewhere the former folder is moved aside first;
    `tidy` puts it back where a kill in between left nothing at `path`.
    """
    path = Path(path).absolute()
    try:
        temporary, handle = _held(path, tempfile.mkdtemp)
    except OSError as error:
        raise cannot_write(path, error) from error
    try:
        yield temporary
        os.chmod(temporary, 0o777 & ~_umask())
        for written in (*temporary.rglob("*"), temporary):
            if not written.is_symlink():
                _sync(written)
        if path.exists():
            _exchange(path, temporary)
        else:
            os.replace(temporary, path)
    except OSError as error:
        raise cannot_write(path, error) from error
    finally:
        os.close(handle)
        tidy(path)


def tidy(path: Path) -> None:
    """Clear away what killed runs left beside a path, unless a process holds it; put a former folder back, and say so.

    A folder was being replaced, and none is at its path: a run was killed between the two renames.
    """
    for left in path.parent.glob(f".{glob.escape(path.name)}{MARK}*"):
        with contextlib.suppress(OSError), _opened(left) as handle:  # held by somebody, or gone by now
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if left.name.endswith(FORMER) and not path.exists():
                os.rename(left, path)
                print(f"note: a run was killed while it replaced {path}; the former folder is back.", file=sys.stderr)
            elif left.is_dir():
                shutil.rmtree(left, ignore_errors=True)
            else:
                left.unlink()


@contextlib.contextmanager
def locked(path: str | Path) -> Iterator[None]:
    """Keep other processes from writing the same file or folder until the block ends.

    Raises:
        SereneError: another process is writing it, or no lock can be made beside it.
    """
    path = Path(path)
    lock = path.with_name(f".{path.name}.lock")
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        while (handle := _claimed(lock, os.O_RDWR | os.O_CREAT)) is None:
            pass  # its owner has just given it up
    except BlockingIOError as error:
        raise SereneError(f"Another process is writing {path}; wait until it has finished, or end it first.") from error
    except OSError as error:
        raise cannot_write(path, error) from error
    try:
        yield
    finally:
        lock.unlink(missing_ok=True)
        os.close(handle)


def write_text(path: str | Path, text: str) -> None:
    """Write UTF-8 text whole or not at all."""
    with whole_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def append_text(path: str | Path, text: str) -> None:
    """Add UTF-8 text to a file's end, and to the disk; an interruption can leave a part of it there."""
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise cannot_write(path, error) from error


def regular(path: str | Path) -> Path:
    """Give a path back, unless it is a pipe or device, at which a reader would wait, perhaps without end: OSError."""
    path = Path(path)
    if path.exists() and not path.is_file() and not path.is_dir():
        raise OSError(errno.EINVAL, "it is a pipe or device, and a file was expected", str(path))
    return path


def load_json(path: str | Path) -> Any:
    """Parse a JSON file that anybody may have made; OSError or ValueError where it is none."""
    try:
        return json.loads(regular(path).read_text(encoding="utf-8"))
    except RecursionError as error:
        raise ValueError("it is nested without end") from error


def read_json(path: str | Path, *needed: str, kind: type = dict) -> Any:
    """Read a JSON file that a run wrote: a mapping with at least such keys, or of another kind.

    Raises:
        SereneError: it is not there, cut off, damaged or something else.
    """
    try:
        content = load_json(path)
    except (OSError, ValueError) as error:
        raise damaged(path, error) from error
    if not isinstance(content, kind) or any(key not in content for key in needed):
        raise damaged(path, f"it holds no {kind.__name__}{' of ' if needed else ''}{', '.join(needed)}")
    return content


def read_json_lines(path: str | Path, *needed: str) -> list[Any]:
    """Read a log of a run, a mapping with such keys per line; raise SereneError as `read_json` does."""
    try:
        rows = [json.loads(line) for line in regular(path).read_text(encoding="utf-8").splitlines()]
    except (OSError, ValueError, RecursionError) as error:
        raise damaged(path, error) from error
    if not all(isinstance(row, dict) and row.keys() >= {*needed} for row in rows):
        raise damaged(path, f"a mapping {'of ' if needed else ''}{', '.join(needed)} in each line was expected")
    return rows


def damaged(path: str | Path, why: object) -> SereneError:
    """Say that a file which a run wrote is not as it was written."""
    why = getattr(why, "strerror", None) or (repr(why) if isinstance(why, LookupError) else why)
    return SereneError(f"{path} is missing or damaged: {why}. Restore it, or delete it and run again.")


def _held(path: Path, make: Callable[..., str]) -> tuple[Path, int]:
    """Make a temporary file or folder beside a path, and lock it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    tidy(path)
    while True:
        temporary = make(prefix=f".{path.name}{MARK}", dir=path.parent)
        with contextlib.suppress(FileNotFoundError, BlockingIOError):  # another process took it for left over: again
            if (handle := _claimed(temporary, os.O_RDONLY)) is not None:
                return Path(temporary), handle


def _closed(handle: int, name: str) -> str:
    os.close(handle)
    return name


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[int]:
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        yield handle
    finally:
        os.close(handle)


def _claimed(path: str | Path, flags: int) -> int | None:
    """Open a file or folder and lock it; None where it is gone by then. BlockingIOError: another process has it."""
    handle = os.open(path, flags, 0o666)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise
    except OSError:
        pass  # this file system has no locks
    if os.fstat(handle).st_nlink:
        return handle
    os.close(handle)
    return None


def _sync(path: Path) -> None:
    with _opened(path) as handle:
        os.fsync(handle)


def _exchange(path: Path, temporary: Path) -> None:
    """Put a folder in the place of another."""
    names = os.fsencode(temporary), os.fsencode(path)
    with contextlib.suppress(AttributeError, OSError):  # another system than Linux
        if ctypes.CDLL(None).renameat2(BESIDE, names[0], BESIDE, names[1], EXCHANGE) == 0:
            return
    with _opened(path) as handle:
        with contextlib.suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.replace(path, temporary.with_name(temporary.name + FORMER))
        os.replace(temporary, path)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def cannot_write(path: Path, error: OSError) -> SereneError:
    """Make the error of a file or folder that the system refuses to write."""
    return SereneError(
        f"Cannot write {path}: {error.strerror or error}. Nothing was changed; "
        "check that the folder can be written to and that the disk has room."
    )
