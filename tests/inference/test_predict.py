"""Predict: a row for every sound, in order, whatever the format; an output that cannot be is refused at once."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path

import numpy as np
import pytest
from small_model import EMOTIONS, Means, Watched, make_folder, read_csv, recognizer_of, spoken, write

from serene.errors import SereneError
from serene.inference.predict import Summary, predict
from serene.inference.recognizer import Recognizer

COLUMNS = ["path", "label", *EMOTIONS, "duration", "note", "error"]


def test_every_sound_of_a_tree_is_a_row_in_the_order_of_the_sorted_paths(folder: Path, tree: Path) -> None:
    known, told = recognizer_of(folder, batch_size=1), []
    summary = predict([tree], known, tree / "out.csv", progress=lambda *step: told.append(step))
    rows = read_csv(tree / "out.csv")
    assert list(rows[0]) == COLUMNS
    names = ["a.OGG", "b/one.wav", "b/two.flac", "broken.wav", "c.wav", "silent.wav"]
    assert [row["path"] for row in rows] == [str(tree / name) for name in names]
    for row in rows:
        if row["path"].endswith(("broken.wav", "silent.wav")):
            continue
        expected = known(row["path"])
        assert row["label"] == expected.label
        assert {e: float(row[e]) for e in EMOTIONS} == pytest.approx(dict(expected.scores), abs=1e-5)
        assert float(row["duration"]) == pytest.approx(expected.duration, abs=1e-3)
        assert row["note"] == row["error"] == ""
    broken, silent = rows[3], rows[5]
    assert "broken.wav cannot be read as audio" in broken["error"]
    assert {broken[name] for name in COLUMNS[1:-1]} == {""}
    assert (silent["note"], silent["duration"], silent["error"], silent["anger"]) == ("silence", "1.0", "", "")
    assert (summary.files, summary.failed, summary.without_label, summary.passed_over) == (6, 1, 1, 1)
    assert summary.seconds == pytest.approx(1.0 + 2.5 + 0.7 + 4.0 + 1.0, abs=0.01)
    assert "Failed: 1, whose rows say why. The first: " in "\n".join(summary.lines())
    assert [step[0] for step in told] == ["answering"] * len(told)
    assert [step[1] for step in told] == sorted({step[1] for step in told})  # it grows from call to call
    assert told[-1][1:] == (6, 6)
    assert len(told) == 2  # four at a time
    assert not list(tree.glob("out.csv.partial"))


def test_the_three_formats_hold_the_same(folder: Path, tree: Path) -> None:
    known = recognizer_of(folder)
    for form in ("csv", "json", "jsonl"):
        predict([tree], known, tree.parent / f"out.{form}")
    listed = json.loads((tree.parent / "out.json").read_text())
    assert [json.loads(line) for line in (tree.parent / "out.jsonl").read_text().splitlines()] == listed
    assert list(listed[0]) == ["path", "label", "scores", "duration", "note", "error"]
    for row, flat in zip(listed, read_csv(tree.parent / "out.csv"), strict=True):
        cells = [row["path"], row["label"], *(row["scores"].get(e) for e in EMOTIONS)]
        cells += [row["duration"], row["note"], row["error"]]
        assert ["" if cell is None else str(cell) for cell in cells] == list(flat.values())


def test_channels_in_opposite_phase_are_answered_by_the_louder_and_noted(folder: Path, tmp_path: Path) -> None:
    clip = spoken(1.0)
    write(tmp_path / "mono.wav", clip, subtype="FLOAT")
    write(tmp_path / "stereo.wav", np.stack([clip, -clip], axis=1), subtype="FLOAT")
    known = recognizer_of(folder)
    assert known(tmp_path / "stereo.wav").scores == known(tmp_path / "mono.wav").scores
    summary = predict([tmp_path], known, tmp_path / "out.csv")
    mono, stereo = read_csv(tmp_path / "out.csv")
    noted = "channels in opposite phase, of which the louder is read"
    assert stereo == mono | {"path": str(tmp_path / "stereo.wav"), "note": noted}
    assert stereo["label"]
    assert (summary.remarked, summary.without_label) == ({noted: 1}, 0)
    assert f"Noted {noted}: 1." in summary.lines()
    assert known.extract(tmp_path / "mono.wav").remark is None


@pytest.mark.parametrize("form", ["csv", "json", "jsonl"])
def test_a_stream_gets_what_a_file_would_hold(form: str, folder: Path, tree: Path) -> None:
    known, stream = recognizer_of(folder), io.StringIO()
    summary = predict([tree], known, stream, form)
    predict([tree], known, tree.parent / "out", form)
    assert stream.getvalue() == (tree.parent / "out").read_text()
    assert (summary.output, summary.files) == (None, 6)
    assert not list(tree.parent.glob("*.partial"))


def test_scores_do_not_depend_on_batches_order_or_padding(folder: Path, tmp_path: Path) -> None:
    paths = [write(tmp_path / f"{i}.wav", spoken(0.4 + 0.37 * (i * 5 % 7), i)) for i in range(7)]
    scores = {}
    for batch_size in (1, 3, 16):
        real = Recognizer.load(folder, device="cpu", batch_size=batch_size)
        predict(paths[::-1], real, tmp_path / "out.json", threads=batch_size)
        rows = json.loads((tmp_path / "out.json").read_text())
        scores[batch_size] = {row["path"]: list(row["scores"].values()) for row in rows}
    alone = {str(path): list(real(path).scores.values()) for path in paths}
    assert len({tuple(np.round(own, 3)) for own in alone.values()}) == 7  # the sounds do differ
    for several in scores.values():
        for path, own in several.items():
            assert own == pytest.approx(alone[path], abs=1e-5)


def test_an_uncertain_answer_keeps_its_scores(folder: Path, tree: Path) -> None:
    predict([tree / "c.wav"], recognizer_of(folder, abstain=1.0), tree / "out.json")
    (row,) = json.loads((tree / "out.json").read_text())
    assert (row["label"], row["note"], len(row["scores"])) == (None, "uncertain", 3)


def test_a_class_that_is_called_like_a_column_is_refused_before_the_work(tmp_path: Path) -> None:
    odd = make_folder(tmp_path / "odd", emotions=("note", "neutral", "anger"))
    write(tmp_path / "a.wav", spoken(1.0))
    with pytest.raises(SereneError, match=r"A class is called 'note', as a column of CSV is; ask for --format jsonl\."):
        predict([tmp_path / "a.wav"], recognizer_of(odd), tmp_path / "out.csv")
    assert predict([tmp_path / "a.wav"], recognizer_of(odd), tmp_path / "out.jsonl").failed == 0


@pytest.mark.parametrize(
    ("output", "form", "message"),
    [
        ("out.xml", None, r"out\.xml does not end in \.csv, \.json, \.jsonl; end it so, or say --format\."),
        ("out.csv", "tsv", r"Unknown format 'tsv'\. Did you mean 'csv'\?"),
        ("folder.csv", None, r"folder\.csv is a folder; a file was expected\."),
        ("a.wav/out.csv", None, r"a\.wav"),
    ],
)
def test_an_output_that_cannot_be_is_refused_before_the_work(
    output: str, form: str | None, message: str, folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "folder.csv").mkdir()
    write(tmp_path / "a.wav", spoken(1.0))
    network = Means()
    with pytest.raises(SereneError, match=message):
        predict([tmp_path / "a.wav"], recognizer_of(folder, network), tmp_path / output, form)
    assert network.batches == []


def test_a_device_or_pipe_is_not_replaced_by_a_file(folder: Path, tmp_path: Path) -> None:
    write(tmp_path / "a.wav", spoken(1.0))
    os.mkfifo(tmp_path / "pipe.csv")
    (tmp_path / "link.csv").symlink_to("/dev/null")
    for name in ("pipe.csv", "link.csv"):
        with pytest.raises(SereneError, match=rf"{name} is a device or pipe; a file was expected\. Leave -o out"):
            predict([tmp_path / "a.wav"], recognizer_of(folder, Means()), tmp_path / name)
        assert not (tmp_path / name).is_file()
        assert not (tmp_path / f"{name}.partial").exists()


def test_the_summary_counts_in_words_that_fit() -> None:
    assert Summary("out.csv", 1, 0, 0, 2.04).lines() == ["1 file, 2.0 seconds of sound -> out.csv"]
    assert Summary(None, 3, 1, 2, 90.0, passed_over=4, first_error="a.wav holds no samples.").lines() == [
        "3 files, 1.5 minutes of sound",
        "Without a label: 2, whose notes say why.",
        "Failed: 1, whose rows say why. The first: a.wav holds no samples.",
        "Passed over: 4, whose names do not end as a sound's does.",
    ]


def test_clips_of_like_length_share_a_batch(folder: Path, tmp_path: Path) -> None:
    for i, seconds in enumerate([3.0, 0.5, 3.0, 0.5, 3.0, 0.5, 3.0, 0.5]):
        write(tmp_path / f"{i}.wav", spoken(seconds, i))
    watched = Watched(Means())
    predict([tmp_path], recognizer_of(folder, watched, batch_size=4), tmp_path / "out.csv")
    widths = [(batch.inputs.shape[1], int(batch.lengths.min())) for batch in watched.batches]
    assert len(widths) == 2
    assert all(widest < 1.5 * least for widest, least in widths)
