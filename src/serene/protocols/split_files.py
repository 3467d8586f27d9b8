"""Anybody's split files: ours, EmoBox's JSON lines, s3prl's JSON, CSV and plain lists, told apart by what they hold.

=================  ==================================================================================================
ours               CSV or JSON lines with a column `part` or `split` (and perhaps `fold`), such as `predictions.csv`
EmoBox             JSON lines with `key` and `wav`, one file per part (`fold_1/cremad_train_fold_1.jsonl`)
s3prl              a JSON object with `meta_data`, a list of rows with `path` (`Session1/train_meta_data.json`)
CSV, TSV           a header that names an id or a path, and perhaps a part
list               one id or path on a line (or one speaker, where a list of speakers is wanted)
=================  ==================================================================================================

Any of them may be packed with gzip. A part that no column gives is taken from the file's name.
"""

from __future__ import annotations

import csv
import gzip
import io
import itertools
import json
import re
import zlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from serene.corpora.table import ALIASES
from serene.errors import SereneError

COLUMNS = {
    "id": ("id", *ALIASES["id"]),
    "path": ("audio", *ALIASES["audio"], "audio_name"),
    "part": ("part", "split", "set", "split_set", "partition", "subset"),
    "fold": ("fold",),
    "speaker": ("speaker", *ALIASES["speaker"], "spkrid"),
}
EXTENSION = re.compile(r"\.(wav|flac|ogg|opus|mp3|m4a|aiff?|au|sph)$", re.IGNORECASE)
PART_NAMES = {
    "train": ("train", "training", "trn"),
    "validation": ("validation", "valid", "val", "development", "dev"),
}

