"""Your own corpus in WebDataset's tar shards: of each key a sound and, as JSON, what is said of it.

`a.flac` and `a.json` are one clip. The JSON's names are a table's columns, the speaker's among them; a `.cls` file is
its emotion. Sounds are read from where they lie, and nothing is unpacked; what `serene.corpora.table` says of columns
holds here too. A clip without a sound is not counted; a sound without JSON has no speaker, and is refused.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from serene import inside
from serene.corpora.folder import not_found
from serene.corpora.manifest import Manifest
from serene.corpora.repeats import repeated
from serene.corpora.rows import Rows, once, part_of
from serene.corpora.table import manifest_of
from serene.errors import SereneError
from serene.sound import DECODED

HOME = "Shards are your own; webdataset, or tar with the files of a clip one behind the other, writes them."
LICENCE = "your own"
CITATION = "none"


def read(folder: Path) -> Manifest:
    """Read the labels in all shards below a folder, or in one shard; no sound is decoded.

    Raises:
        SereneError: no shard, one that is cut off or compressed, a label that is no JSON, or what a table is refused
            for.
    """
    return manifest_of(_rows(folder), folder)


def _rows(folder: Path) -> Rows:
    alone = folder.suffix == inside.TAR and folder.is_file()
    shards = [folder] if alone else sorted(filter(Path.is_file, folder.rglob(f"*{inside.TAR}")))
    rows = Rows(lambda _, place: place)
    for shard in shards:
        name = shard.name if alone else shard.relative_to(folder)
        for key, row in _clips(shard):
            rows.append(row, f"{name}, {key}")
    if not rows:
        expected = f"{inside.TAR} files, not compressed, with sounds ({', '.join(DECODED)}) and JSON, or one of them"
        raise not_found("shards of WebDataset", folder, expected, HOME, LICENCE)
    if repeated(lambda: map(str, rows.values("id"))).any():  # as where each shard begins to count anew
        return rows.replacing({**row, "id": place.replace(f"{inside.TAR}, ", "/")} for place, row in rows)
    return rows


def _clips(shard: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Give the key of each sound, and its row."""
    found: dict[str, dict[str, str]] = {}  # key -> ending -> member
    for member in inside.members(str(shard), whole=True):
        name = PurePosixPath(member)
        stem, _, ending = name.name.partition(".")
        if stem:  # what begins with a dot is hidden, such as the companions that macOS writes
            found.setdefault(str(name.with_name(stem)), {})[f".{ending.lower()}"] = member
    part = part_of(shard.stem)
    for key, files in found.items():
        sounds = [member for ending, member in files.items() if ending.endswith(DECODED)]
        if not sounds:
            continue
        row: dict[str, Any] = {"split": part} if part else {}
        row |= {"emotion": _text(shard, files[".cls"]).strip()} if ".cls" in files else {}
        row |= _labels(shard, files[".json"]) if ".json" in files else {}
        yield key, {"id": key, **row, "audio": f"{shard.absolute()}/{sounds[0]}"}


def _labels(shard: Path, member: str) -> dict[str, Any]:
    try:
        labels = json.loads(_text(shard, member), object_pairs_hook=once)
    except (ValueError, RecursionError) as error:
        raise SereneError(f"{shard}/{member} is no JSON: {error}.") from error
    if not isinstance(labels, dict):
        raise SereneError(f"{shard}/{member} holds no object; names and values of a clip's labels were expected.")
    return labels


def _text(shard: Path, member: str) -> str:
    try:
        return inside.read(str(shard), member).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SereneError(f"{shard}/{member} is no UTF-8 text, as labels have to be: {error}.") from error
