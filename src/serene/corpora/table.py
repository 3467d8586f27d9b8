"""Your own corpus: a CSV, TSV, JSON or JSON-lines file of path, speaker and emotion.

Every row is a clip. Needed are the sound's path (absolute, or relative to the table's folder or another one) and the
speaker; the other columns of a manifest are read where they are there, under their own names or those that
`serene.corpora.rows.ALIASES` lists, in any case and with blanks, hyphens or underscores. Where no column has the
sound's path, the id is taken for it. Without ids, clips are named by their path.

A segment of a file has a start, and an end or a duration: in seconds, or as 1:30.5, 00:01:30.5 or 0 days 00:01:30.5.
Backslashes in paths are slashes, and a sound may be named without its extension. Equal rows count once. Short or
adjective emotion names (`ang`, `happy`) become whole words, as a remark says. Further numeric columns are kept as
targets; further text columns are ignored, with a remark. `serene.corpora.rows` says which shapes a file may have; in a
list of paths and labels without a header, all speakers are Unknown.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from itertools import compress
from pathlib import Path
from typing import Any

import numpy as np

from serene import inside
from serene.corpora import UNKNOWN_SPEAKER
from serene.corpora.folder import kept_of
from serene.corpora.left_out import UNUSUAL, LeftOut, NothingLeft, below
from serene.corpora.manifest import COLUMNS, Manifest, Utterance, utterance_from
from serene.corpora.repeats import again, repeated
from serene.corpora.rows import ALIASES, Row, Rows, read_rows
from serene.corpora.spelling import is_missing, plain, whole_words
from serene.corpora.utterances import Utterances
from serene.errors import SereneError, quoted
from serene.sound import DECODED

HOME = "A table is your own: a CSV, TSV, JSON or JSON-lines file with a row for each clip."
LICENCE = "your own"
CITATION = "none"

CLOCK = re.compile(r"(?:(\d+) days?,? *\+?)?(?:(\d+):)?(\d+):(\d+(?:[.,]\d+)?)", re.IGNORECASE)
PLACEHOLDER = re.compile(r"^(?:\{\w+\}|\$\w+)/")  # SpeechBrain writes {data_root}/wav/a.wav
NO_SECONDS = re.compile(r"(start|onset|begin|end|stop|offset)_?(ms|msec|milliseconds?|samples?|frames?)", re.IGNORECASE)
AGREE = 0.01  # seconds by which a duration may differ from end less start

Placed = Callable[[], Iterator[tuple[str, Row]]]  # goes through rows, each with its place in the file, when called


def read(path: Path, *, root: Path | None = None, encoding: str | None = None) -> Manifest:
    """Read a table; no sound is decoded. A row whose file is not there is left out.

    Args:
        path: the table.
        root: the folder that relative paths of sounds are taken from; the table's own without it.
        encoding: of its text, such as `latin-1`; UTF-8, or what a byte-order mark says, without it.

    Raises:
        SereneError: no such file, not a table, a column or value that is missing or ill-typed (the message names the
            row and the accepted column names), or none of its sound files is there.
    """
    if not path.is_file():
        wrong = f"{path} is a folder" if path.is_dir() else f"There is no file {path}"
        raise SereneError(f"{wrong}. Expected: a table with the columns audio and speaker. {HOME} Licence: {LICENCE}.")
    if path.suffix.lower() == inside.PARQUET:
        raise SereneError(
            f"{path} is Parquet, and no table: a manifest is used as it is, and of a dataset with sounds in it "
            "`serene prepare huggingface` makes one."
        )
    return manifest_of(read_rows(path, encoding), path, root)


def manifest_of(table: Rows, path: Path, root: Path | None = None) -> Manifest:
    """Make a manifest of rows, wherever they were found.

    Args:
        table: the rows; columns that are of no use here are taken out of them.
        path: where they were found, for messages; relative paths of sounds are taken from its folder.
        root: another folder to take them from.

    Raises:
        SereneError: as of a table.
    """
    folder = root or path.parent
    names = _names(table, path)
    remarks, further, spelt = table.remarks, _without_texts(table, names), list[str]()
    rows = table.replacing(_read_rows(table, names, folder, path, spelt))
    del table  # or it stays in memory beside what it became
    equal = again(lambda: (repr(sorted((name, str(value)) for name, value in row.items())) for _, row in rows))
    kept = partial(compress, rows, (~equal).tobytes())
    _check_ends(kept, path)
    left_out, named = list[LeftOut](), _identified(partial(_cut_out, kept, path))
    clips = Utterances.of(kept_of(_located(_clips(named, path), folder), left_out))
    if not clips:
        taken = f"taken from {folder}" if root else "taken from the table's folder, or from --root FOLDER"
        raise NothingLeft(
            f"None of the {len(left_out)} files that {path} lists is there, for example {quoted(left_out[0].audio)}. "
            f"Relative paths are {taken}. {quoted(' '.join(remarks))}".rstrip(),
            left_out,
        )
    if equal.any():
        place = next(compress(rows.places(), equal))
        remarks = (*remarks, f"Equal rows, counted once: {np.count_nonzero(equal)}, such as {place}.")
    remarks = (*remarks, *further, *spelt)
    if "speaker" not in names.values():
        remarks = (*remarks, f"No speaker is known: all are {UNKNOWN_SPEAKER}, whom no protocol tests.")
    return Manifest(clips, left_out, remarks).check()


def _names(table: Rows, path: Path) -> dict[str, str]:
    """Map the table's column names to a manifest's; a column under its own name comes before its aliases."""
    present = {name: plain(name) for name in table.names}
    names: dict[str, str] = {}
    for column in ("audio", "end", *(column for column in COLUMNS if column != "audio")):
        accepted = (column, *ALIASES.get(column, ()))
        accepted += ("id", *ALIASES["id"]) if column == "audio" else ()
        accepted += ("offset",) if column == "end" and "onset" in present.values() else ()
        found = [name for alias in accepted for name, lower in present.items() if lower == alias and name not in names]
        if found:
            names[found[0]] = column
        elif column in ("audio", "speaker") and (table.headed or "emotion" not in present):
            line = quoted(" ".join(map(str, next(iter(table))[1].values())))
            unnamed = "" if table.headed else f" Its first line names no column: '{line}'. Write one that does."
            raise SereneError(
                f"{path} has no column for the {column}. It has: {quoted(', '.join(present))}. "
                f"Accepted names: {', '.join(accepted)}. Every clip needs its sound and its speaker, "
                f"since splits are made by speaker.{unnamed}"
            )
    if counted := [name for name, lower in present.items() if NO_SECONDS.fullmatch(lower)]:
        raise SereneError(
            f"{path}: the column {counted[0]} counts something else than seconds. Give segments in seconds, in columns "
            "start and end; where each file is one clip, leave the column out."
        )
    return names


def _without_texts(table: Rows, names: Iterable[str]) -> list[str]:
    """Take the further columns that hold text out of a table; remark on these, and on the numeric ones."""
    extra = sorted({*table.names}.difference(names, COLUMNS))
    ignored = [name for name in extra if not all(map(_is_number, table.values(name)))]
    table.drop(ignored)
    found = (("Text columns ignored", ignored), ("Numeric columns kept", [n for n in extra if n not in ignored]))
    return [f"{what}: {quoted(', '.join(columns))}." for what, columns in found if columns]


def _read_rows(table: Rows, names: Mapping[str, str], folder: Path, path: Path, spelt: list[str]) -> Iterator[Row]:
    """Give the rows under a manifest's column names, with values as a manifest has them; remark on spellings."""
    shared = {} if "speaker" in names.values() else {"speaker": UNKNOWN_SPEAKER}
    renamed = ({names.get(k, k): v for k, v in row.items()} | shared for _, row in table)
    for place, row in zip(table.places(), whole_words(renamed, spelt), strict=True):
        row["audio"] = _written(str(row.get("audio") or ""), folder)
        if str(row.get("speaker")).strip().lower() == UNKNOWN_SPEAKER.lower():
            row["speaker"] = UNKNOWN_SPEAKER
        _times(row, f"{path}, {place}")
        yield row


