"""Rows in columns: each comes back as it was, whatever it holds, and a row more of a table takes few bytes."""

from __future__ import annotations

import json
import os
import tracemalloc
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from corpus_trees import sound_files

from serene.corpora import columns, repeats
from serene.corpora.repeats import again, repeated
from serene.corpora.row_columns import Rows
from serene.corpora.table import read

ODD = [
    *({"a": 1, "b": "x"}, {"b": None, "a": "1"}, {}, {"c": True, "a": 1.0, "b": ""}, {"a": -0.0}, {"a": 0.0, "d": 0}),
    *({"a": "\0", "b": "\0" + "0"}, {"a": [1, {"x": (2,)}], "b": float("nan")}, {"a": {"x": 1, "y": -0.0}}),
    *({"a": {"x": {"y": None}}, "b": 10**30}, {"d": "\ud800", "a": "deadbeef" * 3}),
]


def rows_of(rows: Iterable[dict[str, Any]]) -> Rows:
    found = Rows(lambda number, mark: f"{number} of {mark}")
    for row in rows:
        found.append(row, "some")
    return found


def shown(rows: Rows) -> list[str]:
    return [str(list(row.items())) for _, row in rows]


@pytest.mark.parametrize("few", [0, 4096])
def test_rows_come_back_as_they_were(few: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(columns, "FEW", few)
    many = ODD * 60
    rows = rows_of(many)
    assert shown(rows) == shown(rows) == [str(list(row.items())) for row in many]
    assert (len(rows), rows.names) == (len(many), ("a", "b", "c", "d"))
    assert [place for place, _ in rows][:2] == ["1 of some", "2 of some"]
    changed = rows.replacing({"z": len(row)} for _, row in rows)
    assert list(changed)[1] == ("2 of some", {"z": 2})
    rows.drop(["b", "d"])
    assert [list(row) for _, row in rows][:4] == [["a"], ["a"], [], ["c", "a"]]


def test_names_that_no_other_row_has_take_no_room_in_the_others(tmp_path: Path) -> None:
    """As where somebody writes an object of path and label on each line."""
    rows_of({f"{n}.wav": "anger"} for n in range(400))
    _, few = peak(lambda: rows_of({f"{n}.wav": "anger"} for n in range(400)))
    _, many = peak(lambda: rows_of({f"{n}.wav": "anger"} for n in range(1600)))
    assert many < 6 * few


VALUES = ["x", "y", "x", "z", "yy", "x", "zz", "yy"]


@pytest.mark.parametrize("collide", [None, len, lambda _: 7])
def test_values_that_recur_are_told_though_hashes_agree_by_chance(
    collide: Callable[[str], int] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if collide:
        monkeypatch.setattr(repeats, "hash", collide, raising=False)
    assert [VALUES[n] for n in repeated(lambda: VALUES).nonzero()[0]] == ["x", "x", "yy", "x", "yy"]
    assert again(lambda: VALUES).nonzero()[0].tolist() == [2, 5, 7]
    assert not repeated(lambda: "abc").any()
    assert not again(lambda: "abc").any()
    assert len(repeated(lambda: ())) == len(again(lambda: ())) == 0


def test_a_table_is_the_same_though_hashes_agree_by_chance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["a.wav", "b.wav", "b.flac", "c.wav", "a.wav", "c.wav"]
    starts = ["", "", "", "0", "", "1"]
    rows = [f"{name},s,{start},{start and int(start) + 1}" for name, start in zip(names, starts, strict=True)]
    (sound_files(tmp_path, names) / "t.csv").write_text("\n".join(["path,speaker,start,end", *rows]))
    before = read(tmp_path / "t.csv")
    monkeypatch.setattr(repeats, "hash", lambda _: 7, raising=False)
    after = read(tmp_path / "t.csv")
    assert [clip.id for clip in after] == ["a", "b.wav", "b.flac", "c#0", "c#1"]
    assert (after.utterances, after.remarks) == (before.utterances, before.remarks)


# --- memory

BOUND, FEWER, MORE = 250, 600, 2400  # bytes a row, where 300 are promised; rows


def peak(work: Callable[[], Any]) -> tuple[Any, int]:
    tracemalloc.start()
    try:
        return work(), tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def written(path: Path, count: int, segments: bool) -> Path:
    """Write a table like those of real corpora: a path for each row, or segments of a file for each speaker."""
    rows = []
    for n in range(count):
        speaker, start = f"S{n // 40:05d}", f"{n * 0.12 if segments else 0.48:.2f}"
        audio = f"audio/{speaker}.flac" if segments else f"audio/{speaker}/corpus_{speaker}_{n:07d}.flac"
        rows.append((audio, speaker, ("anger", "hap", "neutral", "fear")[n % 4], start, "0.05"))
    head = ("path", "speaker", "emotion", "start", "duration")
    lines = {
        ".csv": lambda: map(",".join, (head, *rows)),
        ".jsonl": lambda: (json.dumps(dict(zip(head, row, strict=True))) for row in rows),
        ".txt": lambda: (f"{row[0]} {row[2]}" for row in rows),
    }[path.suffix]()
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


@pytest.mark.parametrize(
    ("name", "segments"), [("t.csv", False), ("t.csv", True), ("t.jsonl", False), ("t.txt", False)]
)
def test_a_row_more_takes_few_bytes(name: str, segments: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        columns, "FEW", 100
    )  # as in a long table, most texts of which are not kept as values that recur
    real = os.path.isfile
    monkeypatch.setattr(os.path, "isfile", lambda path: str(path).endswith(".flac") or real(path))
    read(written(tmp_path / name, 10, segments))
    peaks = []
    for count in (FEWER, MORE):
        table = written(tmp_path / name, count, segments)
        manifest, most = peak(lambda table=table: read(table))
        assert len(manifest) == count
        peaks.append(most)
    assert (peaks[1] - peaks[0]) / (MORE - FEWER) <= BOUND
