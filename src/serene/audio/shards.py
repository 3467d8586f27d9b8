"""Shards: many arrays in one file, with an index beside it; a file for each process that writes."""

from __future__ import annotations

import contextlib
import fcntl
import io
import os
import re
import secrets
import zlib
from collections.abc import Iterator
from dataclasses import astuple, dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from serene.errors import SereneError
from serene.files import cannot_write, regular

ARRAYS, INDEX, LOCK = ".shard", ".index", "writing.lock"  # how names of files end
ENTRY = np.dtype([("name", "S32"), ("start", "<u8"), ("size", "<u8"), ("checksum", "<u4")])  # of an index
KNOWN = np.dtype([*ENTRY.descr, ("shard", "<u4")])
MOST_LOOKS = 100  # of one reader, each of which may meet another compaction
OLD = re.compile(r"(..)/\1[0-9a-f]{1,30}")  # folder and name of a file for one array, which is named by a hash
MOST_CLIPS, MOST_BYTES = 4096, 2**30  # of a shard, beyond which another one is begun


class Shards:
    """Arrays by name in a folder that several processes may fill and read at once.

    A shard is arrays as `numpy.save` writes them, one behind the other; its index has an entry for each that is written
    after it, with its place and checksum. An entry counts when the shard holds as much as it says: of what was cut off
    nothing is known, as if it had never been. Of two entries of a name, as processes that meet may write, any counts:
    both are of the same sound.
    """

    def __init__(self, folder: Path) -> None:
        """Make and read nothing yet."""
        self.folder = folder
        self._own: Path | None = None  # the shard that this process writes
        self._writing: tuple[int, int] | None = None  # process, and its handle of the lock
        self._forget()

    def __del__(self) -> None:
        """Let others compact the folder."""
        if self._writing and self._writing[0] == os.getpid():
            os.close(self._writing[1])

    def __getstate__(self) -> dict[str, Path]:
        """Travel to another process as what is on disk."""
        return {"folder": self.folder}

    def __setstate__(self, state: dict[str, Path]) -> None:
        """Begin anew."""
        self.__init__(state["folder"])

    def names(self) -> list[str]:
        """Name the arrays, sorted."""
        self._look()
        return sorted({name.decode() for name in (*self._known["name"].tolist(), *self._new)})

    def get(self, name: str) -> np.ndarray | None:
        """Give an array (...), read-only and memory-mapped; None where there is none of the name.

        Raises:
            ValueError, OSError: it is not as it was written.
        """
        for again in (False, True):
            entry = self._find(name)
            if entry is None:
                self._look()
                entry = self._find(name)
            try:
                return None if entry is None else _mapped(self._shards[entry["shard"]], int(entry["start"]))
            except FileNotFoundError:  # compacted since: the array is in another shard
                if again:
                    raise
                self._forget()
        return None

    def check(self, name: str, found: np.ndarray) -> None:
        """Compare an array that was found with its checksum; raise ValueError where it is damaged."""
        entry = self._find(name)
        if entry is not None and _checksum(found) != entry["checksum"]:
            raise ValueError("it is not as it was written")

    def where(self, name: str) -> Path:
        """Give the shard that an array is in."""
        entry = self._find(name)
        return self.folder if entry is None else self._shards[entry["shard"]]

    def put(self, name: str, array: np.ndarray) -> None:
        """Keep an array; it takes the place of one of the same name.

        Raises:
            SereneError: the folder cannot be written to; what was there is there.
        """
        content, array = io.BytesIO(), np.ascontiguousarray(array)
        np.save(content, array)
        try:
            with self._shard().open("ab") as file:
                fcntl.flock(file, fcntl.LOCK_EX)  # for the threads of this process
                start = file.seek(0, os.SEEK_END)
                file.write(content.getbuffer())
                file.flush()
                own = (name.encode(), start, content.tell(), _checksum(array))
                with Path(file.name).with_suffix(INDEX).open("ab") as index:
                    end = index.seek(0, os.SEEK_END)
                    index.truncate(end - end % ENTRY.itemsize)  # a full disk may have left half an entry
                    index.write(np.array([own], ENTRY).tobytes())
        except OSError as error:
            raise cannot_write(self.folder, error) from error

    def _shard(self) -> Path:
        """Give the shard that this process writes; another one where that is full."""
        if self._writing is None or self._writing[0] != os.getpid():
            self.folder.mkdir(parents=True, exist_ok=True)
            handle = os.open(self.folder / LOCK, os.O_RDWR | os.O_CREAT, 0o666)
            fcntl.flock(handle, fcntl.LOCK_SH)
            self._own, self._writing = None, (os.getpid(), handle)
        index = self._own and self._own.with_suffix(INDEX)
        if self._own and index and index.exists():
            clips = index.stat().st_size // ENTRY.itemsize
            self._own = self._own if clips < MOST_CLIPS and self._own.stat().st_size < MOST_BYTES else None
        self._own = self._own or self.folder / f"{secrets.token_hex(8)}{ARRAYS}"
        return self._own

    def _find(self, name: str) -> np.void | None:
        key = name.encode()
        if key in self._new:
            return self._new[key]
        place = int(np.searchsorted(self._names, np.bytes_(key)))
        return self._known[place] if place < len(self._names) and self._names[place] == key else None

    def _look(self) -> None:
        """Read what has been added to the indices; all of them anew where some were compacted meanwhile."""
        for _ in range(MOST_LOOKS - 1):
            try:
                return self._read_added()
            except FileNotFoundError:
                self._forget()
        return self._read_added()

    def _read_added(self) -> None:
        for index in sorted(self.folder.glob(f"*{INDEX}")):
            place, shard = self._read.setdefault(index.name, (0, len(self._shards)))
            if shard == len(self._shards):
                self._shards.append(index.with_suffix(ARRAYS))
            if index.stat().st_size - place < ENTRY.itemsize or not self._shards[shard].exists():
                continue
            found = np.fromfile(index, ENTRY, offset=place)
            self._read[index.name] = place + found.nbytes, shard
            whole = found["start"] + found["size"] <= self._shards[shard].stat().st_size
            self.cut_off += int((~whole).sum())
            for entry in found[whole]:
                self._new[entry["name"]] = np.array((*entry.tolist(), shard), KNOWN)[()]
        if len(self._new) > MOST_CLIPS + len(self._known) // 8:
            kept = self._known[~np.isin(self._known["name"], [*self._new])]
            self._known = np.sort(np.concatenate([kept, np.array([*self._new.values()], KNOWN)]), order="name")
            self._names, self._new = np.ascontiguousarray(self._known["name"]), {}

    def _forget(self) -> None:
        self._shards, self._read = list[Path](), dict[str, tuple[int, int]]()  # index -> bytes that are known, shard
        self._known, self._names = np.zeros(0, KNOWN), np.zeros(0, ENTRY["name"])
        self._new = dict[bytes, Any]()  # an entry each
        self.cut_off = 0  # arrays of which an index knows, and which their shard does not hold

    def all(self) -> Iterator[tuple[str, np.ndarray | None]]:
        """Go through all arrays, shard by shard; None where one is not as it was written."""
        names = self.names()
        entries = np.array([self._find(name) for name in names], KNOWN)
        for entry in np.sort(entries, order=["shard", "start"]):
            array = None
            with contextlib.suppress(ValueError, OSError):
                array = _mapped(self._shards[entry["shard"]], int(entry["start"]))
            yield entry["name"].decode(), None if array is None or _checksum(array) != entry["checksum"] else array


