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
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from serene import inside
from serene.corpora import UNKNOWN_SPEAKER
from serene.corpora.left_out import LeftOut, NothingLeft, below
from serene.corpora.manifest import COLUMNS, Manifest, Utterance, utterance_from
from serene.corpora.rows import ALIASES, Row, Rows, read_rows
from serene.corpora.spelling import is_missing, plain, whole_words
from serene.errors import SereneError, quoted
from serene.sound import DECODED

HOME = "A table is your own: a CSV, TSV, JSON or JSON-lines file with a row for each clip."
LICENCE = "your own"
CITATION = "none"

CLOCK = re.compile(r"(?:(\d+) days?,? *\+?)?(?:(\d+):)?(\d+):(\d+(?:[.,]\d+)?)", re.IGNORECASE)
PLACEHOLDER = re.compile(r"^(?:\{\w+\}|\$\w+)/")  # SpeechBrain writes {data_root}/wav/a.wav
NO_SECONDS = re.compile(r"(start|onset|begin|end|stop|offset)_?(ms|msec|milliseconds?|samples?|frames?)", re.IGNORECASE)
AGREE = 0.01  # seconds by which a duration may differ from end less start

Placed = Mapping[str, Row]  # place in the file -> row


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
    return manifest_of(read_rows(path, encoding), path, root)


def manifest_of(table: Rows, path: Path, root: Path | None = None) -> Manifest:
    """Make a manifest of rows, wherever they were found.

    Args:
        table: the rows.
        path: where they were found, for messages; relative paths of sounds are taken from its folder.
        root: another folder to take them from.

    Raises:
        SereneError: as of a table.
    """
    folder = root or path.parent
    names = _names(table, path)
    rows, further = _columns(table, names)
    spelt = whole_words(rows.values())
    for place, row in rows.items():
        row["audio"] = _written(str(row.get("audio") or ""), folder)
        if str(row.get("speaker")).strip().lower() == UNKNOWN_SPEAKER.lower():
            row["speaker"] = UNKNOWN_SPEAKER
        _times(row, f"{path}, {place}")
    rows, equal = _once(rows)
    _cut_out(rows, path)
    clips = _clips(rows, path)
    clips = [replace(clip, audio=_located(folder, clip.audio)) for clip in clips]
    left_out = [LeftOut(c.id, c.audio, f"no such file: {c.audio}") for c in clips if not inside.is_file(c.audio)]
    if left_out and len(left_out) == len(clips):
        taken = f"taken from {folder}" if root else "taken from the table's folder, or from --root FOLDER"
        raise NothingLeft(
            f"None of the {len(clips)} files that {path} lists is there, for example {quoted(clips[0].audio)}. "
            f"Relative paths are {taken}. {quoted(' '.join(table.remarks))}".rstrip(),
            left_out,
        )
    absent = {item.audio for item in left_out}
    remarks = list(table.remarks)
    remarks += [f"Equal rows, counted once: {len(equal)}, such as {equal[0]}."] if equal else []
    remarks += [*further, *spelt]
    if "speaker" not in names.values():
        remarks.append(f"No speaker is known: all are {UNKNOWN_SPEAKER}, whom no protocol tests.")
    return Manifest(tuple(c for c in clips if c.audio not in absent), tuple(left_out), tuple(remarks)).check()


def _names(table: Rows, path: Path) -> dict[str, str]:
    """Map the table's column names to a manifest's; a column under its own name comes before its aliases."""
    present = {name: plain(name) for row in table.rows.values() for name in row}
    names: dict[str, str] = {}
    for column in ("audio", "end", *(column for column in COLUMNS if column != "audio")):
        accepted = (column, *ALIASES.get(column, ()))
        accepted += ("id", *ALIASES["id"]) if column == "audio" else ()
        accepted += ("offset",) if column == "end" and "onset" in present.values() else ()
        found = [name for alias in accepted for name, lower in present.items() if lower == alias and name not in names]
        if found:
            names[found[0]] = column
        elif column in ("audio", "speaker") and (table.headed or "emotion" not in present):
            line = quoted(" ".join(map(str, next(iter(table.rows.values())).values())))
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


