"""Your own corpus: a CSV, TSV, JSON or JSON-lines file of path, speaker and emotion.

Every row is a clip. Needed are the sound's path (relative to the table's folder, or absolute) and the speaker; the
other columns of a manifest are read where they are there, under their own names or these:

    audio         wav, audio_filepath, audio_path, filepath, filename, path, file
    speaker       speaker_id, spk, spk_id, talker
    emotion       label, emo
    id            key, utt_id, utterance_id, utt, name (without any: the path without its extension)
    start         offset, begin (seconds)
    duration      length (seconds)
    sample_rate   sampling_rate; gender: sex; language: lang; corpus: dataset; text_id: sentence_id

Short or adjective emotion names (`ang`, `happy`) become whole words, as a remark says. Further numeric columns are
kept as targets; further text columns are ignored, with a remark. A JSON file is a list of rows, or an object of id ->
row.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

from serene.corpora.manifest import COLUMNS, LeftOut, Manifest, utterance_from
from serene.corpora.spelling import whole_words
from serene.errors import SereneError

HOME = "A table is your own: a CSV, TSV, JSON or JSON-lines file with a row for each clip."
LICENCE = "your own"
CITATION = "none"

ALIASES = {
    "id": ("key", "utt_id", "utterance_id", "utt", "name"),
    "audio": ("wav", "audio_filepath", "audio_path", "filepath", "filename", "path", "file"),
    "speaker": ("speaker_id", "spk", "spk_id", "talker"),
    "emotion": ("label", "emo"),
    "start": ("offset", "begin"),
    "duration": ("length",),
    "sample_rate": ("sampling_rate",),
    "gender": ("sex",),
    "language": ("lang",),
    "corpus": ("dataset",),
    "text_id": ("sentence_id",),
}
EXPECTED = "a CSV, TSV, JSON or JSON-lines file with at least the columns audio and speaker"

Row = dict[str, Any]


def read(path: Path) -> Manifest:
    """Read a table; no sound is decoded. A row whose file is not there is left out.

    Raises:
        SereneError: no such file, not a table, a column or value that is missing or ill-typed (the message names the
            row and the accepted column names), or none of its sound files is there.
    """
    rows = _rows(path)
    names = _names(rows, path)
    extra = {name for row in rows for name in row} - set(names) - set(COLUMNS)
    ignored = {name for name in extra if not all(_is_number(row.get(name)) for row in rows)}
    rows = [{names.get(key, key): value for key, value in row.items() if key not in ignored} for row in rows]
    spelt = whole_words(rows)
    _identify(rows)
    clips = [utterance_from(row, f"{path}, row {number}") for number, row in enumerate(rows, 1)]
    clips = [replace(clip, audio=str(path.parent / clip.audio)) for clip in clips]
    left_out = [LeftOut(c.id, c.audio, f"no such file: {c.audio}") for c in clips if not Path(c.audio).is_file()]
    if left_out and len(left_out) == len(clips):
        raise SereneError(
            f"None of the {len(clips)} files that {path} lists is there, for example {clips[0].audio}. "
            "Relative paths are taken from the table's folder."
        )
    absent = {item.audio for item in left_out}
    remarks = [f"Text columns ignored: {', '.join(sorted(ignored))}."] if ignored else []
    remarks += spelt
    return Manifest(tuple(c for c in clips if c.audio not in absent), tuple(left_out), tuple(remarks)).check()


def _rows(path: Path) -> list[Row]:
    if not path.is_file():
        wrong = f"{path} is a folder" if path.is_dir() else f"There is no file {path}"
        raise SereneError(f"{wrong}. Expected: {EXPECTED}. {HOME} Licence: {LICENCE}.")
    try:
        text = path.read_text(encoding="utf-8-sig")
        return _json(text) if path.suffix.lower() not in (".csv", ".tsv", ".txt") else _separated(text)
    except (OSError, ValueError, csv.Error) as error:
        raise SereneError(f"{path} cannot be read as a table: {error}. Expected: {EXPECTED}.") from error


def _separated(text: str) -> list[Row]:
    header = text.partition("\n")[0]
    rows = list(csv.DictReader(io.StringIO(text, newline=""), delimiter=max(",\t;", key=header.count)))
    for number, row in enumerate(rows, 1):
        if None in row:
            raise ValueError(f"row {number} has more fields than the header has columns")
    return rows


def _json(text: str) -> list[Row]:
    try:
        data = json.loads(text)
    except json.JSONDecodeError:  # several objects, one on each line
        data = [json.loads(line) for line in text.splitlines() if line.strip()]
    if isinstance(data, dict) and all(isinstance(row, dict) for row in data.values()):
        data = [{"id": name} | row for name, row in data.items()]
    data = [data] if isinstance(data, dict) else data  # JSON lines of a single line
    if not isinstance(data, list) or not all(isinstance(row, dict) for row in data):
        raise ValueError("JSON of another shape than a list of objects, an object of id -> object, or an object a line")
    return data


def _names(rows: list[Row], path: Path) -> dict[str, str]:
    """Map the table's column names to a manifest's; a column under its own name comes before its aliases."""
    present = {name: name.strip().lower() for row in rows for name in row}
    names: dict[str, str] = {}
    for column in COLUMNS:
        accepted = (column, *ALIASES.get(column, ()))
        found = [name for alias in accepted for name, lower in present.items() if lower == alias]
        if found:
            names[found[0]] = column
        elif rows and column in ("audio", "speaker"):
            raise SereneError(
                f"{path} has no column for the {column}. It has: {', '.join(present)}. "
                f"Accepted names: {', '.join(accepted)}. Every clip needs its sound and its speaker, "
                "since splits are made by speaker."
            )
    return names


def _is_number(value: Any) -> bool:
    try:
        return value is None or value == "" or math.isfinite(float(value))
    except (TypeError, ValueError):
        return False


def _identify(rows: list[Row]) -> None:
    """Name the rows that have no id, in place, by their path; where clips share one, by what tells them apart."""
    nameless = [row for row in rows if row.get("audio") and not row.get("id")]
    stems = [Path(str(row["audio"])).with_suffix("").as_posix() for row in nameless]
    paths = [str(row["audio"]) for row in nameless]
    stem_counts, path_counts = Counter(stems), Counter(paths)
    for row, stem, path in zip(nameless, stems, paths, strict=True):
        alone = path if path_counts[path] == 1 else f"{stem}#{row.get('start') or 0}"
        row["id"] = stem if stem_counts[stem] == 1 else alone
