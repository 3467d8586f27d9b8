"""Manifest: what a corpus says about its clips; read, write, check, summarise."""

from __future__ import annotations

import fnmatch
import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np

from serene.corpora import parquet
from serene.corpora.left_out import LeftOut, NothingLeft, below, beside, portable, read_left_out, write_left_out
from serene.corpora.spelling import is_missing, words
from serene.corpora.utterance import COLUMNS, DECISIVE, Utterance, utterance_from
from serene.corpora.utterances import Utterances
from serene.errors import SereneError, quoted, unknown
from serene.files import regular, whole_file

MANIFESTS = (".jsonl", ".parquet")  # how their names end
NO_MANIFEST = "A table of your own becomes a manifest first: run `serene prepare table` on it."


@dataclass(frozen=True, init=False)
class Manifest:
    """The utterances of a corpus in a fixed order, and what was left out of it.

    Attributes:
        utterances: in the order of their ids' file.
        left_out: clips that are not among them, each with its reason.
        remarks: what a reader should know (what `--fast` did not check, identical clips that were kept, ...).
    """

    utterances: Utterances
    left_out: tuple[LeftOut, ...] = ()
    remarks: tuple[str, ...] = ()

    def __init__(
        self, utterances: Iterable[Utterance], left_out: Iterable[LeftOut] = (), remarks: Iterable[str] = ()
    ) -> None:
        """Put any utterances, taken one by one, into columns."""
        object.__setattr__(self, "utterances", Utterances.of(utterances))
        object.__setattr__(self, "left_out", tuple(left_out))
        object.__setattr__(self, "remarks", tuple(remarks))

    def __len__(self) -> int:
        """Count the utterances."""
        return len(self.utterances)

    def __iter__(self) -> Iterator[Utterance]:
        """Iterate over the utterances in order."""
        return iter(self.utterances)

    @property
    def speakers(self) -> tuple[str, ...]:
        """All speakers, sorted."""
        return tuple(sorted(self.utterances.counts("speaker")))

    @property
    def digest(self) -> str:
        """Identity of what training and protocols use, wherever the files lie: the `DECISIVE` columns of every clip."""
        return self.digest_of(DECISIVE)

    def digest_of(self, columns: Iterable[str]) -> str:
        """Identify some columns of every clip, in any order of the clips."""
        digest, separator = hashlib.sha256(), b""
        for line in _sorted_lines(self.utterances, tuple(columns)):
            digest.update(separator + line.encode())
            separator = b"\n"
        return digest.hexdigest()[:16]

    def check(self) -> Manifest:
        """Return the manifest itself, or raise SereneError where it is empty, repeats an id or lacks a speaker."""
        if not self.utterances:
            reasons = words(Counter(item.kind for item in self.left_out))
            detail = f" Left out: {reasons}. The first: {self.left_out[0].reason.rstrip('.')}." if reasons else ""
            raise NothingLeft(f"The manifest is empty: no utterance was found or kept.{detail}", self.left_out)
        if repeated := [places for places in self.utterances.repeated("id")]:
            name = self.utterances[int(repeated[0][0])].id
            raise SereneError(
                f"The manifest repeats {len(repeated)} ids, for example '{quoted(name)}'; ids must be unique."
            )
        if nameless := self.utterances.where("speaker", is_missing):
            raise SereneError(
                f"{len(nameless)} utterances have no speaker, for example '{quoted(nameless[0].id)}'. "
                "Every utterance needs one: splits are made by speaker."
            )
        return self

    def only(self, filters: Mapping[str, str], *, where: str = "corpus.only") -> Manifest:
        """Keep the utterances whose columns match shell-style patterns, such as `{"text_id": "impro*"}`.

        Raises:
            SereneError: an unknown column, or nothing matches; the message says `where` the patterns were given.
        """
        for column in filters:
            if column not in COLUMNS:
                raise SereneError(unknown("manifest column", column, COLUMNS))
        kept = self.utterances
        for column, pattern in filters.items():
            kept = kept.where(column, lambda value, pattern=pattern: fnmatch.fnmatchcase(str(value), pattern))
        if not kept:
            told = "".join(f" {remark}" for remark in self.remarks)
            raise SereneError(f"No utterance matches {quoted(dict(filters))}; check the patterns of `{where}`.{told}")
        return replace(self, utterances=kept)

    def summarise(self) -> dict[str, Any]:
        """Count utterances, speakers, emotions, seconds and what was left out."""
        return {
            "utterances": len(self.utterances),
            "speakers": len(self.speakers),
            "hours": round(sum(seconds or 0 for seconds in self.utterances.values("duration")) / 3600, 3),
            "emotions": dict(sorted((e or "(none)", n) for e, n in self.utterances.counts("emotion").items())),
            "left_out": dict(sorted(Counter(item.kind for item in self.left_out).items())),
            "remarks": list(self.remarks),
        }

    def write(self, path: str | Path) -> None:
        """Write JSON lines, whole or not at all, or Parquet where the name ends so.

        What was left out goes beside it as `<name>.left_out.csv`.

        Audio paths below the manifest's folder are written relative to it, others absolute.
        """
        path = Path(path)
        write_left_out(self.left_out, beside(path))  # first: where there is a manifest, nothing is missing beside it
        rows = (u.to_dict() | {"audio": portable(u.audio, path.parent)} for u in self.utterances)
        with whole_file(path) as temporary:
            if path.suffix.lower() == MANIFESTS[1]:
                numbers = {name for own in self.utterances.values("numbers") for name in own}
                parquet.write_rows(rows, numbers, temporary)
            else:
                with temporary.open("w", encoding="utf-8") as file:
                    file.writelines(json.dumps(row) + "\n" for row in rows)

    @classmethod
    def read(cls, path: str | Path) -> Manifest:
        """Read what `write` made; relative audio paths are taken from the manifest's folder.

        Raises:
            SereneError: no such file, a row that is not an utterance (named by its number), or an empty file.
        """
        path = Path(path)
        return cls(utterances_of(path), read_left_out(beside(path))).check()


