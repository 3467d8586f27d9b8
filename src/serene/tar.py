"""Files inside tar files, by paths such as `shards/000.tar/a.flac`: read from where they lie, without unpacking."""

from __future__ import annotations

import functools
import os
import tarfile
from pathlib import Path

from serene.errors import AudioError

END = ".tar"
MANY = 16  # tar files whose members' places are in memory


def parted(path: str | Path) -> tuple[str, str] | None:
    """Part a path into a tar file and the member's name; None where it does not lead into one."""
    shard, found, member = str(path).partition(f"{END}{os.sep}")
    return (shard + END, member) if found and os.path.isfile(shard + END) else None


def is_file(path: str | Path) -> bool:
    """Tell whether there is a file, or a member of a tar file, at a path."""
    if (inside := parted(path)) is None:
        return os.path.isfile(path)
    try:
        return inside[1] in _members(inside[0])
    except AudioError:
        return True  # who reads it says what is wrong


def read(shard: str, member: str) -> bytes:
    """Read a member.

    Raises:
        AudioError: there is no such member, or the tar file is cut off, compressed or none.
    """
    if (place := _members(shard).get(member)) is None:
        raise AudioError(f"{shard} holds no {member}, or is cut off before it. Give the tar file as it was made.")
    with open(shard, "rb") as file:
        file.seek(place[0])
        content = file.read(place[1])
    if len(content) < place[1]:
        raise AudioError(f"{shard} is cut off within {member}. Give the tar file as it was made.")
    return content


def _members(shard: str) -> dict[str, tuple[int, int]]:
    status = os.stat(shard)
    return _places(shard, status.st_size, status.st_mtime_ns)


@functools.lru_cache(MANY)
def _places(shard: str, _size: int, _changed: int) -> dict[str, tuple[int, int]]:
    """Find where members begin and how long they are, as far as the file goes; only headers are read."""
    places: dict[str, tuple[int, int]] = {}
    try:
        with tarfile.open(shard, "r:") as tar:
            try:
                while (entry := tar.next()) is not None:
                    if entry.isreg():
                        places[entry.name.removeprefix("./")] = entry.offset_data, entry.size
            except tarfile.ReadError:
                pass  # cut off: what lies before can be read, and what is asked for beyond is told
    except (tarfile.TarError, OSError, EOFError) as error:
        raise AudioError(
            f"{shard} cannot be read as a tar file: {error}. One was expected that is not compressed."
        ) from error
    return places
