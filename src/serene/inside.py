"""Sounds inside other files, read from where they lie: members of tar files, rows of Parquet files, also on a hub.

A path leads into the file: `shards/000.tar/a.flac` to a member, `data/train.parquet/17` to the sound of the 18th row.
Parquet files may lie on huggingface.co: `hf://datasets/OWNER/NAME/data/train.parquet/17`.
"""

from __future__ import annotations

import bisect
import contextlib
import functools
import itertools
import os
import re
import tarfile
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from serene.errors import AudioError, MissingExtra, first_line, quoted

TAR, PARQUET = ".tar", ".parquet"
REMOTE = "hf://"
LEADS_IN = re.compile(rf"(?:{re.escape(TAR)}|{re.escape(PARQUET)}){re.escape(os.sep)}")
MANY = 16  # files whose members' places are in memory
_reading = threading.Lock()  # of a group of rows, which several threads want at once


def parted(path: str | Path) -> tuple[str, str] | None:
    """Part a path into a file and what is meant inside it; None where it does not lead into one."""
    for found in LEADS_IN.finditer(str(path)):
        file, member = str(path)[: found.end() - 1], str(path)[found.end() :]
        if is_remote(path) or os.path.isfile(file):
            return file, member
    return None


def is_remote(path: str | Path) -> bool:
    """Tell whether a path is an address on huggingface.co."""
    return str(path).startswith(REMOTE)


def is_file(path: str | Path) -> bool:
    """Tell whether there is a file, or a sound inside one, at a path."""
    if (inside := parted(path)) is None:
        return os.path.isfile(path)
    try:
        if inside[0].endswith(TAR):
            return inside[1] in members(inside[0])
        return inside[1].isdecimal() and int(inside[1]) < table(inside[0]).rows
    except AudioError:
        return True  # who reads it says what is wrong


def read(file: str, member: str) -> bytes:
    """Read what `parted` found.

    Raises:
        AudioError: there is no such member or row, or the file is cut off, compressed or something else.
        MissingExtra: what reads it is not installed.
    """
    if file.endswith(PARQUET):
        return table(file).sound(member)
    if (place := members(file).get(member)) is None:
        raise AudioError(f"{file} holds no {member}, or is cut off before it. Give the tar file as it was made.")
    with open(file, "rb") as opened:
        opened.seek(place[0])
        content = opened.read(place[1])
    if len(content) < place[1]:
        raise AudioError(f"{file} is cut off within {member}. Give the tar file as it was made.")
    return content


def members(file: str, *, whole: bool = False) -> dict[str, tuple[int, int]]:
    """Find where the members of a tar file begin and how long they are, as far as the file goes; read headers only.

    Raises:
        AudioError: it is compressed, or no tar file; or, where it has to be whole, it is cut off, or has a name twice.
    """
    places, wrong = _members(file, *_stamp(file))
    if whole and wrong:
        raise AudioError(f"{file} {wrong}.")
    return places


@functools.lru_cache(MANY)
def _members(file: str, _size: int, _changed: int) -> tuple[dict[str, tuple[int, int]], str]:
    """Find the members, and what is wrong with the file as a whole."""
    places: dict[str, tuple[int, int]] = {}
    wrong, end = "", 0
    try:
        with tarfile.open(file, "r:") as tar, open(file, "rb") as content:
            with contextlib.suppress(tarfile.ReadError):  # cut off: what lies before can be read
                while (entry := tar.next()) is not None:
                    name, end = entry.name.removeprefix("./"), tar.offset
                    if not entry.isreg():
                        continue
                    if name in places:
                        wrong = f"holds {quoted(name)} twice; give each of its files a name"
                    places[name] = entry.offset_data, entry.size
            content.seek(end)
            if content.read(tarfile.BLOCKSIZE) != tarfile.NUL * tarfile.BLOCKSIZE:  # with which a tar file ends
                after = quoted(next(reversed(places), "its beginning"))
                wrong = f"is cut off or damaged after {after}; give it as it was made"
    except (tarfile.TarError, OSError, EOFError) as error:
        raise AudioError(
            f"{file} cannot be read as a tar file: {error}. One was expected that is not compressed."
        ) from error
    return places, wrong