def utterances_of(path: Path) -> Iterator[Utterance]:
    """Read a manifest's utterances one by one; relative audio paths are taken from its folder.

    Raises:
        SereneError: no such file, or a row that is not an utterance (named by its number).
    """
    if path.suffix.lower() == MANIFESTS[1]:
        yield from (_placed(row, where, path.parent) for where, row in parquet.rows_of(path))
        return
    try:
        with regular(path).open(encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield _parse(line, f"{path}, line {number}", path.parent)
    except UnicodeDecodeError as error:
        raise SereneError(f"{path} is not UTF-8, as manifests are ({error}). {NO_MANIFEST}") from error
    except OSError as error:
        raise SereneError(f"Cannot read the manifest {path}: {error}") from error


def _sorted_lines(utterances: Utterances, columns: tuple[str, ...]) -> Iterator[str]:
    """Give a line of JSON for each clip, sorted; only where clips agree in the first column are lines held together."""
    first, *others = columns
    end = "," if others else "]"
    firsts = (json.dumps([value])[:-1] + end for value in utterances.values(first))
    begins = np.fromiter(firsts, object, len(utterances))
    order = np.argsort(begins, kind="stable")
    ordered = utterances.take(order)
    lines = (json.dumps(values) for values in zip(*(ordered.values(name) for name in columns), strict=True))
    for _, same in groupby(zip(begins[order], lines, strict=True), key=itemgetter(0)):
        yield from sorted(line for _, line in same)


def _parse(line: str, where: str, folder: Path) -> Utterance:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise SereneError(f"{where}: not a JSON object ({error}). {NO_MANIFEST}") from error
    if not isinstance(row, dict):
        raise SereneError(f"{where}: a JSON object was expected. {NO_MANIFEST}")
    return _placed(row, where, folder)


def _placed(row: Mapping[str, Any], where: str, folder: Path) -> Utterance:
    utterance = utterance_from(row, where)
    return replace(utterance, audio=below(folder, utterance.audio))
