"""Predict over a manifest: its ids, its segments, and its speakers enrolled with unlabelled clips of their own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from small_model import EMOTIONS, Means, read_csv, recognizer_of, spoken, write

from serene import sound
from serene.corpora.manifest import Manifest, Utterance
from serene.errors import SereneError
from serene.inference import predict as module
from serene.inference.predict import predict
from serene.inference.recognizer import Recognizer
from serene.protocols.split import enrolment_ids

ENROLLED = "enrolled_unlabelled_clips"


@pytest.fixture
def manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Six turns of two speakers in one long file, two at a time; the last is silent."""
    monkeypatch.setattr(module, "BATCHES", 1)
    samples = spoken(7.0)
    samples[6 * sound.SAMPLE_RATE :] = 0
    audio = str(write(tmp_path / "sounds" / "long.wav", samples))
    turns = [
        Utterance(id=f"turn {n}", audio=audio, speaker="AB"[n % 2], start=float(n), duration=0.75 + 0.05 * n)
        for n in (3, 1, 2, 0, 4, 6)
    ]
    Manifest(tuple(turns)).write(tmp_path / "turns.jsonl")
    return tmp_path / "turns.jsonl"


def rows_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_clips_are_answered_beside_their_ids_at_their_places(folder: Path, manifest: Path, tmp_path: Path) -> None:
    known = recognizer_of(folder)
    summary = predict([manifest], known, tmp_path / "out.csv")
    rows = read_csv(tmp_path / "out.csv")
    assert list(rows[0]) == ["id", "path", "label", *EMOTIONS, "duration", "note", "error"]
    assert [row["id"] for row in rows] == [f"turn {n}" for n in (3, 1, 2, 0, 4, 6)]
    for row, turn in zip(rows[:-1], Manifest.read(manifest), strict=False):
        own = known(sound.read(turn.audio, turn.start, turn.duration), sound.SAMPLE_RATE)
        assert float(row["duration"]) == pytest.approx(turn.duration)
        assert {name: float(row[name]) for name in EMOTIONS} == pytest.approx(dict(own.scores), abs=1e-5)
    assert (rows[-1]["note"], rows[-1]["error"]) == ("silence", "")
    assert summary.lines()[0].startswith("6 clips, ")


def test_speakers_are_enrolled_with_their_own_clips_and_every_row_says_so(manifest: Path, tmp_path: Path) -> None:
    """By the same draw as `serene evaluate --enrolled`; A's four turns are one silent, so three can enrol."""
    known = Recognizer.load()
    turns = {turn.id: turn for turn in Manifest.read(manifest)}
    samples = {name: sound.read(turn.audio, turn.start, turn.duration) for name, turn in turns.items()}
    for asked in (1, "all"):
        summary = predict([manifest], known, tmp_path / "out.jsonl", enrol_speakers=asked)
        assert any("enrolled with" in line and "unlabelled clips" in line for line in summary.lines())
        for row in rows_of(tmp_path / "out.jsonl"):
            own = [name for name, turn in turns.items() if turn.speaker == turns[row["id"]].speaker]
            chosen = [name for name in enrolment_ids(own, None if asked == "all" else 1) if name != "turn 6"]
            assert row[ENROLLED] == len(chosen)
            if row["note"] or not chosen:
                continue
            profile = known.enrol([samples[name] for name in chosen], sound.SAMPLE_RATE)
            expected = known(samples[row["id"]], sound.SAMPLE_RATE, profile=profile)
            assert row["scores"] == pytest.approx(dict(expected.scores), abs=1e-4)
    predict([manifest], known, tmp_path / "out.csv", enrol_speakers=1)
    assert list(read_csv(tmp_path / "out.csv")[0])[:4] == ["id", "path", ENROLLED, "label"]


