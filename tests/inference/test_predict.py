"""Predict: a row for every sound, in order, resumable, in bounded memory; nothing in a folder ends the run."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from small_model import EMOTIONS, Means, Watched, make_folder, recognizer_of, spoken, write

from serene.errors import SereneError
from serene.inference import ahead
from serene.inference import predict as module
from serene.inference.answer_file import Partial, csv_line
from serene.inference.clip import Clip
from serene.inference.emotion import Emotion
from serene.inference.gather import gather
from serene.inference.predict import Summary, answers, predict
from serene.inference.recognizer import Recognizer

COLUMNS = ["path", "label", *EMOTIONS, "duration", "note", "error"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_folder(tmp_path_factory.mktemp("model") / "model")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Seven files: four sounds of several lengths and kinds, silence, something broken, and something else."""
    top = tmp_path / "calls"
    write(top / "b" / "one.wav", spoken(1.0, 1))
    write(top / "b" / "two.flac", spoken(2.5, 2, 44_100), 44_100)
    write(top / "a.OGG", np.stack([spoken(0.7, 3, 48_000)] * 2, axis=1), 48_000, format="OGG")
    write(top / "c.wav", spoken(4.0, 4, 8_000), 8_000)
    write(top / "silent.wav", np.zeros(16_000))
    (top / "broken.wav").write_bytes(b"these are words")
    (top / "notes.txt").write_text("nothing")
    return top


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


# --- rows


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


# --- files and folders


def test_links_are_followed_once_and_loops_end(tmp_path: Path) -> None:
    top = tmp_path / "top"
    write(top / "z" / "a.wav", spoken(0.1))
    write(tmp_path / "elsewhere" / "b.wav", spoken(0.1))
    (top / "again").symlink_to(top / "z")  # sorted before z; the real name is the one that is kept
    (top / "z" / "up").symlink_to(top)
    (top / "other").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "back").symlink_to(top)
    (top / "itself").symlink_to(top / "itself")
    (top / "itself.wav").symlink_to(top / "itself.wav")
    (top / "gone.wav").symlink_to(top / "nowhere")
    found = gather([top])
    expected = ["gone.wav", "itself.wav", "other/b.wav", "z/a.wav"]
    assert found.paths == tuple(str(top / name) for name in expected)
    assert (found.passed_over, found.unlisted) == (1, {})  # `itself`, whose name is not a sound's


def test_what_is_given_is_taken_once_whatever_it_is_called_and_hidden_names_in_folders_are_not(tmp_path: Path) -> None:
    odd, hidden = write(tmp_path / "odd.bin", spoken(0.1), format="WAV"), tmp_path / ".hidden.wav"
    write(hidden, spoken(0.1))
    write(tmp_path / ".cache" / "a.wav", spoken(0.1))
    write(tmp_path / "._b.wav", spoken(0.1))
    c = write(tmp_path / "c.wav", spoken(0.1))
    assert gather([tmp_path, c, tmp_path]).paths == (str(c),)
    assert set(gather([odd, hidden, tmp_path]).paths) == {str(odd), str(hidden), str(c)}
    for ending in ("m4a", "MP3", "opus", "Aiff"):
        (tmp_path / f"d.{ending}").touch()
    assert [Path(path).name for path in gather([tmp_path]).paths] == ["c.wav", "d.Aiff", "d.MP3", "d.m4a", "d.opus"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["nowhere.wav"], r"There is no file or folder .*nowhere\.wav\."),
        (["empty"], r"No sound was found in .*empty: 1 files are there, and none ends in \.wav, "),
        ([], r"No sound was found in nothing"),
    ],
)
def test_where_there_is_no_sound_the_message_says_so(given: list[str], message: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "notes.txt").touch()
    with pytest.raises(SereneError, match=message):
        gather([tmp_path / name for name in given])


