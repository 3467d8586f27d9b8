"""Clips in columns: what is put in comes out, selections share columns, and a clip costs few bytes."""

from __future__ import annotations

import json
import random
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serene.corpora import columns
from serene.corpora.columns import Column
from serene.corpora.labels import choose
from serene.corpora.manifest import Manifest, Utterance
from serene.corpora.utterances import Utterances
from serene.protocols import make_splits

FEW, MANY = 2_000, 20_000
MOST = 300  # bytes an utterance


@pytest.fixture(autouse=True)
def _small_tables_are_kept_as_large_ones_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(columns, "FEW", 200)


def written(folder: Path, clips: int) -> Path:
    draw = random.Random(clips)
    path = folder / f"{clips}.jsonl"
    with path.open("w") as file:
        for n in range(clips):
            speaker = f"S{n // 40:04d}"
            row = {"id": f"corpus-{speaker}-{n:07d}", "audio": f"wavs/{speaker}/corpus-{speaker}-{n:07d}.flac"}
            row |= {"speaker": speaker, "emotion": ("anger", "neutral", "sadness")[n % 3], "corpus": "made_up"}
            row |= {"start": 0.0, "duration": draw.uniform(0.5, 12.0), "sample_rate": 16_000}
            row |= {"audio_hash": f"{draw.getrandbits(128):032x}", "split": "train" if n % 2000 < 1600 else "test"}
            file.write(json.dumps(row) + "\n")
    return path


def growth(work: Callable[[int], Any]) -> float:
    """Bytes by which the peak of memory grows with each clip more."""
    peaks = []
    for clips in (FEW, MANY):
        tracemalloc.start()
        kept = work(clips)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        del kept
    return (peaks[1] - peaks[0]) / (MANY - FEW)


def test_a_clip_costs_few_bytes_in_a_manifest_its_labels_its_splits_and_their_identity(tmp_path: Path) -> None:
    paths = {clips: written(tmp_path, clips) for clips in (FEW, MANY)}

    def planned(clips: int) -> Any:
        manifest = Manifest.read(paths[clips])
        labelled, task = choose(manifest, join={"sadness": "neutral"})
        splits = make_splits("speaker_folds", labelled, {"folds": 3, "validation": "random20"})
        return manifest, labelled, labelled.digest, task, splits

    assert growth(planned) < MOST


def test_a_manifest_is_written_as_it_was_read(tmp_path: Path) -> None:
    read = written(tmp_path, FEW)
    Manifest.read(read).write(tmp_path / "again.jsonl")
    assert (tmp_path / "again.jsonl").read_text() == read.read_text()


@pytest.mark.parametrize(
    "values",
    [
        [None, "a", 1, 1.0, "1", {"x": 1.0}, {"x": 1}, {}, True],
        [float(n) / 3 if n % 5 else None for n in range(6000)],
        [f"{n % 9}/{n % 5000}/{n}" for n in range(6000)],
        [*(f"{n:032x}" for n in range(5000)), "0" * 31, "A" * 32, "ab" * 8],
        [f"{n} äöü \udce4" if n % 7 else None for n in range(6000)],
        [*(float(n) for n in range(5000)), 3, "later a text", None, {"y": 2.0}],
        [*(f"text {n}" for n in range(5000)), {"votes": {"a": 1}}, 2.5, ""],
        [n % 300 for n in range(70_000)],
    ],
    ids=[
        "of all kinds",
        "numbers",
        "paths",
        "hashes",
        "texts",
        "numbers, then others",
        "texts, then others",
        "that recur",
    ],
)
def test_what_is_put_into_a_column_comes_out(values: list[Any]) -> None:
    column = Column()
    for value in values:
        column.append(value)
    assert len(column) == len(values)
    got = [*column.values(np.arange(len(values)))]
    assert [(type(value), value) for value in got] == [(type(value), value) for value in values]
    assert column.at(np.array([3, 0, 3])) == [values[3], values[0], values[3]]


@pytest.fixture(params=[4096, 2], ids=["values that recur", "values that differ"])
def clips(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> list[Utterance]:
    monkeypatch.setattr(columns, "FEW", request.param)
    names, votes = ("b", "a", "d", "c", "f"), {"anger": 2.0}
    own = [Utterance(id=f"{name}{n}", audio=f"{n}.wav", speaker=name, votes=votes) for n in range(3) for name in names]
    return [*own, Utterance(id="0", audio="x", speaker="a", emotion="anger", start=1.5, numbers={"snr": 3.5})]


def test_a_table_is_the_sequence_that_it_was_made_of(clips: list[Utterance]) -> None:
    table = Utterances.of(iter(clips))
    assert table == tuple(clips) and table == clips and tuple(clips) == table
    assert table != clips[:-1] and table != [*clips[1:], clips[0]]
    assert (table[3], table[-1], table[2:9:3], table[::-1]) == (clips[3], clips[-1], clips[2:9:3], clips[::-1])
    assert clips[4] in table and list(reversed(table)) == clips[::-1]
    with pytest.raises(IndexError):
        table[len(clips)]
    assert Utterances.of(Manifest(table)) is table


def test_selections_agree_with_what_lists_of_clips_give(clips: list[Utterance]) -> None:
    table = Utterances.of(clips)
    assert table.in_order() == sorted(clips, key=lambda u: u.id)
    assert table.where("speaker", "bd".__contains__) == [u for u in clips if u.speaker in "bd"]
    assert table.where("id", lambda name: name > "c") == [u for u in clips if u.id > "c"]
    groups = table.groups("speaker")
    assert list(groups) == ["b", "a", "d", "c", "f"]
    assert groups["a"] == [u for u in clips if u.speaker == "a"]
    assert table.counts("emotion") == {None: 15, "anger": 1}
    assert Utterances.joined(groups.values()) == [u for name in groups for u in clips if u.speaker == name]
    assert Utterances.joined([groups["a"], clips[:2]]) == [*groups["a"], *clips[:2]]
    labelled = groups["a"].replacing("emotion", ["x", "y", "x", None])
    assert [u.emotion for u in labelled] == ["x", "y", "x", None]
    assert [u.emotion for u in labelled.take(np.array([3, 1]))] == [None, "y"]
    assert [u.emotion for u in groups["a"]] == [None, None, None, "anger"], "the others are as they were"


def test_clips_that_share_a_value_are_found_by_the_value_and_not_by_its_hash(
    clips: list[Utterance], monkeypatch: pytest.MonkeyPatch
) -> None:
    hashes = ["x", "y", None, "x", "z", "y", None, "x"]
    table = Utterances.of(Utterance(id=str(n), audio="a", speaker="s", audio_hash=own) for n, own in enumerate(hashes))
    expected = [[0, 3, 7], [1, 5]]
    assert [places.tolist() for places in table.repeated("audio_hash")] == expected
    monkeypatch.setattr(Utterances, "keys", lambda self, name: np.zeros(len(self), np.int64))
    assert [places.tolist() for places in table.repeated("audio_hash")] == expected
    assert [*Utterances.of(()).repeated("id")] == []
