"""Predict goes on where it was interrupted, answers what changed, and replaces a file whole or not at all."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from small_model import Means, make_folder, read_csv, recognizer_of, spoken, write

from serene.errors import SereneError
from serene.inference import predict as module
from serene.inference.answer_file import Partial, csv_line, for_spreadsheets
from serene.inference.predict import predict


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


class Mates(Means):
    """What it says of a clip depends on the clips beside it."""

    def __call__(self, batch: Any) -> Any:
        outputs, means = super().__call__(batch)
        return outputs + batch.lengths.sum() * 1e-4, means


def test_cut_anywhere_a_partial_file_leads_to_the_same_bytes(folder: Path, nine: Path, tmp_path: Path) -> None:
    (nine / "1.wav").write_bytes(b"words")  # fails every time, and is answered beside nobody else for it
    output, partial = tmp_path / "out.csv", tmp_path / "out.csv.partial"
    predict([nine], recognizer_of(folder, Mates(), batch_size=2), output)
    whole = output.read_bytes()
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(module, "whole_file", interrupted_write)
        predict([nine], recognizer_of(folder, Mates(), batch_size=2), output)
    lines = partial.read_bytes()
    known = recognizer_of(folder, Mates(), batch_size=2)
    for cut in {*range(0, len(lines), 211), *range(len(lines) - 3, len(lines) + 1)}:
        output.unlink(missing_ok=True)
        partial.write_bytes(lines[:cut])
        predict([nine], known, output)
        assert output.read_bytes() == whole, cut


def interrupted_write(path: Path) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("garbage", [b"{}\n", b"\n", b"\0" * 64 + b"\n", b"words\n", b"00000000 []\n"])
def test_a_damaged_line_is_named_before_anything_is_answered(
    folder: Path, nine: Path, tmp_path: Path, garbage: bytes
) -> None:
    interrupted(folder, nine, tmp_path / "out.csv")
    partial = tmp_path / "out.csv.partial"
    for damaged in (partial.read_bytes() + garbage, partial.read_bytes().replace(b'"duration": 0', b'"duration": 1')):
        partial.write_bytes(damaged)
        with pytest.raises(
            SereneError, match=r"out\.csv\.partial is missing or damaged: line \d is not as a run wrote"
        ):
            predict([nine], recognizer_of(folder, Stopping(0), batch_size=2), tmp_path / "out.csv")


def test_two_runs_on_one_output_are_not_mixed(folder: Path, nine: Path, tmp_path: Path) -> None:
    class Second(Means):
        def __call__(self, batch: Any) -> Any:
            with pytest.raises(SereneError, match=r"Another process is writing .*out\.csv; wait until it has finished"):
                predict([nine], recognizer_of(folder, batch_size=2), tmp_path / "out.csv")
            return super().__call__(batch)

    predict([nine], recognizer_of(folder, Second(), batch_size=2), tmp_path / "out.csv")
    assert len(read_csv(tmp_path / "out.csv")) == 9
    assert {path.name for path in tmp_path.iterdir()} >= {"out.csv"}
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".out")]


def test_a_partial_file_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "out.csv.partial").mkdir()
    with pytest.raises(SereneError, match=r"Cannot use .*out\.csv\.partial, which an earlier run left: .* Remove it\."):
        Partial.begin(tmp_path / "out.csv", {}, lambda path: [path])


def test_spreadsheets_compute_nothing_where_that_is_asked_for() -> None:
    cells = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "a=1", -0.5, None, ""]
    plain = csv_line(cells)
    with for_spreadsheets():
        guarded = csv_line(cells)
    assert next(csv.reader([plain])) == ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "a=1", "-0.5", "", ""]
    assert next(csv.reader([guarded])) == [
        *("'=1+1", "'+1", "'-1", "'@SUM(A1)", "'\t=1", "'\r=1", "a=1", "-0.5", "", "")
    ]
    assert csv_line(cells) == plain
