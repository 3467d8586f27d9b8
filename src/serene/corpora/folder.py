"""The folder of a corpus: its sound files, its tables, the clips made of them; what to say of another folder."""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from serene.corpora.left_out import LeftOut, NothingLeft
from serene.corpora.manifest import Manifest, Utterance
from serene.corpora.utterances import Utterances
from serene.errors import SereneError
from serene.files import regular
from serene.sound import DECODED


def sounds(folder: Path, endings: Collection[str] = DECODED) -> list[Path]:
    """List what `each_sound` gives."""
    return [*each_sound(folder, endings)]


def each_sound(folder: Path, endings: Collection[str] = DECODED) -> Iterator[Path]:
    """Go through the sound files below a folder in the order of their paths; a folder that is not there has none.

    A sound is told by how its name ends, whatever container libsndfile then finds in it. Hidden files and folders are
    no clips and are passed over: above all the `._*` companions that macOS writes beside every file (AppleDouble),
    which carry a clip's name and no sound. Links to folders are followed, each real folder once.

    Raises:
        SereneError: a folder that may not be read, since its clips would be missed without a word.
    """
    visited: set[str] = set()

    def below(place: str) -> Iterator[Path]:
        if (real := os.path.realpath(place)) in visited:
            return
        visited.add(real)
        for name, is_folder in _entries(place):
            path = os.path.join(place, name)
            if is_folder:
                yield from below(path)
            elif os.path.splitext(name)[1].lower() in endings:
                yield Path(path)

    return below(str(folder))


def root_and_sounds(folder: Path, holds: str) -> tuple[Path, list[Path]]:
    """Find the corpus whose sounds lie in a folder of that name, given itself, the one above or below; list them."""
    inside = sorted(path.parent for path in folder.glob(f"*/{holds}"))
    root = folder.parent if folder.name == holds else folder
    if inside and not (folder / holds).is_dir():
        root = inside[0]
    return root, sounds(root / holds if (root / holds).is_dir() else root)


def rows(
    path: Path, columns: Iterable[str], advice: str, delimiter: str = ","
) -> Iterator[tuple[str, Mapping[str, str]]]:
    """Give the rows of a corpus's own table, each with its place for messages.

    Raises:
        SereneError: a column is absent, a row has fewer fields than the header, or there is no row; the advice ends it.
    """
    try:
        with regular(path).open(encoding="utf-8-sig", errors="replace", newline="") as file:
            quoting = csv.QUOTE_NONE if delimiter == "\t" else csv.QUOTE_MINIMAL  # between tabs a quote is a character
            table = csv.DictReader(file, delimiter=delimiter, quoting=quoting)
            names = [name.strip() for name in table.fieldnames or ()]
            if absent := [column for column in columns if column not in names]:
                raise SereneError(f"{path} has no column '{absent[0]}'. {advice}")
            table.fieldnames = names
            for row in table:
                if None in row.values():
                    where = f"line {table.line_num}: the row has fewer fields than the header"
                    raise SereneError(f"{path} is cut short, {where}. {advice}")
                if any("\n" in str(value) for value in row.values()):
                    where = f"line {table.line_num}: a quote opens a field that runs over a line break"
                    raise SereneError(f"{path} is damaged before {where}. {advice}")
                yield f"{path}, line {table.line_num}", row
            if table.line_num < 2:
                raise SereneError(f"{path} is cut short: it has no row. {advice}")
    except csv.Error as error:
        raise SereneError(f"{path} is damaged: {error}. {advice}") from error


def differences(clips: Sequence[Utterance | LeftOut], listed: Collection[str], unlisted: str, absent: str) -> list[str]:
    """Remark the clips that are only on disk, and so have no part, or only in a list."""
    alone = [clip.id for clip in clips if isinstance(clip, Utterance) and clip.split is None]
    missing = sorted(set(listed) - {clip.id for clip in clips})
    found = ((unlisted, alone), (absent, missing))
    return [f"{what}: {len(names)} clips, such as {names[0]}." for what, names in found if names]


