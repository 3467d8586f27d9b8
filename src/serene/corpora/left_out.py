"""LeftOut: a clip that a corpus holds and its manifest does not, and why; and their list beside the manifest."""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from serene.errors import SereneError
from serene.files import regular, whole_file
from serene.inside import is_remote

UNUSUAL = re.compile(r"//|(?:^|/)\.(?:/|$)|/$")  # in paths, which `Path` leaves out


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A clip that the corpus holds and the manifest does not, and why.

    Attributes:
        id: the clip's id, or its file's name.
        audio: path of the file.
        reason: the kind of defect, then what is particular to this clip after a colon; kinds are counted.
    """

    id: str
    audio: str
    reason: str

    @property
    def kind(self) -> str:
        """What is wrong, without what is particular to this clip."""
        return self.reason.partition(":")[0]


class NothingLeft(SereneError):
    """No clip of a corpus can be used; `left_out` says why of each."""

    def __init__(self, message: str, left_out: Iterable[LeftOut] = ()) -> None:
        """Keep the list beside the message."""
        super().__init__(message)
        self.left_out = tuple(left_out)


def beside(manifest: Path) -> Path:
    """Give the path of the list that stands beside a manifest."""
    return manifest.with_suffix(".left_out.csv")


def write_left_out(left_out: Iterable[LeftOut], path: Path) -> None:
    """Write CSV, whole or not at all; audio paths below its folder are written relative to it."""
    with (
        whole_file(path) as temporary,
        temporary.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file,
    ):
        writer = csv.writer(file)
        writer.writerow(["id", "audio", "reason"])
        writer.writerows([clip.id, portable(clip.audio, path.parent), clip.reason] for clip in left_out)


def read_left_out(path: Path) -> tuple[LeftOut, ...]:
    """Read what `write_left_out` wrote; nothing where there is no such file."""
    if not path.exists():
        return ()
    with regular(path).open(encoding="utf-8", errors="surrogateescape", newline="") as file:
        rows = tuple(csv.DictReader(file))
    return tuple(LeftOut(row["id"], below(path.parent, row["audio"]), row["reason"]) for row in rows)


def portable(audio: str, folder: Path) -> str:
    """Give a sound's path relative to a folder that it lies below; absolute elsewhere; an address as it is."""
    if is_remote(audio):
        return audio
    absolute, base = os.path.abspath(audio), os.path.abspath(folder)
    return os.path.relpath(absolute, base) if absolute.startswith(base + os.sep) else absolute


def below(folder: Path, audio: str) -> str:
    """Take a sound's path from a folder, as `Path` does; which would keep each part of each path in memory."""
    if is_remote(audio):
        return audio
    plain = not UNUSUAL.search(audio) and folder != Path()
    return os.path.join(folder, audio) if plain else str(folder / audio)
