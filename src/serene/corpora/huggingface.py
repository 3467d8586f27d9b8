"""A dataset of Hugging Face: Parquet files with sounds in them, in a folder or on the hub, read from where they lie.

The path is a folder, a Parquet file, or an address `hf://datasets/OWNER/NAME`, with `@REVISION` behind the name and
folders behind that. Of each row the sound and the labels are taken, whose names are a table's columns, as in
`serene.corpora.table`; numbers of a `ClassLabel` are replaced by its names. From the hub come the labels, and of the
sounds a group of rows at a time, when they are decoded.

`datasets` itself streams rows one after the other, and tells no place from which a training could read one of them
again; so its files are read by pyarrow, over the hub's own file system. Datasets of loose files with a `metadata.csv`
are a `table`.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from serene import inside
from serene.corpora.folder import not_found
from serene.corpora.manifest import Manifest
from serene.corpora.rows import ALIASES, Rows, part_of
from serene.corpora.spelling import plain
from serene.corpora.table import manifest_of
from serene.errors import SereneError, first_line

HOME = "Datasets are at https://huggingface.co/datasets."
LICENCE = "the dataset's own"
CITATION = "none"


def read(folder: Path) -> Manifest:
    """Read the labels of a dataset; no sound is decoded.

    Raises:
        SereneError: no Parquet file, one that is cut off or without sounds, the hub cannot be reached, or what a table
            is refused for.
        MissingExtra: pyarrow, or for the hub huggingface_hub, is not installed.
    """
    return manifest_of(_rows(folder), folder)


def _rows(folder: Path) -> Rows:
    address = re.sub("^hf:/+", inside.REMOTE, str(folder))  # a `Path` keeps one slash of two
    files = _files(address, folder)
    base = os.path.dirname(address) if address.endswith(inside.PARQUET) else address
    rows = Rows(lambda _, place: ", row ".join(place.rsplit("/", 1)))
    for file in files:
        name = os.path.relpath(file, base)  # several folders may have files of one name
        for number, row in enumerate(_labelled(file, name)):
            rows.append(row, f"{name}/{number}")
    if not rows:
        expected = f"{inside.PARQUET} files with sounds, one of them, or hf://datasets/OWNER/NAME with such files"
        raise not_found("a dataset of Hugging Face", folder, expected, HOME, LICENCE)
    return rows


def _files(address: str, folder: Path) -> list[str]:
    if not inside.is_remote(address):
        found = [folder] if folder.is_file() else sorted(filter(Path.is_file, folder.rglob(f"*{inside.PARQUET}")))
        return [str(path.absolute()) for path in found]
    hub = inside.hub()
    try:
        wanted = address if address.endswith(inside.PARQUET) else f"{address.rstrip('/')}/**/*{inside.PARQUET}"
        return [f"{inside.REMOTE}{path}" for path in sorted(hub.glob(wanted))]
    except Exception as error:  # of the hub and of what lies between
        raise SereneError(f"{address} cannot be read: {first_line(error)}.") from error


def _labelled(file: str, name: str) -> Iterator[dict[str, Any]]:
    table = inside.table(file)
    names, part = _classes(table), part_of(Path(file).stem)
    known = {plain(column) for column in table.schema.names}
    for number, labels in enumerate(table.labels()):
        row = {
            column: names[column][value] if column in names and value in range(len(names[column])) else value
            for column, value in labels.items()
        }
        if known.isdisjoint(("id", *ALIASES["id"])):
            row["id"] = f"{name.removesuffix(inside.PARQUET)}/{number}"
        if part and known.isdisjoint(("split", *ALIASES["split"])):
            row["split"] = part
        yield row | {"audio": f"{file}/{number}"}


def _classes(table: inside.Table) -> dict[str, list[str]]:
    """Give the names that stand for the numbers of columns, as `datasets` writes them beside the schema."""
    try:
        about = json.loads((table.schema.metadata or {}).get(b"huggingface", b"{}"))
        features = about.get("info", {}).get("features", {})
        return {name: kind["names"] for name, kind in features.items() if kind.get("_type") == "ClassLabel"}
    except (ValueError, AttributeError, KeyError, TypeError):
        return {}
