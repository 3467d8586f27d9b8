"""Answers become CSV, JSON or JSON lines; those of a run under way wait in a partial file, which the next run reads."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import zlib
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from pathlib import Path
from typing import Any, BinaryIO, Literal, Self

import numpy as np

from serene import sound
from serene.errors import SereneError, unknown
from serene.files import append_text, damaged, regular, write_text
from serene.inference.places import Places

Row = dict[str, Any]  # a source's columns, then label, scores, duration, note, error
State = Callable[[str], list[Any]]
Format = Literal["csv", "json", "jsonl"]
FORMATS = ("csv", "json", "jsonl")
VERSION = 2  # of the partial file
CHECKSUM = 9  # characters in front of each of its lines
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")  # how cells begin that spreadsheets compute
_guarded: ContextVar[bool] = ContextVar("_guarded", default=False)


def format_of(output: str | Path | None, wanted: str | None, formats: Sequence[str] = FORMATS) -> str:
    """Decide for a format: the one that is wanted, or else the one that the output's name ends in, or else the first.

    Raises:
        SereneError: there is no such format, or the name ends in none.
    """
    if wanted is None and output is None:
        return formats[0]
    if wanted is None:
        wanted = Path(output or "").suffix.removeprefix(".").lower()
        if wanted not in formats:
            ends = ", ".join(f".{name}" for name in formats)
            raise SereneError(f"The output {sound.named(output)} does not end in {ends}; end it so, or say --format.")
    if wanted not in formats:
        raise SereneError(unknown("format", wanted, formats))
    return wanted


def refuse_special(output: Path) -> None:
    """Refuse what cannot be replaced by a file: a folder, and a device or pipe, which would be lost.

    Raises:
        SereneError: the output is such.
    """
    if output.is_dir():
        raise SereneError(f"The output {sound.named(output)} is a folder; a file was expected.")
    if output.exists() and not output.is_file():
        raise SereneError(
            f"The output {sound.named(output)} is a device or pipe; a file was expected. Leave -o out, and the rows go "
            "to the standard output."
        )


def number(value: float) -> float:
    """Round to 6 significant digits: what batches of another size change is beyond them."""
    return float(f"{value:.6g}")


@contextlib.contextmanager
def for_spreadsheets() -> Iterator[None]:
    """Write CSV, inside, of which a spreadsheet computes nothing: text that begins as a formula does gets a `'`."""
    before = _guarded.set(True)
    try:
        yield
    finally:
        _guarded.reset(before)


def csv_line(cells: Iterable[object]) -> str:
    """Write a line of CSV; cells with line breaks of any kind are quoted, and nothing is an empty cell."""
    if _guarded.get():
        cells = [f"'{cell}" if isinstance(cell, str) and cell.startswith(FORMULA) else cell for cell in cells]
    line = io.StringIO()
    csv.writer(line, lineterminator="\r\n").writerow(cells)  # it quotes what holds a character of the terminator
    return line.getvalue().removesuffix("\r\n") + "\n"


def render(rows: Iterable[Row], labels: Sequence[str], form: str, columns: Sequence[str] = ("path",)) -> Iterator[str]:
    """Write rows as text, a piece at a time; such columns stand before what is answered.

    Raises:
        SereneError: a class is called like a column of CSV.
    """
    if form == "csv":
        if taken := set(labels) & {*columns, "label", "duration", "note", "error"}:
            raise SereneError(f"A class is called '{min(taken)}', as a column of CSV is; ask for --format jsonl.")
        yield csv_line([*columns, "label", *labels, "duration", "note", "error"])
        for row in rows:
            scores = [row["scores"].get(label) for label in labels]
            head = [row[column] for column in columns]
            yield csv_line([*head, row["label"], *scores, row["duration"], row["note"], row["error"]])
    elif form == "jsonl":
        for row in rows:
            yield _json(row) + "\n"
    else:
        before = "[\n"
        for row in rows:
            yield before + _json(row)
            before = ",\n"
        yield "\n]\n" if before == ",\n" else "[]\n"


class Partial:
    """The rows of a run that has not finished, a line for those that were answered together, beside its output.

    A line holds a checksum, and for each row which sound it is of, such as a file by absolute path, size and time: what
    `state` says, which begins with what the sound is known by. A row is used again unless the sound has changed since,
    or has failed: then it is tried again, and the later line counts.

    Attributes:
        path: of the partial file.
        anew: why rows that were there cannot be used; None where they can, or where there were none.
    """

    def __init__(self, path: Path, state: State, anew: str | None) -> None:
        """Name the file; `begin` makes it."""
        self.path, self.state, self.anew = path, state, anew
        self._held, self._entries = -1, list[Any]()  # of the line that was read last

    @classmethod
    def begin(cls, output: Path, made_by: Mapping[str, Any], state: State) -> Self:
        """Go on where a run with the same model and settings stopped, or begin a file.

        `made_by` says what the answers depend on besides the sounds, and `state` which sound a name stands for, and in
        what state that is.

        Raises:
            SereneError: a line of the file is damaged, or the disk refuses.
        """
        path = output.with_name(output.name + ".partial")
        head = json.dumps({"version": VERSION, **made_by}, sort_keys=True).encode() + b"\n"
        try:
            with regular(path).open("r+b") as file:
                if file.readline() == head:
                    whole = sum(len(line) for line in file if line.endswith(b"\n"))  # the last may be cut off by a kill
                    file.truncate(len(head) + whole)
                    found = cls(path, state, None)
                    any(None for _ in found._lines())  # what is damaged is said before the work
                    return found
                anew = f"{path} was left by another model or other settings; everything is answered anew."
        except FileNotFoundError:
            anew = None
        except OSError as error:
            raise SereneError(f"Cannot use {path}, which an earlier run left: {error.strerror}. Remove it.") from error
        write_text(path, head.decode())
        return cls(path, state, anew)

    def add(self, rows: Mapping[str, Row]) -> None:
        """Keep rows that were answered together, each by the name of the sound that it is of."""
        line = json.dumps([{"of": self.state(name), "row": row} for name, row in rows.items()])
        append_text(self.path, f"{zlib.crc32(line.encode()):08x} {line}\n")

    def left(self, names: Iterable[str]) -> np.ndarray:
        """Give the numbers (sound,) of those without a row that can be used again: at last those that have failed.

        In this order the others are answered together with the same sounds as in a run that is not interrupted, and
        so with the same scores to the last digit.
        """
        kept, new, failed = self._places(), array("q"), array("q")
        with self.path.open("rb") as file:
            for number, name in enumerate(names):
                state = self.state(name)
                entry = next((entry for entry in self._at(kept[state[0]], file) if entry["of"][0] == state[0]), None)
                if entry is None or entry["of"] != state:
                    new.append(number)
                elif entry["row"]["error"] is not None:
                    failed.append(number)
        return np.array(new + failed, np.int64)

    def rows(self, names: Iterable[str]) -> Iterator[Row]:
        """Give the rows of some sounds, all of which have one, in their order; only those of a line are in memory."""
        places = self._places()
        with self.path.open("rb") as file:
            for name in names:
                known = self.state(name)[0]
                yield next(entry["row"] for entry in self._at(places[known], file) if entry["of"][0] == known)

    def _places(self) -> Places:
        return Places((entry["of"][0], place) for place, entries in self._lines() for entry in entries)

    def _at(self, places: Iterable[int], file: BinaryIO) -> Iterator[Any]:
        """Give the entries of the lines at some places, the last of each first; only those of a line are in memory."""
        for place in places:
            if place != self._held:
                file.seek(place + CHECKSUM)
                self._held, self._entries = place, json.loads(file.readline())[::-1]
            yield from self._entries

    def _lines(self) -> Iterator[tuple[int, list[Any]]]:
        with self.path.open("rb") as file:
            place = len(file.readline())
            for number, line in enumerate(file, 2):
                if line[:CHECKSUM] != b"%08x " % zlib.crc32(line[CHECKSUM:-1]):
                    raise damaged(self.path, f"line {number} is not as a run wrote it")
                yield place, json.loads(line[CHECKSUM:])
                place += len(line)


def _json(row: Row) -> str:
    return json.dumps(row, ensure_ascii=False, allow_nan=False)