@dataclass(frozen=True)
class Compacted:
    """What became of a store: how many arrays it holds, files before and now, and arrays that were damaged and left."""

    arrays: int = 0
    before: int = 0
    after: int = 0
    damaged: int = 0

    def __add__(self, other: Compacted) -> Compacted:
        """Count two together."""
        return Compacted(*(one + another for one, another in zip(astuple(self), astuple(other), strict=True)))


def compact(folder: Path) -> Compacted:
    """Put all arrays of a store's folder into as few shards as hold them, those that older versions wrote as well.

    The new shards are on the disk before the old files go; an interruption leaves both, and loses nothing. What is
    damaged is left out, as it would be computed again; nothing is touched that is not a store's.

    Raises:
        SereneError: there is no such folder or nothing of a store in it, or a process is writing it.
    """
    expected = "the store of a folder of runs was expected, such as runs/store"
    if not folder.is_dir():
        raise SereneError(f"There is no folder {folder}; {expected}.")
    stored = sorted(
        path for path in folder.iterdir() if path.is_dir() and any(chain(_shards_of(path), _singles_of(path)))
    )
    if not stored:
        raise SereneError(f"{folder} holds no stored arrays; {expected}.")
    found = Compacted()
    for own in stored:
        handle = os.open(own / LOCK, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            found += _compacted(own, handle)
        except BlockingIOError as error:
            raise SereneError(
                f"Another process is writing {own}; wait until it has finished, or end it first."
            ) from error
        finally:
            os.close(handle)
    return found


def _shards_of(folder: Path) -> list[Path]:
    """List shards and their indices."""
    return [path for path in folder.iterdir() if path.suffix in (ARRAYS, INDEX)]


def _singles_of(folder: Path) -> list[Path]:
    """List the files for one array each, which older versions wrote."""
    return [path for path in folder.glob("??/*.npy") if OLD.fullmatch(f"{path.parent.name}/{path.stem}")]


def _compacted(folder: Path, lock: int) -> Compacted:
    old, new = Shards(folder), Shards(folder)
    new._writing = (os.getpid(), os.dup(lock))
    former = _shards_of(folder)
    arrays = damaged = 0
    for name, array in old.all():
        if array is None:
            damaged += 1
        else:
            new.put(name, array)
            arrays += 1
    known = set(old.names())
    for path in _singles_of(folder):
        with contextlib.suppress(ValueError, OSError, EOFError):  # what is damaged stays, and is named when it is used
            if path.stem not in known:
                new.put(path.stem, np.load(regular(path)))
                arrays += 1
            former.append(path)
    made = {*_shards_of(folder)} - {*former}
    for path in made:
        with path.open("rb") as file:
            os.fsync(file.fileno())
    for path in sorted(former, key=lambda path: path.suffix != INDEX):  # without its index a shard holds nothing
        path.unlink()
        if path.parent != folder and not any(path.parent.iterdir()):
            path.parent.rmdir()
    return Compacted(arrays, len(former), len(made), damaged + old.cut_off)


def _checksum(array: np.ndarray) -> int:
    return zlib.crc32(array.reshape(-1).view(np.uint8).data)


def _mapped(path: Path, start: int) -> np.ndarray:
    with path.open("rb") as file:
        file.seek(start)
        np.lib.format.read_magic(file)
        shape, by_column, dtype = np.lib.format.read_array_header_1_0(file)
        return np.memmap(file, dtype, "r", file.tell(), shape, "F" if by_column else "C")