class Table:
    """A Parquet file with a column of sounds, as Hugging Face's datasets have: of bytes, or of structs with bytes.

    Attributes:
        column: the sounds'.
        schema: of all columns, pyarrow's.
        rows: how many there are.
    """

    def __init__(self, path: str) -> None:
        """Read where the rows are; raise AudioError where there is no table, or none of sounds."""
        arrow, parquet = pyarrow()
        self.path = path
        try:
            opened = hub().open(path, "rb") if is_remote(path) else path
            self._file = parquet.ParquetFile(opened)
            self.schema = self._file.schema_arrow
        except (arrow.ArrowException, OSError, ValueError) as error:
            raise AudioError(f"{path} cannot be read as Parquet: {first_line(error)}.") from error
        refuse_twice(path, self.schema.names)
        about = self._file.metadata
        self.rows = about.num_rows
        self._ends = [*itertools.accumulate(about.row_group(n).num_rows for n in range(about.num_row_groups))]
        kinds = {name: self.schema.field(name).type for name in self.schema.names}
        held = [n for n, kind in kinds.items() if arrow.types.is_struct(kind) and kind.get_field_index("bytes") >= 0]
        held += [n for n, kind in kinds.items() if arrow.types.is_binary(kind) or arrow.types.is_large_binary(kind)]
        if not held:
            raise AudioError(f"{path} has no column of sounds; it has: {', '.join(kinds)}.")
        self.column = min(held, key=lambda name: "audio" not in name.lower())  # pictures are held so, too
        self._group: tuple[int, Any] = (-1, None)  # its number, and the sounds of its rows

    def sound(self, row: str) -> bytes:
        """Give the bytes of a row's sound; a group of rows is read at once, and the last is kept.

        Raises:
            AudioError: there is no such row, or no sound in it, or the file is damaged.
        """
        if not row.isdecimal() or int(row) >= self.rows:
            raise AudioError(f"{self.path} has no row {row}; it has {self.rows}, the first of which is 0.")
        group = bisect.bisect(self._ends, int(row))
        place = int(row) - (self._ends[group - 1] if group else 0)
        with _reading:
            if self._group[0] != group:
                try:
                    self._group = group, self._file.read_row_group(group, columns=[self.column])[0]
                except Exception as error:  # of pyarrow, the hub and what lies between
                    raise AudioError(f"{self.path} cannot be read at row {row}: {first_line(error)}.") from error
            found = self._group[1][place].as_py()
        content = found.get("bytes") if isinstance(found, dict) else found
        if not content:
            raise AudioError(f"{self.path} has no sound in row {row}.")
        return content

    def labels(self) -> Iterator[dict[str, Any]]:
        """Give the other columns' values, row by row.

        Raises:
            AudioError: the file is damaged.
        """
        others = [name for name in self.schema.names if name != self.column]
        try:
            for batch in self._file.iter_batches(columns=others):
                yield from batch.to_pylist()
        except Exception as error:
            raise AudioError(f"{self.path} cannot be read: {first_line(error)}.") from error


def refuse_twice(path: str | Path, names: Sequence[str]) -> None:
    """Raise AudioError where two columns of a Parquet file have one name, by which nothing tells them apart."""
    if twice := [name for name in names if names.count(name) > 1]:
        raise AudioError(f"{path} has the column {quoted(twice[0])} twice; name its columns differently.")


def table(path: str) -> Table:
    """Open a Parquet file with sounds; see `Table`. A few stay open."""
    return _table(path, os.getpid(), *_stamp(path))


@functools.lru_cache(MANY)
def _table(path: str, _process: int, _size: int, _changed: int) -> Table:
    return Table(path)


def _stamp(path: str) -> tuple[int, int]:
    """Tell one state of a file from another; what lies on a hub stays as it is."""
    if is_remote(path):
        return 0, 0
    status = os.stat(path)
    return status.st_size, status.st_mtime_ns


def pyarrow() -> tuple[Any, Any]:
    """Import pyarrow and its Parquet; raise MissingExtra where it is not installed."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise MissingExtra("pyarrow, which reads and writes Parquet,", "parquet") from error
    return pyarrow, pyarrow.parquet


def hub() -> Any:
    """Give the file system of huggingface.co; raise MissingExtra where what reads it is not installed."""
    try:
        import huggingface_hub
    except ImportError as error:
        raise MissingExtra("huggingface_hub, which reads from huggingface.co,", "datasets") from error
    return huggingface_hub.HfFileSystem()