def test_speakers_are_shrunk_towards_the_folder_and_the_folder_towards_training(manifest: Path, tmp_path: Path) -> None:
    known = Recognizer.load()
    turns = {turn.id: turn for turn in Manifest.read(manifest)}
    clips = {
        name: known.extract(sound.read(turn.audio, turn.start, turn.duration), 16_000) for name, turn in turns.items()
    }
    folder = known.together([list(clips.values())[:2], list(clips.values())[2:]], "folder")
    assert folder is not None
    for enrolled in (None, "all"):
        predict([manifest], known, tmp_path / "out.jsonl", adapt_to_folder=True, enrol_speakers=enrolled)
        for row in rows_of(tmp_path / "out.jsonl"):
            if row["note"]:
                continue
            own = [clips[name] for name, turn in turns.items() if turn.speaker == turns[row["id"]].speaker]
            profile = folder if enrolled is None else known.enrolled(own, folder)
            (expected,) = known.answer([clips[row["id"]]], profile=profile)
            assert row["scores"] == pytest.approx(dict(expected.scores), abs=1e-4)
            assert row["adapted_to"] == profile.name


def test_a_clip_that_cannot_be_read_is_a_row_and_enrols_nobody(manifest: Path, tmp_path: Path) -> None:
    clips = [*Manifest.read(manifest), Utterance(id="gone", audio=str(tmp_path / "gone.wav"), speaker="C")]
    Manifest(tuple(clips)).write(manifest)
    predict([manifest], Recognizer.load(), tmp_path / "out.jsonl", enrol_speakers="all")
    gone = rows_of(tmp_path / "out.jsonl")[-1]
    assert (gone["id"], gone[ENROLLED], gone["label"]) == ("gone", 0, None)
    assert "gone.wav" in gone["error"]


class Stopping(Means):
    """Ends the run at its third batch."""

    def __call__(self, batch: Any) -> Any:
        if len(self.batches) == 2:
            raise KeyboardInterrupt
        return super().__call__(batch)


def test_an_interrupted_manifest_goes_on_where_it_stopped(folder: Path, manifest: Path, tmp_path: Path) -> None:
    """All turns are in one file: their ids and places tell them apart."""
    predict([manifest], recognizer_of(folder, batch_size=2), tmp_path / "whole.csv")
    with pytest.raises(KeyboardInterrupt):
        predict([manifest], recognizer_of(folder, Stopping(), batch_size=2), tmp_path / "out.csv")
    moved = [json.loads(line) for line in manifest.read_text().splitlines()]
    network = Means()
    summary = predict([manifest], recognizer_of(folder, network, batch_size=2), tmp_path / "out.csv")
    assert (summary.resumed, summary.files, sum(network.batches)) == (4, 6, 1)
    assert (tmp_path / "out.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()
    with pytest.raises(KeyboardInterrupt):
        predict([manifest], recognizer_of(folder, Stopping(), batch_size=2), tmp_path / "out.csv")
    moved[0]["duration"] = 0.5  # another place, so another sound
    manifest.write_text("\n".join(map(json.dumps, moved)))
    assert predict([manifest], recognizer_of(folder, batch_size=2), tmp_path / "out.csv").resumed == 3


def test_what_was_answered_for_others_is_not_taken_for_the_enrolled(
    manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add, known = module.Partial.add, Recognizer.load(batch_size=2)

    def add_and_stop(self: Any, rows: Any) -> None:
        add(self, rows)
        raise KeyboardInterrupt

    for before, after, resumed in ((None, 1, 0), (1, 1, 2), (1, "all", 0)):
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(module.Partial, "add", add_and_stop)
            predict([manifest], known, tmp_path / "out.jsonl", enrol_speakers=before)
        assert predict([manifest], known, tmp_path / "out.jsonl", enrol_speakers=after).resumed == resumed


def test_mistakes_are_named(folder: Path, manifest: Path, tmp_path: Path) -> None:
    known = recognizer_of(folder)
    for paths, asked, said in (
        ([manifest, tmp_path / "sounds"], None, "turns.jsonl is a manifest: give it alone"),
        ([tmp_path / "sounds"], 2, "--enrol-speakers needs a manifest, which says who speaks"),
        ([manifest], 2, "answers for one clip at a time: a profile would change nothing"),
        ([tmp_path / "no.jsonl"], None, "no.jsonl"),
    ):
        with pytest.raises(SereneError, match=said):
            predict(paths, known, tmp_path / "out.csv", enrol_speakers=asked)
        assert not list(tmp_path.glob("out.csv*"))
