"""Anybody's split files: ours, EmoBox's JSON lines, s3prl's JSON, CSV and plain lists, told apart by what they hold.

=================  ==================================================================================================
ours               CSV or JSON lines with a column `part` or `split` (and perhaps `fold`), such as `predictions.csv`
EmoBox             JSON lines with `key` and `wav`, one file per part (`fold_1/cremad_train_fold_1.jsonl`)
s3prl              a JSON object with `meta_data`, a list of rows with `path` (`Session1/train_meta_data.json`)
list               one id or path on a line, perhaps with a label (or one speaker, where a list of speakers is wanted)
=================  ==================================================================================================

and any other that `serene.corpora.rows` reads. A part that no column gives is taken from the file's name.
"""

from __future__ import annotations

import glob
import itertools
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from serene.corpora.rows import ALIASES, SOUND, Rows, part_of, read_rows
from serene.corpora.spelling import is_missing, plain
from serene.errors import SereneError, quoted

COLUMNS = {
    "id": ("id", *ALIASES["id"]),
    "path": ("audio", *ALIASES["audio"]),
    "part": ("split", *ALIASES["split"]),
    "fold": ("fold",),
    "speaker": ("speaker", *ALIASES["speaker"]),
}
ACCEPTED = f"Columns that name a clip: {', '.join((*COLUMNS['id'], *COLUMNS['path']))}."
EXTENSION = re.compile(f"{SOUND}$", re.IGNORECASE)
SPLIT_FILES = re.compile(r"[^.].*\.(csv|tsv|txt|lst|json|jsonl)(\.gz)?", re.IGNORECASE)

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


def read_split_files(paths: Sequence[str | Path], encoding: str | None = None) -> tuple[list[Entry], list[str]]:
    """Read one file per part, or files with a part column; the same clip in one part of one fold counts once.

    Args:
        paths: files, folders of them, or patterns such as `fold_*/train.csv`.
        encoding: of their text, such as `latin-1`; UTF-8, or what a byte-order mark says, without it.

    Returns:
        The entries, and remarks on what was skipped or guessed.

    Raises:
        SereneError: a file that cannot be read or is none of the known kinds, or fewer than two parts in all.
    """
    tables = {path: read_rows(path, encoding) for path in _files(paths)}
    read = {path: _entries(path, table) for path, table in tables.items()}
    folds = _folds_from_names(read)
    entries = dict.fromkeys(
        entry if entry.fold else replace(entry, fold=folds.get(path, "")) for path in read for entry in read[path]
    )
    parts = sorted({entry.part for entry in entries})
    if len(parts) < 2:
        raise SereneError(
            f"The split files hold {'the part ' + quoted(parts[0]) if parts else 'nothing'} only; two parts or more "
            "were expected. Give one file per part, or a file with a column `part`."
        )
    said: defaultdict[str, list[str]] = defaultdict(list)
    for path, table in tables.items():
        partless = len(table) - len(read[path])
        for remark in (*table.remarks, *([f"Rows without a part, in none: {partless}."] if partless else [])):
            said[remark].append(path.name)
    remarks = [f"{names[0]}{f' and {len(names) - 1} more' * (len(names) > 1)}: {text}" for text, names in said.items()]
    return list(entries), remarks


def read_names(path: str | Path) -> tuple[str, ...]:
    """Read a list of clips, by ids or paths, or where a table has neither, of speakers; each name once.

    Raises:
        SereneError: a file that cannot be read, has no row or one without a name, or holds several parts.
    """
    table = read_rows(Path(path))
    entries = _entries(Path(path), table, ("id", "path", "speaker"))
    parts = sorted({entry.part for entry in entries} | ({"none"} if len(entries) < len(table) else set()))
    if len(parts) > 1:
        raise SereneError(
            f"The list {path} holds several parts: {quoted(', '.join(parts))}. Give each part a list of its own."
        )
    return tuple(dict.fromkeys(entry.name for entry in entries))


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


def _files(paths: Iterable[str | Path]) -> list[Path]:
    """Find the files that are meant: a folder's are those named after a part, or if there are none, all it holds."""
    files: list[Path] = []
    for path in map(Path, paths):
        found = [Path(name) for name in sorted(glob.glob(str(path), recursive=True))] or [path]
        for place in [path] if path.exists() else found:
            inside = sorted(file for file in place.rglob("*") if SPLIT_FILES.fullmatch(file.name) and file.is_file())
            files += [file for file in inside if part_of(file.name)] or inside or [place]
    if absent := [path for path in files if not path.is_file()]:
        wrong = "the folder holds none" if absent[0].is_dir() else "there is no such file"
        raise SereneError(f"Cannot read the split file {absent[0]}: {wrong}. Expected: CSV, TSV, JSON or text files.")
    return list(dict.fromkeys(files))


def _entries(path: Path, table: Rows, kinds: Sequence[str] = ("id", "path")) -> list[Entry]:
    """Read the rows, each named by the first of these kinds that it has; where some have a part, those without none."""
    entries = []
    for place, row in table:
        values = {plain(name): value for name, value in row.items()}
        names = [name for kind in kinds if (name := _value(values, kind))]
        if not names:
            raise SereneError(f"{path}, {place} has no {' or '.join(kinds)}: {quoted(row)}. {ACCEPTED}")
        part, audio, fold = (_value(values, kind) for kind in ("part", "path", "fold"))
        entries.append(Entry(names[0], audio or names[0], part_of(part) or part, fold))
    parted = [entry for entry in entries if entry.part]
    return parted or [replace(entry, part=part_of(path.name) or path.stem) for entry in entries]


def _value(row: Mapping[str, Any], kind: str) -> str:
    found = (str(row[column]).strip() for column in COLUMNS[kind] if not is_missing(row.get(column)))
    return next(found, "")


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
