"""Anybody's rows: CSV, TSV, JSON, JSON lines or a list without a header, each row with its place in the file.

=============  ======================================================================================================
CSV            separated by `,`, `|` or `;` (where `0,5` is a number); a quoted field ends on the line where it begins
TSV            separated by tabs; a quote is a character like any other
JSON lines     an object, or the name of a clip, on each line
JSON           a list of these; `{id: {...}}`, as SpeechBrain and EmoBox have it; `{"train": [...], "test": [...]}`; an
               object that holds one list of clips, as s3prl has it; an object of columns, as pandas writes it
list           the path or name of a clip on each line; behind it perhaps its part, and behind a path its label
=============  ======================================================================================================

What a file is, is told by what it holds; any may be packed with gzip. Text is UTF-8, or UTF-16 or UTF-32 with a
byte-order mark; any other encoding has to be named. Every line is one row: nothing runs over a line break unseen.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from serene.corpora.lines import Lines, lines_of
from serene.corpora.row_columns import Row, Rows
from serene.corpora.spelling import plain
from serene.errors import SereneError, quoted
from serene.sound import DECODED, NOT_DECODED

ALIASES = {
    "id": ("key", "utt_id", "utterance_id", "utt", "file_id", "name"),
    "audio": (
        *("wav", "audio_filepath", "audio_path", "filepath", "filename", "path", "file"),
        *("file_name", "file_path", "audio_name", "audio_file", "wav_file", "wav_path", "sound", "clip"),
    ),
    "speaker": ("speaker_id", "spk", "spk_id", "spkrid", "talker"),
    "emotion": ("label", "emo"),
    "start": ("onset", "offset", "begin", "start_time", "begin_time", "start_sec", "start_seconds", "xmin"),
    "end": ("stop", "end_time", "end_sec", "end_seconds", "xmax"),
    "duration": ("length",),
    "split": ("part", "set", "split_set", "partition", "subset", "usage"),
    "sample_rate": ("sampling_rate",),
    "gender": ("sex",),
    "language": ("lang",),
    "corpus": ("dataset",),
    "text_id": ("sentence_id",),
}
KNOWN = {name for column, aliases in ALIASES.items() for name in (column, *aliases)}
PARTS = {  # as corpora call them -> as they are called here
    **dict.fromkeys(("train", "training", "trn"), "train"),
    **dict.fromkeys(("validation", "valid", "val", "development", "dev", "publictest"), "validation"),
    **dict.fromkeys(("test", "privatetest"), "test"),
}
SOUND = f"(?:{'|'.join(map(re.escape, (*DECODED, *NOT_DECODED)))})"  # how a path of one ends
LISTED = re.compile(rf'"?(.+?{SOUND})"?(?:(\t|\s*[,;|]\s*|\s+)(\S.*))?', re.IGNORECASE)
PARTED = re.compile(rf'"?(.+?)"?(?:\s*[,;|]\s*|\s+)"?({"|".join(PARTS)}|test\d+)"?', re.IGNORECASE)
DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+")


def read_rows(path: Path, encoding: str | None = None) -> Rows:
    """Read a file of rows, line by line; empty rows are skipped and counted. One JSON value is decoded as a whole.

    Raises:
        SereneError: a file that cannot be read, is in another encoding, holds no row, or what is none (named by its
            place).
    """
    lines = lines_of(path, encoding)
    first = next((line for line in lines() if line.strip()), "")
    try:
        if path.name.removesuffix(".gz").endswith((".json", ".jsonl", ".ndjson")) or first.lstrip()[:1] in ("{", "["):
            found = _json_rows(lines)
        else:
            names = {plain(_bare(name)) for name in next(_reader([first], first), ())}
            found = _without_header(lines()) if KNOWN.isdisjoint(names) else _separated(lines(), first)
    except (ValueError, csv.Error, RecursionError) as error:
        raise SereneError(f"{path} cannot be read as a table: {error}.") from error
    if not found:
        raise SereneError(f"{path} is empty: a row for each clip was expected, and it holds none.")
    return found


def part_of(text: str) -> str | None:
    """Find the part's name in a file's name or a column's value; None where there is none.

    >>> part_of("cremad_train_fold_1.jsonl"), part_of("Development"), part_of("Test1"), part_of("spare")
    ('train', 'validation', 'test1', None)
    """
    for word in re.split(r"[^a-z0-9]+", text.lower()):
        if word in PARTS or word.startswith("test"):
            return PARTS.get(word, word if re.fullmatch(r"test\d+", word) else "test")
    return None


def _reader(lines: Iterable[str], first: str) -> Any:
    """Take tables apart at what separates the columns in their first line."""
    delimiter = "\t" if "\t" in first else max(",;|", key=first.count)
    if delimiter not in first and len(words := first.lower().split()) > 1 and KNOWN.issuperset(words):
        delimiter = " "
    quoting = csv.QUOTE_NONE if delimiter == "\t" else csv.QUOTE_MINIMAL
    return csv.reader(lines, delimiter=delimiter, quoting=quoting, skipinitialspace=True)


def _on_line(number: int, line: float) -> str:
    return f"row {number} (line {line:.0f})"


def _separated(lines: Iterable[str], first: str) -> Rows:
    reader = _reader(chain(lines, [""]), first)  # an open quote in the last line then runs on as well
    rows, names = Rows(_on_line), list[str]()
    empty, short, example = -1, 0, ""
    for line, fields in enumerate(reader, 1):
        place = (len(rows) + 1, line)
        if reader.line_num != line:
            raise ValueError(
                f'{_on_line(*place)} runs over a line break: a quote (") opens a field and none closes it on the line'
            )
        if not any(field.strip() for field in fields):
            empty += 1
        elif not names:
            names = _header(fields)
        elif any(field.strip() for field in fields[len(names) :]):
            raise ValueError(f"{_on_line(*place)} has more fields than the header has columns")
        else:
            values = [_value(field, reader.dialect.delimiter) for field in fields]
            rows.append({name: value for name, value in zip(names, values, strict=False) if name}, float(line))
            if len(fields) < len(names):
                short, example = short + 1, example or _on_line(*place)
    remarks = [f"Empty rows skipped: {empty}."] if empty else []
    remarks += [f"Rows with fewer fields than the header: {short}, such as {example}."] if short else []
    rows.remarks = tuple(remarks)
    return rows


def _header(fields: Sequence[str]) -> list[str]:
    names = [_bare(field) for field in fields]
    if twice := [name for name in names if name and names.count(name) > 1]:
        raise ValueError(f"the column '{quoted(twice[0])}' occurs twice")
    return names


def _bare(field: str) -> str:
    """Take a field out of quotes that stand around the whole of it, as some writers of tab-separated files put them."""
    field = field.strip()
    return field[1:-1] if len(field) > 1 and field[0] == field[-1] == '"' else field


def _value(field: str, delimiter: str) -> str:
    if delimiter == ";" and DECIMAL_COMMA.fullmatch(field.strip()):
        return field.replace(",", ".")
    return _bare(field) if delimiter == "\t" else field


def _without_header(lines: Iterable[str]) -> Rows:
    """Read a list: a path or name on each line; after a path perhaps its label, or its part."""
    rows, width, uneven = Rows(lambda _, line: f"line {line:.0f}", headed=False), 0, ""
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        fields = _listed(line.strip())
        width = width or len(fields)
        if len(fields) != width and not uneven:
            uneven = f"line {number} has {len(fields)} columns and the first line {width}; "
        beside = {f"column {n}": field for n, field in enumerate(fields[1:], 2)}
        rows.append({"audio": fields[0], **beside}, float(number))
    if uneven:
        raise ValueError(f"{uneven}a first line that names the columns was expected, such as path,speaker,emotion")
    names = {name: name for name in rows.names}
    names |= {name: "split" for name in rows.names[1:] if all(map(part_of, rows.values(name)))}
    if len(unnamed := [name for name in rows.names[1:] if names[name] != "split"]) == 1:
        names[unnamed[0]] = "emotion"
    if width > 1:
        rows = rows.replacing({names[name]: value for name, value in row.items()} for _, row in rows)
        rows.remarks = (f"The file has no header; each line was read as: {', '.join(names.values())}.",)
    return rows


def _listed(line: str) -> list[str]:
    found = LISTED.fullmatch(line)
    if not found:
        parted = PARTED.fullmatch(line)
        return [*parted.groups()] if parted else [_bare(line)]
    path, separator, rest = found.groups()
    between = None if separator is None else "\t" if "\t" in separator else separator.strip() or None
    if rest and LISTED.fullmatch(rest):
        raise ValueError(f"a line names two sounds, and a row is one clip: {quoted(line)}")
    return [path, *map(_bare, rest.split(between) if rest else ())]


def _json_rows(lines: Lines) -> Rows:
    decode = json.JSONDecoder(object_pairs_hook=once).decode
    whole: json.JSONDecodeError | None = None
    if not _are_values(lines(), decode):
        rows = Rows(lambda number, _: f"row {number}")
        try:
            for row in _objects(decode("\n".join(lines()))):
                rows.append(row)
            return rows
        except json.JSONDecodeError as error:
            whole = error
    rows = Rows(_on_line)
    for number, line in enumerate(lines(), 1):
        try:
            found = _objects([decode(line)]) if line.strip() else ()
        except json.JSONDecodeError as error:
            number, error = (number, error) if rows or not whole else (whole.lineno, whole)
            raise ValueError(f"line {number}: not JSON ({error.msg})") from error
        for row in found:
            rows.append(row, float(number))
    return rows


def _are_values(lines: Iterator[str], decode: Callable[[str], Any]) -> bool:
    """Tell several values of JSON, one on each line, by the first and that something follows."""
    written = (line for line in lines if line.strip(" \t"))
    first, second = next(written, ""), next(written, None)
    if second is None:
        return False
    try:
        decode(first)
    except json.JSONDecodeError:
        return False
    return True


def once(pairs: list[tuple[str, Any]]) -> Row:
    """Refuse an object with a key twice, of which Python would keep the last without a word."""
    row = dict(pairs)
    if len(row) < len(pairs):
        twice = next(name for name in row if sum(name == key for key, _ in pairs) > 1)
        raise ValueError(f"the key '{quoted(twice)}' occurs twice in one object")
    return row


def _objects(data: Any) -> Iterator[Row]:
    """Give the rows of a JSON value, whichever of the known shapes it has."""
    if isinstance(data, list):
        for item in data:
            if not isinstance(item, str | dict):
                raise ValueError(f"an object or an id for each clip was expected, not {quoted(json.dumps(item))}")
            yield {"audio": item} if isinstance(item, str) else {str(name).strip(): item[name] for name in item}
        return
    if not isinstance(data, dict):
        raise ValueError(f"a list or an object was expected, not {quoted(json.dumps(data))}")
    inside = list(data.values())
    clips = [value for value in inside if isinstance(value, list) and value and isinstance(value[0], dict)]
    headed = not KNOWN.isdisjoint(map(plain, data))
    if all(map(part_of, data)) and all(map(_nested, inside)):
        for part, value in data.items():
            yield from ({**row, "split": part} for row in _objects(value))
    elif headed and _nested(data):
        yield from _across(data)
    elif len(clips) == 1 and not headed:
        yield from _objects(clips[0])
    elif all(isinstance(value, dict) and value for value in inside):
        yield from ({"id": name, **row} for name, row in data.items())
    else:
        yield from _objects([data])


def _across(table: Mapping[str, Any]) -> Iterator[Row]:
    columns = [value if isinstance(value, list) else list(value.values()) for value in table.values()]
    if len(set(map(len, columns))) > 1:
        raise ValueError("its columns have different numbers of values")
    return (dict(zip(table, cells, strict=True)) for cells in zip(*columns, strict=True))


def _nested(value: Any) -> bool:
    """Tell whether a list, or an object of nothing but lists and objects: no row of a table."""
    inside = value.values() if isinstance(value, dict) else ()
    return isinstance(value, list | dict) and all(isinstance(one, list | dict) for one in inside)