def not_found(corpus: str, folder: Path, expected: str, home: str, licence: str) -> SereneError:
    """Make the error of a folder that does not hold a corpus: what was expected, where it is had, under what licence.

    Args:
        corpus: its usual name.
        folder: what the user gave.
        expected: what should be in it, such as "Actor_01/03-01-01-01-01-01-01.wav".
        home: a sentence saying where the corpus is officially had.
        licence: the terms stated by its authors.
    """
    wrong = f"{folder} does not hold {corpus}" if folder.is_dir() else f"There is no folder {folder}"
    if folder.is_file():
        wrong = f"{folder} is a file; of a table of your own make a manifest first: run `serene prepare table`"
    return SereneError(f"{wrong}. Expected: {expected}. {home} Licence: {licence}.")


def gather(clips: Iterable[Utterance | LeftOut], missing: SereneError, remarks: Sequence[str] = ()) -> Manifest:
    """Part what a reader found into utterances and clips left out; of several files with one id the first stays.

    Raises:
        NothingLeft: where there is no utterance at all, with the message of `missing`.
    """
    left_out: list[LeftOut] = []
    return first_of_each_id(Utterances.of(kept_of(clips, left_out)), left_out, missing, remarks)


def first_of_each_id(
    found: Utterances, left_out: list[LeftOut], missing: SereneError, remarks: Sequence[str] = ()
) -> Manifest:
    """Leave out all but the first of the clips that share an id; raise as `gather` does where there is none."""
    if not found:
        raise NothingLeft(str(missing), left_out)
    again = np.zeros(len(found), bool)
    for first, *others in found.repeated("id"):
        again[others] = True
        used = found[int(first)].audio
        left_out += [
            LeftOut(u.id, u.audio, f"the same clip again: {used} is used") for u in found.take(np.array(others))
        ]
    return Manifest(found.take(~again), left_out, remarks)


def kept_of(clips: Iterable[Utterance | LeftOut], left_out: list[LeftOut]) -> Iterator[Utterance]:
    """Give the utterances among some clips, and put the others on a list."""
    for clip in clips:
        if isinstance(clip, LeftOut):
            left_out.append(clip)
        else:
            yield clip


def by_name(
    paths: Iterable[Path],
    pattern: re.Pattern[str],
    expected: str,
    facts: Callable[[Path, re.Match[str]], Mapping[str, Any] | str],
    **shared: Any,
) -> Iterator[Utterance | LeftOut]:
    """Make the clips of a corpus whose files' names tell what they are; a name that does not match is left out.

    Args:
        paths: of sounds.
        pattern: of their names without the extension.
        expected: what a name is made of, and an example.
        facts: gives the columns of a clip from its path and name, or as text the reason to leave it out.
        shared: columns that are alike for all clips.
    """
    for path in paths:
        name = pattern.fullmatch(path.stem)
        said = facts(path, name) if name else None
        if said is None:
            yield stray(path, expected)
        elif isinstance(said, str):
            yield LeftOut(path.stem, str(path), said)
        else:
            yield Utterance(**{"id": path.stem, "audio": str(path), **shared, **said})


def stray(path: Path, expected: str) -> LeftOut:
    """Leave out a sound whose name is not of the corpus."""
    return LeftOut(path.stem, str(path), f"not a name of the corpus: expected {expected}")


def _entries(folder: str) -> list[tuple[str, bool]]:
    """List what is in a folder, hidden names apart, in order: each name, and whether it is a folder."""
    try:
        with os.scandir(folder) as found:
            return sorted((entry.name, _is_folder(entry)) for entry in found if not entry.name.startswith("."))
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise SereneError(f"Cannot look into {error.filename}: {error.strerror}.") from error


def _is_folder(entry: os.DirEntry[str]) -> bool:
    return os.path.isdir(entry.path) if entry.is_symlink() else entry.is_dir()  # a link to itself is none
