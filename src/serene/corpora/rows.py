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

import codecs
import csv
import gzip
import io
import json
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serene.corpora.spelling import plain
from serene.errors import SereneError, quoted
from serene.files import regular
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
MARKS = (  # byte-order marks; the longer ones first, since they begin with the shorter
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
    (codecs.BOM_UTF8, "utf-8"),
)
SOUND = f"(?:{'|'.join(map(re.escape, (*DECODED, *NOT_DECODED)))})"  # how a path of one ends
LISTED = re.compile(rf'"?(.+?{SOUND})"?(?:(\t|\s*[,;|]\s*|\s+)(\S.*))?', re.IGNORECASE)
PARTED = re.compile(rf'"?(.+?)"?(?:\s*[,;|]\s*|\s+)"?({"|".join(PARTS)}|test\d+)"?', re.IGNORECASE)
DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+")

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows of a file, in order.

    Attributes:
        rows: where each row stands, for messages, such as `row 2 (line 3)`, -> its columns -> values; names as the file
            has them, without blanks around.
        headed: whether the file names its columns.
        remarks: what was skipped or guessed.
    """

    rows: dict[str, Row]
    headed: bool
    remarks: tuple[str, ...]


def read_rows(path: Path, encoding: str | None = None) -> Rows:
    """Read a file of rows; empty rows are skipped and counted.

    Raises:
        SereneError: a file that cannot be read, is in another encoding, holds no row, or what is none (named by its
            place).
    """
    lines = [line.removesuffix("\n") for line in io.StringIO(_text(path, encoding), newline=None)]
    first = next((line for line in lines if line.strip()), "")
    try:
        if path.name.removesuffix(".gz").endswith((".json", ".jsonl", ".ndjson")) or first.lstrip()[:1] in ("{", "["):
            found = _json_rows(lines)
        else:
            names = {plain(_bare(name)) for name in next(_reader([first], first), ())}
            found = _without_header(lines) if KNOWN.isdisjoint(names) else _separated(lines, first)
    except (ValueError, csv.Error, RecursionError) as error:
        raise SereneError(f"{path} cannot be read as a table: {error}.") from error
    if not found.rows:
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


def _text(path: Path, encoding: str | None) -> str:
    try:
        data = regular(path).read_bytes()
        data = gzip.decompress(data) if data.startswith(b"\x1f\x8b") else data
    except (OSError, EOFError, zlib.error) as error:
        raise SereneError(f"Cannot read {path}: {error}") from error
    mark, used = next(((mark, name) for mark, name in MARKS if data.startswith(mark)), (b"", "utf-8"))
    used = encoding if encoding and used == "utf-8" else used
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


def _reader(lines: Sequence[str], first: str) -> Any:
    """Take tables apart at what separates the columns in their first line."""
    delimiter = "\t" if "\t" in first else max(",;|", key=first.count)
    if delimiter not in first and len(words := first.lower().split()) > 1 and KNOWN.issuperset(words):
        delimiter = " "
    quoting = csv.QUOTE_NONE if delimiter == "\t" else csv.QUOTE_MINIMAL
    return csv.reader(lines, delimiter=delimiter, quoting=quoting, skipinitialspace=True)


def _separated(lines: list[str], first: str) -> Rows:
    reader, empty = _reader([*lines, ""], first), 0  # an open quote in the last line then runs on as well
    names: list[str] = []
    rows: dict[str, Row] = {}
    short: list[str] = []
    for line, fields in enumerate(reader, 1):
        place = f"row {len(rows) + 1} (line {line})"
        if reader.line_num != line:
            raise ValueError(
                f'{place} runs over a line break: a quote (") opens a field and none closes it on the line'
            )
        if not any(field.strip() for field in fields):
            empty += line <= len(lines)
        elif not names:
            names = _header(fields)
        elif any(field.strip() for field in fields[len(names) :]):
            raise ValueError(f"{place} has more fields than the header has columns")
        else:
            values = [_value(field, reader.dialect.delimiter) for field in fields]
            rows[place] = {name: value for name, value in zip(names, values, strict=False) if name}
            short += [place] if len(fields) < len(names) else []
    remarks = [f"Empty rows skipped: {empty}."] if empty else []
    remarks += [f"Rows with fewer fields than the header: {len(short)}, such as {short[0]}."] if short else []
    return Rows(rows, True, tuple(remarks))


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


def _without_header(lines: list[str]) -> Rows:
    """Read a list: a path or name on each line; after a path perhaps its label, or its part."""
    rows = {f"line {number}": _listed(line.strip()) for number, line in enumerate(lines, 1) if line.strip()}
    width = len(next(iter(rows.values()), ()))
    for place, fields in rows.items():
        if len(fields) != width:
            raise ValueError(
                f"{place} has {len(fields)} columns and the first line {width}; "
                "a first line that names the columns was expected, such as path,speaker,emotion"
            )
    beside = list(zip(*(fields[1:] for fields in rows.values()), strict=True))
    names = ["split" if all(map(part_of, column)) else f"column {n}" for n, column in enumerate(beside, 2)]
    unnamed = [n for n, name in enumerate(names) if name != "split"]
    if len(unnamed) == 1:
        names[unnamed[0]] = "emotion"
    names = ["audio", *names]
    remarks = (f"The file has no header; each line was read as: {', '.join(names)}.",) if beside else ()
    return Rows({place: dict(zip(names, fields, strict=True)) for place, fields in rows.items()}, False, remarks)


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


def _json_rows(lines: list[str]) -> Rows:
    decode = json.JSONDecoder(object_pairs_hook=_once).decode
    try:
        rows = _objects(decode("\n".join(lines)))
        return Rows({f"row {number}": row for number, row in enumerate(rows, 1)}, True, ())
    except json.JSONDecodeError as error:  # several objects, one on each line
        whole = error
    placed: dict[str, Row] = {}
    for number, line in enumerate(lines, 1):
        try:
            found = _objects([decode(line)]) if line.strip() else ()
        except json.JSONDecodeError as error:
            number, error = (number, error) if placed else (whole.lineno, whole)
            raise ValueError(f"line {number}: not JSON ({error.msg})") from error
        placed |= {f"row {len(placed) + 1} (line {number})": row for row in found}
    return Rows(placed, True, ())


def _once(pairs: list[tuple[str, Any]]) -> Row:
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