def _columns(table: Rows, names: Mapping[str, str]) -> tuple[dict[str, Row], list[str]]:
    """Give the rows under a manifest's column names; of the further columns, text is left out. A remark names both."""
    extra = sorted({name for row in table.rows.values() for name in row} - set(names) - set(COLUMNS))
    ignored = [name for name in extra if not all(_is_number(row.get(name)) for row in table.rows.values())]
    found = (("Text columns ignored", ignored), ("Numeric columns kept", [n for n in extra if n not in ignored]))
    shared = {} if "speaker" in names.values() else {"speaker": UNKNOWN_SPEAKER}
    rows = {
        place: {names.get(k, k): v for k, v in row.items() if k not in ignored} | shared
        for place, row in table.rows.items()
    }
    said = [f"{what}: {quoted(', '.join(columns))}." for what, columns in found if columns]
    return rows, said


def _is_number(value: Any) -> bool:
    try:
        return is_missing(value) or math.isfinite(float(value))
    except (TypeError, ValueError, OverflowError):
        return False


def _written(audio: str, folder: Path) -> str:
    """Write a path as this system does."""
    audio = PLACEHOLDER.sub("", audio.strip())
    return audio if "\\" not in audio or os.path.isfile(folder / audio) else audio.replace("\\", "/")


def _located(folder: Path, named: str) -> str:
    """Find a sound that may be named without its extension."""
    placed = below(folder, named)
    audio = Path(placed)
    if inside.parted(placed) or os.path.isfile(placed) or audio.suffix.lower() in DECODED:
        return placed
    ended = (audio.with_name(audio.name + end) for known in DECODED for end in (known, known.upper()))
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


def _cut_out(rows: Placed, path: Path) -> None:
    """Make of each segment's end its duration, in place; a segment that ends nowhere is refused."""
    files = Counter(row["audio"] for row in rows.values())
    for place, row in rows.items():
        start, length, end = (float(row.get(column, 0)) for column in ("start", "duration", "end"))
        if "end" in row:
            if end <= start or (length and abs(end - start - length) > AGREE):
                also = f" and duration {length:g}" if length else ""
                raise SereneError(
                    f"{path}, {place}: start {start:g}, end {end:g}{also} contradict each other. Times are seconds "
                    "from the beginning of the sound's file."
                )
            row["duration"] = row.get("duration", round(end - start, 9))
            del row["end"]
        elif "start" in row and "duration" not in row and (start or files[row["audio"]] > 1):
            raise SereneError(
                f"{path}, {place}: start is {start:g}, and no end or duration says how far the clip goes. Add one of "
                "these columns; where each file is one clip, leave the column start out."
            )


def _once(rows: Placed) -> tuple[dict[str, Row], list[str]]:
    """Keep the first of equal rows; give the places of the others."""
    first: dict[str, str] = {}
    for place, row in rows.items():
        first.setdefault(repr(sorted((name, str(value)) for name, value in row.items())), place)
    kept = {place: rows[place] for place in first.values()}
    return kept, [place for place in rows if place not in kept]


def _clips(rows: Placed, path: Path) -> list[Utterance]:
    """Make the clips of different rows; two of them with one id contradict each other."""
    _identify(rows.values())
    places: dict[str, str] = {}
    clips = []
    for place, row in rows.items():
        clips.append(utterance_from(row, f"{path}, {place}"))
        other = places.setdefault(clips[-1].id, place)
        if other != place:
            twin = rows[other]
            differ = next(name for name in (*row, *twin) if str(row.get(name)) != str(twin.get(name)))
            values = " and ".join(f"'{quoted(one.get(differ, ''), 100)}'" for one in (twin, row))
            raise SereneError(
                f"{path}: {other} and {place} are both '{quoted(clips[-1].id, 100)}' and differ in {differ}: {values}. "
                "Delete one of them, or give each an id of its own."
            )
    return clips


def _identify(rows: Iterable[Row]) -> None:
    """Name the rows that have no id, in place, by their path; where clips share one, by what tells them apart."""
    nameless = [row for row in rows if row.get("audio") and not row.get("id")]
    stems = [Path(str(row["audio"])).with_suffix("").as_posix() for row in nameless]
    paths = [str(row["audio"]) for row in nameless]
    stem_counts, path_counts = Counter(stems), Counter(paths)
    for row, stem, path in zip(nameless, stems, paths, strict=True):
        alone = path if path_counts[path] == 1 else f"{stem}#{row.get('start') or 0}"
        row["id"] = stem if stem_counts[stem] == 1 else alone