Tail = tuple[str, ...]  # a path's components from the file's name upwards, the name without its extension
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a split file.

    Attributes:
        name: the clip as the file calls it: its id, or its path where there is no id.
        path: its path, or the name again.
        part: train, validation, test, test1, ...; or what else the file calls it.
        fold: the fold's name; empty where the file knows none.
    """

    name: str
    path: str
    part: str
    fold: str = ""


def read_split_files(paths: Sequence[str | Path]) -> list[Entry]:
    """Read one file per part, or files with a part column; the same clip in one part of one fold counts once.

    Raises:
        SereneError: a file that cannot be read or is none of the known kinds, or fewer than two parts in all.
    """
    read = {Path(path): _entries(Path(path)) for path in paths}
    folds = _folds_from_names(read)
    entries = dict.fromkeys(
        entry if entry.fold else replace(entry, fold=folds.get(path, "")) for path in read for entry in read[path]
    )
    parts = sorted({entry.part for entry in entries})
    if len(parts) < 2:
        raise SereneError(
            f"The split files hold {'the part ' + parts[0] if parts else 'nothing'} only; two parts or more were "
            "expected. Give one file per part, or a file with a column `part`."
        )
    return list(entries)


def read_names(path: str | Path) -> tuple[str, ...]:
    """Read a list of clips, by ids or paths, or where a table has neither, of speakers; each name once.

    Raises:
        SereneError: a file that cannot be read, is empty, has a row without a name, or holds several parts.
    """
    rows = list(_rows(Path(path)))
    names = [next((name for kind in ("id", "path", "speaker") if (name := _value(row, kind))), "") for row in rows]
    if not names:
        raise SereneError(f"The list {path} is empty.")
    if "" in names:
        raise SereneError(f"{path}: a row has no id, path or speaker: {dict(rows[names.index('')])}.")
    parts = sorted({part for row in rows if (part := _value(row, "part"))})
    if len(parts) > 1:
        raise SereneError(f"The list {path} holds several parts: {', '.join(parts)}. Give each part a list of its own.")
    return tuple(dict.fromkeys(names))


def part_of(text: str) -> str | None:
    """Find the part's name in a file's name or a column's value; None where there is none.

    >>> part_of("cremad_train_fold_1.jsonl"), part_of("Development"), part_of("Test1"), part_of("spare")
    ('train', 'validation', 'test1', None)
    """
    for word in re.split(r"[^a-z0-9]+", text.lower()):
        for part, names in PART_NAMES.items():
            if word in names:
                return part
        if word.startswith("test"):
            return word if re.fullmatch(r"test\d+", word) else "test"
    return None


def find(entries: Sequence[Entry], clips: Iterable[tuple[str, str, T]]) -> dict[Entry, list[T]]:
    """Find what each entry means, in one pass over the clips: by id, else by the end of its path.

    Folders above, extensions and the direction of slashes may differ. As many components of a path are compared as tell
    the entries of every part apart; of several clips that agree in these, those that agree the furthest up are taken.

    Args:
        entries: of split files.
        clips: id, path and whatever is to be returned for the clip; of any number.

    Returns:
        entry -> one clip, or several where one file holds several; entries without a clip are absent.
    """
    by_id, by_tail = defaultdict(list), defaultdict(list)
    depth = _depth(entries)
    for entry in entries:
        by_id[entry.name].append(entry)
        by_tail[_tail(entry.path)[:depth]].append(entry)
    found: defaultdict[Entry, list[tuple[float, T]]] = defaultdict(list)
    for name, path, clip in clips:
        agreement: dict[Entry, float] = {}
        for tail in (_tail(path), _tail(name)):  # an id is often the official file's name, whatever this copy calls it
            for entry in (entry for n in range(1, depth + 1) for entry in by_tail.get(tail[:n], ())):
                agreement[entry] = max(agreement.get(entry, 0), _agreement(tail, _tail(entry.path)))
        agreement |= dict.fromkeys(by_id.get(name, ()), float("inf"))
        for entry, likeness in agreement.items():
            found[entry].append((likeness, clip))
    best = {entry: max(likeness for likeness, _ in candidates) for entry, candidates in found.items()}
    return {entry: [clip for likeness, clip in found[entry] if likeness == best[entry]] for entry in found}


def _entries(path: Path) -> list[Entry]:
    named = part_of(path.name) or path.stem
    entries = []
    for row in _rows(path):
        clip, audio, part, fold = (_value(row, kind) for kind in ("id", "path", "part", "fold"))
        if not (clip or audio):
            raise SereneError(f"{path}: a row has neither an id nor a path: {dict(row)}.")
        entries.append(Entry(clip or audio, audio or clip, (part_of(part) or part) if part else named, fold))
    if not entries:
        raise SereneError(f"The split file {path} is empty.")
    return entries


def _value(row: Mapping[str, Any], kind: str) -> str:
    found = (str(row[column]) for column in COLUMNS[kind] if row.get(column) not in (None, ""))
    return next(found, "")


def _rows(path: Path) -> Iterable[Mapping[str, Any]]:
    text = _text(path)
    if text.lstrip()[:1] in ("{", "["):
        return [_lower(row, path) for row in _json_rows(text, path)]
    header = text.partition("\n")[0].lower()
    delimiter = max(",\t;", key=header.count)
    columns = [name.strip().strip('"') for name in header.split(delimiter)]
    if any(column in columns for kind in ("id", "path", "speaker") for column in COLUMNS[kind]):
        body = io.StringIO(text.partition("\n")[2])
        return csv.DictReader(body, fieldnames=columns, delimiter=delimiter, restkey="(more)")
    return [{"id": line.strip(), "path": line.strip()} for line in text.splitlines() if line.strip()]


def _text(path: Path) -> str:
    try:
        data = path.read_bytes()
        return (gzip.decompress(data) if data.startswith(b"\x1f\x8b") else data).decode("utf-8-sig")
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise SereneError(f"Cannot read the split file {path}: {error}") from error


def _json_rows(text: str, path: Path) -> list[Any]:
    try:
        whole = json.loads(text)
    except json.JSONDecodeError:
        whole = []
        for number, line in enumerate(text.splitlines(), 1):
            try:
                whole += [json.loads(line)] if line.strip() else []
            except json.JSONDecodeError as error:
                raise SereneError(f"{path}, line {number}: not JSON ({error}).") from error
    if isinstance(whole, dict):
        return whole["meta_data"] if isinstance(whole.get("meta_data"), list) else [whole]
    return whole


def _lower(row: Any, path: Path) -> dict[str, Any]:
    if isinstance(row, str):
        return {"id": row, "path": row}
    if not isinstance(row, dict):
        raise SereneError(f"{path}: a JSON object or an id for each clip was expected, not {row!r}.")
    return {str(key).lower(): value for key, value in row.items()}


def _folds_from_names(read: Mapping[Path, Sequence[Entry]]) -> dict[Path, str]:
    """Tell folds apart by `fold_1` or `Session1` in the paths, if that gives every fold two parts; else not at all."""
    foldless = [path for path, entries in read.items() if not entries[0].fold]
    folds = {}
    parts = defaultdict(set)
    for path in foldless:
        found = [
            re.search(r"(?:fold|session)[ _-]?(\d+)", text, re.IGNORECASE) for text in (path.name, path.parent.name)
        ]
        folds[path] = next((match.group(1) for match in found if match), "")
        parts[folds[path]].update(entry.part for entry in read[path])
    whole = "" not in parts and all(len(names) > 1 for names in parts.values())
    return folds if whole else {}


def _tail(path: str) -> Tail:
    """Turn a path round, file name first and without its extension, so that beginnings can be compared."""
    return tuple(reversed(EXTENSION.sub("", path.replace("\\", "/")).strip("/").split("/")))


def _agreement(a: Tail, b: Tail) -> int:
    return sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], zip(a, b, strict=False)))


def _depth(entries: Sequence[Entry]) -> int:
    """Return how many components, from the file's name upwards, tell the entries of every part apart."""
    paths: defaultdict[tuple[str, str], set[Tail]] = defaultdict(set)
    for entry in entries:
        paths[entry.fold, entry.part].add(_tail(entry.path))
    longest = max(len(tail) for tails in paths.values() for tail in tails)
    apart = (
        depth
        for depth in range(1, longest + 1)
        if all(len({tail[:depth] for tail in tails}) == len(tails) for tails in paths.values())
    )
    return next(apart, longest)
