"""Manifests as Parquet: the columns of JSON lines, read and written some thousand rows at a time."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from serene.corpora.utterance import COLUMNS, NUMERIC
from serene.errors import SereneError, first_line, quoted
from serene.files import regular
from serene.inside import pyarrow, refuse_twice

AT_ONCE = 4096  # rows
NEEDED = ("id", "audio", "speaker")


def rows_of(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Give the rows of a file, each with its place for messages.

    Raises:
        SereneError: no Parquet file, one that is cut off, or one without the columns that every clip needs.
        MissingExtra: pyarrow is not installed.
    """
    arrow, parquet = pyarrow()
    try:
        with regular(path).open("rb") as opened, parquet.ParquetFile(opened) as file:
            names = file.schema_arrow.names
            refuse_twice(path, names)
            if absent := [name for name in NEEDED if name not in names]:
                raise SereneError(
                    f"{path} has no column '{absent[0]}'; a manifest has {', '.join(NEEDED)}. "
                    f"It has: {quoted(', '.join(names))}."
                )
            number = itertools.count(1)
            for batch in file.iter_batches(AT_ONCE):
                for row in batch.to_pylist():
                    row["votes"] = dict(row["votes"]) if isinstance(row.get("votes"), list) else row.get("votes")
                    yield f"{path}, row {next(number)}", row
    except (arrow.ArrowException, OSError, ValueError, TypeError, OverflowError) as error:  # of whatever it holds
        raise SereneError(
            f"{path} cannot be read as Parquet: it is cut off or something else ({first_line(error)})."
        ) from error


def is_manifest(path: Path) -> bool:
    """Tell a manifest from a dataset with sounds in it: where the one has paths of sounds, the other has none."""
    arrow, parquet = pyarrow()
    try:
        schema = parquet.read_schema(path)
    except (arrow.ArrowException, OSError):
        return False  # who reads it says what is wrong
    return "audio" in schema.names and schema.field("audio").type == arrow.string()


def write_rows(rows: Iterable[Mapping[str, Any]], numbers: Iterable[str], path: Path) -> None:
    """Write rows, each a mapping of columns, and of such further numbers.

    Raises:
        SereneError: a text is no UTF-8.
        MissingExtra: pyarrow is not installed.
    """
    arrow, parquet = pyarrow()
    kinds = dict.fromkeys((*NUMERIC, *numbers), arrow.float64())
    kinds |= {"sample_rate": arrow.int64(), "votes": arrow.map_(arrow.string(), arrow.float64())}
    schema = arrow.schema([(name, kinds.get(name, arrow.string())) for name in (*COLUMNS, *sorted(numbers))])
    left = ({**row, "votes": [*row["votes"].items()]} if "votes" in row else row for row in rows)
    try:
        with parquet.ParquetWriter(path, schema) as file:
            while some := [*itertools.islice(left, AT_ONCE)]:
                file.write_table(arrow.Table.from_pylist(some, schema))
    except UnicodeEncodeError as error:
        raise SereneError(
            f"'{quoted(error.object)}' is no UTF-8, as all text of Parquet is; let the manifest's name end in .jsonl."
        ) from error