def _is_number(value: Any) -> bool:
    try:
        return is_missing(value) or math.isfinite(float(value))
    except (TypeError, ValueError, OverflowError):
        return False


def _written(audio: str, folder: Path) -> str:
    """Write a path as this system does."""
    audio = PLACEHOLDER.sub("", audio.strip())
    return audio if "\\" not in audio or os.path.isfile(folder / audio) else audio.replace("\\", "/")


def _located(clips: Iterable[Utterance], folder: Path) -> Iterator[Utterance | LeftOut]:
    """Find the sounds, which may be named without their extensions."""
    for clip in clips:
        audio = _found(folder, clip.audio)
        there = inside.is_file(audio)
        yield replace(clip, audio=audio) if there else LeftOut(clip.id, audio, f"no such file: {audio}")


def _found(folder: Path, named: str) -> str:
    placed = below(folder, named)
    if inside.parted(placed) or os.path.isfile(placed) or (audio := Path(placed)).suffix.lower() in DECODED:
        return placed
    ended = (audio.with_name(audio.name + end) for known in DECODED for end in (known, known.upper()) if audio.name)
    return str(next((path for path in ended if os.path.isfile(path)), audio))


def _times(row: Row, where: str) -> None:
    """Read the times of a row as seconds, in place: from numbers, or as clocks and pandas write them."""
    for column in ("start", "end", "duration"):
        text = "" if row.get(column) is None else str(row[column]).strip()
        if is_missing(text):
            row.pop(column, None)
        elif clock := CLOCK.fullmatch(text):
            days, hours, minutes, seconds = (float((part or "0").replace(",", ".")) for part in clock.groups())
            row[column] = ((days * 24 + hours) * 60 + minutes) * 60 + seconds
        elif not _is_number(text):
            raise SereneError(
                f"{where}: the {column} is '{quoted(text)}'; a number was expected: seconds, such as 90.5, or "
                "1:30.5, 00:01:30.5 or 0 days 00:01:30.5."
            )


