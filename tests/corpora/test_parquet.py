"""Manifests as Parquet: the same clips as in JSON lines, and one sentence for a file that is cut or lacks a column."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from serene.corpora import parquet
from serene.corpora.left_out import LeftOut
from serene.corpora.manifest import Manifest, Utterance
from serene.errors import MissingExtra, SereneError

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    votes = [{"anger": 2.0, "neutral": 1.0}, None, {"fear": 0.5}]
    clips = [
        Utterance(
            id=f"clip {n}",
            audio=str(tmp_path / f"audio/{n}.wav"),
            speaker=f"s{n % 3}",
            emotion="anger",
            votes=votes[n % 3],
            start=n / 3,
            duration=1 + n / 7,
            sample_rate=16_000,
            numbers={"snr": 3.5} if n % 2 else {},
        )
        for n in range(10)
    ]
    return Manifest(clips, (LeftOut("x", str(tmp_path / "x.wav"), "silent: nothing"),))


def test_it_holds_the_clips_that_json_lines_hold(
    manifest: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet, "AT_ONCE", 4)
    for name in ("a.parquet", "a.jsonl"):
        manifest.write(tmp_path / name)
    assert Manifest.read(tmp_path / "a.parquet") == Manifest.read(tmp_path / "a.jsonl") == manifest
    assert pq.ParquetFile(tmp_path / "a.parquet").num_row_groups == 3, "written some rows at a time"
    assert pq.read_table(tmp_path / "a.parquet")["audio"][0].as_py() == "audio/0.wav", "relative, as in JSON lines"


def written(path: Path, **columns: Any) -> Path:
    pq.write_table(pa.table(columns), path)
    return path


@pytest.mark.parametrize("absent", ["id", "audio", "speaker"])
def test_a_column_that_is_not_there_is_named(tmp_path: Path, absent: str) -> None:
    columns = {"id": ["a"], "audio": ["a.wav"], "speaker": ["s"]}
    path = written(tmp_path / "m.parquet", **{name: own for name, own in columns.items() if name != absent})
    with pytest.raises(SereneError, match=rf"m\.parquet has no column '{absent}'; a manifest has id, audio, speaker\."):
        Manifest.read(path)


def test_a_bad_row_is_named_by_its_number(tmp_path: Path) -> None:
    path = written(tmp_path / "m.parquet", id=["a", "b"], audio=["a", "b"], speaker=["s", None])
    with pytest.raises(SereneError, match=r"m\.parquet, row 2: the column 'speaker' is missing"):
        Manifest.read(path)


@pytest.mark.parametrize("damage", [lambda data: data[:-20], lambda data: b"no Parquet", lambda data: b""])
def test_a_file_that_is_cut_ends_in_one_sentence(manifest: Manifest, tmp_path: Path, damage: Any) -> None:
    path = tmp_path / "m.parquet"
    manifest.write(path)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(SereneError, match=r"m\.parquet cannot be read as Parquet: it is cut off or something else \("):
        Manifest.read(path)
    with pytest.raises(SereneError, match=r"nowhere\.parquet cannot be read as Parquet"):
        Manifest.read(tmp_path / "nowhere.parquet")


@pytest.mark.parametrize(
    ("column", "sentence"),
    [
        ({"emotion": pa.array([b"\xff"]).view(pa.string())}, "cannot be read as Parquet"),
        ({"votes": pa.array([["anger", "fear"]])}, "cannot be read as Parquet"),
        ({"when": pa.array([2**62], pa.timestamp("ms"))}, "cannot be read as Parquet"),
        ({"speaker": pa.array(["y"])}, "has the column speaker twice; name its columns differently"),
    ],
)
def test_columns_that_no_manifest_has_end_in_one_sentence(
    column: dict[str, Any], sentence: str, tmp_path: Path
) -> None:
    rows = {"id": ["a"], "audio": ["a.wav"], "speaker": ["x"]}
    table = pa.table(rows)
    pq.write_table(table.append_column(*column.popitem()), tmp_path / "m.parquet")
    with pytest.raises(SereneError, match=sentence):
        Manifest.read(tmp_path / "m.parquet")


def test_text_that_parquet_cannot_hold_leaves_the_former_file(manifest: Manifest, tmp_path: Path) -> None:
    manifest.write(tmp_path / "m.parquet")
    odd = Manifest([Utterance(id="\udce4", audio="a.wav", speaker="s")])
    with pytest.raises(SereneError, match=r"is no UTF-8, as all text of Parquet is"):
        odd.write(tmp_path / "m.parquet")
    assert len(Manifest.read(tmp_path / "m.parquet")) == 10


def test_without_pyarrow_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtra, match=r"serene-ser\[parquet\]"):
        Manifest.read(tmp_path / "m.parquet")
