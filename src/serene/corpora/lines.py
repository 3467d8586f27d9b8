"""Lines of a text file, one after the other: UTF-8, or whatever a byte-order mark or the user says; perhaps in gzip."""

from __future__ import annotations

import codecs
import gzip
import io
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from serene.errors import SereneError
from serene.files import regular

PACKED = b"\x1f\x8b"  # how what gzip made begins
MARKS = (  # byte-order marks; the longer ones first, since they begin with the shorter
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
    (codecs.BOM_UTF8, "utf-8"),
)
AT_ONCE = 1 << 16  # characters

Lines = Callable[[], Iterator[str]]


def lines_of(path: Path, encoding: str | None) -> Lines:
    """Read a whole file once; give what goes through its lines, less their ends, whenever it is called.

    Raises:
        SereneError: it cannot be read, or is in another encoding.
    """
    try:
        with _opened(path, encoding) as text:
            while some := text.read(AT_ONCE):
                if "\0" in some:
                    raise ValueError
    except (OSError, EOFError, zlib.error, ValueError, LookupError):
        whole = _whole(path, encoding)  # says what is wrong; nothing is with UTF-16 that was named and has no mark
        return lambda: _without_ends(io.StringIO(whole, newline=None))
    return lambda: _lines(path, encoding)


def _lines(path: Path, encoding: str | None) -> Iterator[str]:
    with _opened(path, encoding) as text:
        yield from _without_ends(text)


def _without_ends(lines: Iterable[str]) -> Iterator[str]:
    return (line.removesuffix("\n") for line in lines)


@contextmanager
def _opened(path: Path, encoding: str | None) -> Iterator[io.TextIOWrapper]:
    with regular(path).open("rb") as file:
        packed = file.read(len(PACKED)) == PACKED
    with gzip.open(path) if packed else path.open("rb") as file:
        mark, used = _marked(file.read(4), encoding)
        file.seek(len(mark))
        yield io.TextIOWrapper(file, used)


def _marked(data: bytes, encoding: str | None) -> tuple[bytes, str]:
    """Give the byte-order mark that text begins with, and its encoding."""
    mark, used = next(((mark, name) for mark, name in MARKS if data.startswith(mark)), (b"", "utf-8"))
    return mark, encoding if encoding and used == "utf-8" else used


def _whole(path: Path, encoding: str | None) -> str:
    try:
        data = regular(path).read_bytes()
        data = gzip.decompress(data) if data.startswith(PACKED) else data
    except (OSError, EOFError, zlib.error) as error:
        raise SereneError(f"Cannot read {path}: {error}") from error
    mark, used = _marked(data, encoding)
    try:
        text = data[len(mark) :].decode(used)
        wrong = text.find("\0")
    except UnicodeDecodeError as error:
        text, wrong = data.decode("latin-1"), error.start
    except (LookupError, UnicodeError) as error:
        raise SereneError(f"There is no encoding '{encoding}'; utf-8, utf-16 or latin-1 is usual.") from error
    if wrong < 0:
        return text
    raise SereneError(
        f"{path}, line {text.count(chr(10), 0, wrong) + 1}: this is no {used} text. Save the table as CSV in UTF-8, or "
        f"name its encoding, as with --encoding {'utf-16' if chr(0) in text else 'latin-1'}."
    )