def _cut_out(rows: Placed, path: Path) -> Iterator[tuple[str, Row]]:
    """Make of each segment's end its duration."""
    for place, row in rows():
        if "end" in row:
            start, length, end = (float(row.get(column, 0)) for column in ("start", "duration", "end"))
            if end <= start or (length and abs(end - start - length) > AGREE):
                also = f" and duration {length:g}" if length else ""
                raise SereneError(
                    f"{path}, {place}: start {start:g}, end {end:g}{also} contradict each other. Times are seconds "
                    "from the beginning of the sound's file."
                )
            row["duration"] = row.get("duration", round(end - start, 9))
            del row["end"]
        yield place, row


def _check_ends(rows: Placed, path: Path) -> None:
    """Refuse a segment that makes no sense, or ends nowhere: it begins within its file, or others are of that file."""
    several: np.ndarray | None = None
    for number, (place, row) in enumerate(_cut_out(rows, path)):
        if "start" not in row or "duration" in row:
            continue
        start = float(row["start"])
        if not start and several is None:
            several = repeated(lambda: (row["audio"] for _, row in rows()))
        if start or (several is not None and several[number]):
            raise SereneError(
                f"{path}, {place}: start is {start:g}, and no end or duration says how far the clip goes. Add one of "
                "these columns; where each file is one clip, leave the column start out."
            )


def _clips(rows: Placed, path: Path) -> Iterator[Utterance]:
    """Make the clips of different rows; two of them with one id contradict each other."""
    ids = repeated(lambda: (str(row.get("id")).strip() for _, row in rows()))
    first: dict[str, str] = {}
    for is_shared, (place, row) in zip(ids, rows(), strict=True):
        clip = utterance_from(row, f"{path}, {place}")
        if is_shared and (other := first.setdefault(clip.id, place)) != place:
            twin = next(row for known, row in rows() if known == other)
            differ = next((name for name in (*row, *twin) if str(row.get(name)) != str(twin.get(name))), None)
            how = "say the same in different columns"
            if differ is not None:
                values = " and ".join(f"'{quoted(one.get(differ, ''), 100)}'" for one in (twin, row))
                how = f"differ in {differ}: {values}"
            raise SereneError(
                f"{path}: {other} and {place} are both '{quoted(clip.id, 100)}' and {how}. "
                "Delete one of them, or give each an id of its own."
            )
        yield clip


def _identified(rows: Placed) -> Placed:
    """Name the rows that have no id by their path; where clips share one, by what tells them apart."""

    def nameless() -> Iterator[str]:
        return (row["audio"] for _, row in rows() if _is_nameless(row))

    stems = repeated(lambda: map(_stem, nameless()))
    paths = repeated(nameless) if stems.any() else stems

    def named() -> Iterator[tuple[str, Row]]:
        shared = zip(stems, paths, strict=True)
        for place, row in rows():
            if _is_nameless(row):
                is_stem_shared, is_path_shared = next(shared)
                alone = f"{_stem(row['audio'])}#{row.get('start') or 0}" if is_path_shared else row["audio"]
                row["id"] = alone if is_stem_shared else _stem(row["audio"])
            yield place, row

    return named


def _is_nameless(row: Row) -> bool:
    return bool(row["audio"]) and row.get("id") in (None, "")


def _stem(audio: str) -> str:
    """Give a path without its extension, as `Path` does, which takes much longer."""
    if UNUSUAL.search(audio):
        path = Path(audio)
        return path.with_suffix("").as_posix() if path.name else audio
    stem, _, ending = audio.rpartition(".")
    return stem if ending and "/" not in ending and stem and stem[-1] != "/" else audio