def test_a_folder_that_cannot_be_listed_is_a_row(folder: Path, tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scandir = os.scandir

    def refusing(path: str) -> Any:
        if os.path.basename(path) == "b":
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    summary = predict([tree], recognizer_of(folder), tree / "out.csv")
    row = read_csv(tree / "out.csv")[1]
    assert row["path"] == str(tree / "b")
    assert row["error"] == f"{tree / 'b'} cannot be listed: Permission denied."
    assert (summary.files, summary.failed) == (5, 2)


@pytest.mark.skipif(hasattr(os, "geteuid") and os.geteuid() == 0, reason="root may read everything")
def test_files_and_folders_without_permission_are_rows(folder: Path, tree: Path) -> None:
    (tree / "c.wav").chmod(0)
    (tree / "b").chmod(0)
    try:
        predict([tree], recognizer_of(folder), tree.parent / "out.csv")
    finally:
        (tree / "b").chmod(0o755)
    errors = {row["path"]: row["error"] for row in read_csv(tree.parent / "out.csv")}
    assert "Permission denied" in errors[str(tree / "b")]
    assert "Permission denied" in errors[str(tree / "c.wav")]


NAMES = ["new\nline.wav", "re\rturn.wav", 'quote", comma.wav', "ünï.wav", "=1+1.wav", " space .wav"]


def test_any_name_that_a_system_allows_is_written_and_read_back(folder: Path, tmp_path: Path) -> None:
    calls = tmp_path / "calls"
    for name in NAMES:
        write(calls / name, spoken(0.4))
    raw = os.path.join(os.fsencode(calls), b"not \xff utf-8.wav")
    (calls / NAMES[0]).rename(keep := calls / "keep.wav")
    with open(raw, "wb") as file:
        file.write(keep.read_bytes())
    keep.rename(calls / NAMES[0])
    expected = {str(calls / name) for name in NAMES} | {str(calls / "not \\udcff utf-8.wav")}
    for form in ("csv", "json"):
        assert predict([calls], recognizer_of(folder), tmp_path / f"out.{form}").failed == 0
    assert {row["path"] for row in read_csv(tmp_path / "out.csv")} == expected
    assert {row["path"] for row in json.loads((tmp_path / "out.json").read_text())} == expected
    with pytest.raises(SereneError, match=r"no file or folder .*\\udcfe"):
        gather([os.fsdecode(os.path.join(os.fsencode(calls), b"\xfe.wav"))])


def test_a_line_of_csv_is_one_record_whatever_is_in_its_cells() -> None:
    cells = ["a\rb", "c\nd", "e\r\nf", 'g"h', "i,j", "", " k"]
    line = csv_line([*cells, None, 0.5])
    assert list(csv.reader(io.StringIO(line, newline=""))) == [[*cells, "", "0.5"]]
    assert line.endswith("0.5\n")


def test_a_pipe_is_not_waited_for(folder: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.wav")
    predict([tmp_path], recognizer_of(folder), tmp_path / "out.jsonl")
    assert "it is a folder or device" in json.loads((tmp_path / "out.jsonl").read_text())["error"]


# --- going on after an interruption


class Stopping(Means):
    """Ends the run at a batch."""

    def __init__(self, at: int) -> None:
        super().__init__()
        self.at = at

    def __call__(self, batch: Any) -> Any:
        if len(self.batches) == self.at:
            raise KeyboardInterrupt
        return super().__call__(batch)


@pytest.fixture
def nine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of nine sounds, which are answered two at a time."""
    monkeypatch.setattr(module, "BATCHES", 1)
    for i in range(9):
        write(tmp_path / "nine" / f"{i}.wav", spoken(0.5 + 0.1 * i, i))
    return tmp_path / "nine"


def interrupted(folder: Path, sounds: Path, output: Path, at: int = 2) -> None:
    output.unlink(missing_ok=True)
    with pytest.raises(KeyboardInterrupt):
        predict([sounds], recognizer_of(folder, Stopping(at), batch_size=2), output)
    assert not output.exists()
    assert output.with_name(output.name + ".partial").exists()


def test_an_interrupted_run_goes_on_where_it_stopped(folder: Path, nine: Path, tmp_path: Path) -> None:
    predict([nine], recognizer_of(folder, batch_size=2), tmp_path / "whole.csv")
    interrupted(folder, nine, tmp_path / "out.csv")
    with (tmp_path / "out.csv.partial").open("a") as file:
        file.write('{"of": ["a line that was cut')
    network, told = Means(), []
    summary = predict(
        [nine], recognizer_of(folder, network, batch_size=2), tmp_path / "out.csv", progress=lambda *s: told.append(s)
    )
    assert sum(network.batches) == 5  # of nine; four were answered before
    assert told[0] == ("answering", 6, 9)
    assert (summary.files, summary.resumed, summary.anew) == (9, 4, None)
    assert "Answered before the run was interrupted: 4 of them." in summary.lines()
    assert (tmp_path / "out.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()
    assert not (tmp_path / "out.csv.partial").exists()


def test_what_changed_failed_or_came_in_between_is_answered(folder: Path, nine: Path, tmp_path: Path) -> None:
    good = (nine / "1.wav").read_bytes()
    (nine / "1.wav").write_bytes(b"words")
    interrupted(folder, nine, tmp_path / "out.jsonl", at=3)
    (nine / "1.wav").write_bytes(good)  # failed before
    write(nine / "0.wav", spoken(3.0, 77))  # another sound now
    os.utime(nine / "2.wav", ns=(0, 0))  # perhaps another
    write(nine / "00.wav", spoken(0.5, 78))
    (nine / "3.wav").rename(nine / "9.wav")
    network = Means()
    summary = predict([nine], recognizer_of(folder, network, batch_size=2), tmp_path / "out.jsonl")
    assert (summary.files, summary.failed, summary.resumed) == (10, 0, 2)  # 4.wav and 5.wav
    assert sum(network.batches) == 8
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [Path(row["path"]).stem for row in rows] == ["0", "00", "1", "2", "4", "5", "6", "7", "8", "9"]
    assert rows[0]["duration"] == 3.0
    assert rows[0]["scores"] == pytest.approx(dict(recognizer_of(folder)(nine / "0.wav").scores), abs=1e-5)


def test_another_model_or_other_settings_begin_anew_and_say_so(folder: Path, nine: Path, tmp_path: Path) -> None:
    other = make_folder(tmp_path / "other", emotions=("calm", "fear", "neutral"))
    for known in (recognizer_of(other, batch_size=2), recognizer_of(folder, batch_size=2, abstain=0.9)):
        interrupted(folder, nine, tmp_path / "out.csv")
        summary = predict([nine], known, tmp_path / "out.csv")
        assert summary.resumed == 0
        partial = tmp_path / "out.csv.partial"
        assert summary.anew == f"{partial} was left by another model or other settings; everything is answered anew."
        assert f"Note: {summary.anew}" in summary.lines()
    interrupted(folder, nine, tmp_path / "out.csv")
    summary = predict([nine], recognizer_of(folder, batch_size=3), tmp_path / "out.csv", "json")
    assert (summary.resumed, summary.anew) == (4, None)  # batches and format are no such settings


def test_another_way_to_the_same_files_goes_on_too(
    folder: Path, nine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupted(folder, nine, tmp_path / "out.jsonl")
    monkeypatch.chdir(nine)
    assert predict(["."], recognizer_of(folder), tmp_path / "out.jsonl").resumed == 4
    assert json.loads((tmp_path / "out.jsonl").read_text().splitlines()[0])["path"] == os.path.join(".", "0.wav")


def test_a_run_that_is_killed_has_kept_its_rows(folder: Path, nine: Path, tmp_path: Path) -> None:
    script = f"""
import os, signal, sys
sys.path[:0] = {sys.path!r}
from pathlib import Path
from small_model import Means, recognizer_of
from serene.inference import predict
class Killed(Means):
    def __call__(self, batch):
        if len(self.batches) == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__call__(batch)
predict.BATCHES = 1
known = recognizer_of(Path({str(folder)!r}), Killed(), batch_size=2)
predict.predict([{str(nine)!r}], known, {str(tmp_path / "out.csv")!r})
"""
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == -signal.SIGKILL
    summary = predict([nine], recognizer_of(folder, batch_size=2), tmp_path / "out.csv")
    assert (summary.resumed, summary.files) == (4, 9)
    assert [Path(row["path"]).stem for row in read_csv(tmp_path / "out.csv")] == list("012345678")


def test_a_finished_file_is_replaced_whole_or_not_at_all(folder: Path, nine: Path, tmp_path: Path) -> None:
    (tmp_path / "out.csv").write_text("from yesterday")
    with pytest.raises(KeyboardInterrupt):
        predict([nine], recognizer_of(folder, Stopping(1), batch_size=2), tmp_path / "out.csv")
    assert (tmp_path / "out.csv").read_text() == "from yesterday"
    predict([nine], recognizer_of(folder), tmp_path / "out.csv")
    assert len(read_csv(tmp_path / "out.csv")) == 9


def test_a_partial_file_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "out.csv.partial").mkdir()
    with pytest.raises(SereneError, match=r"Cannot use .*out\.csv\.partial, which an earlier run left: .* Remove it\."):
        Partial.begin(tmp_path / "out.csv", {})


# --- decoding ahead


class Counting:
    """A recognizer whose sounds are numbers of seconds; it counts those extracted and not yet answered."""

    def __init__(self, lengths: Sequence[float], longest: float, batch_size: int = 4) -> None:
        self.lengths, self.batch_size = lengths, batch_size
        self.extractor = SimpleNamespace(longest=longest)
        self.lock, self.held, self.most, self.extracted = threading.Lock(), 0.0, 0.0, 0
        self.may = threading.Event()
        self.may.set()

    def extract(self, path: str) -> Clip:
        duration = self.lengths[int(path)]
        time.sleep(0.0005 * (int(path) % 3))  # so that they do not end in the order of their beginnings
        with self.lock:
            self.held += duration
            self.most = max(self.most, self.held)
            self.extracted += 1
        return Clip(duration, np.zeros((1, 1), np.float32))

    def answer(self, clips: Sequence[Clip]) -> list[Emotion]:
        assert self.may.wait(30)
        with self.lock:
            self.held -= sum(clip.duration for clip in clips)
        return [Emotion("neutral", {"neutral": 1.0}, clip.duration) for clip in clips]


def run(known: Counting, threads: int) -> list[dict[str, Any]]:
    paths = [str(i) for i in range(len(known.lengths))]
    return [row for rows in answers(paths, known, threads=threads) for row in rows.values()]  # type: ignore[arg-type]


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("longest", [10.0, 600.0])
def test_no_more_than_some_seconds_of_sound_are_in_memory(longest: float, threads: int) -> None:
    lengths = np.random.default_rng(0).uniform(0.1, longest, 150).tolist()
    known = Counting(lengths, longest)
    rows = run(known, threads)
    assert [row["duration"] for row in rows] == [round(length, 3) for length in lengths]
    assert known.most <= 2 * ahead.TOGETHER + threads * longest
    assert known.held == pytest.approx(0, abs=1e-6)


def test_decoding_runs_ahead_while_the_network_is_busy_and_then_waits() -> None:
    known = Counting([100.0] * 40, longest=100.0)
    known.may.clear()
    worker = threading.Thread(target=run, args=(known, 2))
    worker.start()
    try:
        room = (2 * ahead.TOGETHER + 2 * 100.0) / 100.0
        for _ in range(400):
            if known.extracted >= int(room):
                break
            time.sleep(0.01)
        time.sleep(0.1)
        assert known.extracted == int(room) == 6
    finally:
        known.may.set()
        worker.join(30)
    assert known.extracted == 40


def test_broken_files_take_room_too() -> None:
    known, tried = Counting([], longest=10.0), []

    def refusing(path: str) -> Clip:
        tried.append(path)
        raise SereneError(f"{path} is broken")

    known.extract = refusing  # type: ignore[method-assign]
    few = answers([str(i) for i in range(3000)], known, threads=2)  # type: ignore[arg-type]
    first = next(few)
    assert list(first) == [str(i) for i in range(16)]
    assert first["3"]["error"] == "3 is broken"
    time.sleep(0.2)
    assert len(tried) <= (2 * ahead.TOGETHER + 2 * 10.0) / ahead.LEAST  # a second each
    assert sum(len(rows) for rows in few) == 2984


def test_what_the_front_end_stumbles_over_is_a_row_and_a_mistake_in_the_code_is_not() -> None:
    known = Counting([1.0] * 3, longest=10.0)
    extract = known.extract

    def stumbling(path: str) -> Clip:
        if path == "1":
            raise ValueError("no such frame")
        return extract(path)

    known.extract = stumbling  # type: ignore[method-assign]
    rows = run(known, 1)
    assert [row["error"] for row in rows] == [None, "1 cannot be heard: ValueError('no such frame')", None]
    known.extract = lambda path: {}[path]  # type: ignore[method-assign]
    with pytest.raises(KeyError):
        run(known, 2)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("extract")]


def test_clips_of_like_length_share_a_batch(folder: Path, tmp_path: Path) -> None:
    for i, seconds in enumerate([3.0, 0.5, 3.0, 0.5, 3.0, 0.5, 3.0, 0.5]):
        write(tmp_path / f"{i}.wav", spoken(seconds, i))
    watched = Watched(Means())
    predict([tmp_path], recognizer_of(folder, watched, batch_size=4), tmp_path / "out.csv")
    widths = [(batch.inputs.shape[1], int(batch.lengths.min())) for batch in watched.batches]
    assert len(widths) == 2
    assert all(widest < 1.5 * least for widest, least in widths)
