"""A timeline's files are what players and spreadsheets read; what cannot be written is said before the work."""

from __future__ import annotations

import csv
import io
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from made_timeline import made
from small_model import EMOTIONS, spoken, write

from serene.errors import AudioError, MissingExtra, SereneError
from serene.inference import timeline_file
from serene.inference.emotion import Segment
from serene.inference.recognizer import Recognizer
from serene.inference.timeline import Timeline, timeline
from serene.inference.timeline_file import text_of, timelines, timestamp
from serene.task import Task


def cues(text: str) -> Iterator[tuple[float, float, str]]:
    """Read WebVTT as the standard has it: a header, and blocks of a line of times and lines of text."""
    head, *blocks = text.split("\n\n")
    assert head == "WEBVTT"
    time = r"(\d{2,}):([0-5]\d):([0-5]\d)\.(\d{3})"
    for block in blocks:
        times, _, words = block.rstrip("\n").partition("\n")
        found = re.fullmatch(f"{time} --> {time}", times)
        assert found and words and "-->" not in words and "\n" not in words
        assert not re.search(r"<|&(?!(amp|lt|gt);)", words)
        parts = list(map(int, found.groups()))
        start, end = (3600 * h + 60 * m + s + ms / 1000 for h, m, s, ms in (parts[:4], parts[4:]))
        yield start, end, words


def test_subtitles_are_valid_and_follow_the_segments() -> None:
    line = made("aaaaaannnnnnsu")
    shown = list(cues("".join(text_of(line, "vtt"))))
    assert shown == [
        (0.0, 7.0, "anger 75 %"),
        (7.0, 13.0, "neutral 75 %"),
        (13.0, 14.0, "(silence)"),
        (14.0, 16.0, "(uncertain)"),
    ]
    assert all(start < end for start, end, _ in shown)
    rated = list(cues("".join(text_of(made("an", dimensions=True), "vtt"))))
    assert [words for _, _, words in rated] == ["anger 0.75, neutral 0.25", "anger 0.25, neutral 0.75"]


def test_names_cannot_break_the_subtitles() -> None:
    odd = "<b>a\n\n00:00 --> & b</b>"
    windows = (Segment(0.0, 3.0, odd, {odd: 1.0}),)
    emotion = SimpleNamespace(segments=(*windows, Segment(3.0, 3.0001, None, {}, "silence")))
    line = Timeline("a", Task((odd,)), 3.0, 1.0, windows, emotion)  # type: ignore[arg-type]
    ((_, _, words),) = cues("".join(text_of(line, "vtt")))  # a cue of no time is left out
    assert words == "&lt;b&gt;a 00:00 --&gt; &amp; b&lt;/b&gt; 100 %"


@pytest.mark.parametrize(
    ("seconds", "written"),
    [(0, "00:00:00.000"), (59.9996, "00:01:00.000"), (3599.9994, "00:59:59.999"), (360_061.5, "100:01:01.500")],
)
def test_times_are_hours_minutes_seconds(seconds: float, written: str) -> None:
    assert timestamp(seconds) == written


def test_csv_has_a_row_for_each_window_and_json_everything(recognizer: Recognizer, call: Path) -> None:
    line = timeline(call, recognizer)
    rows = list(csv.DictReader(io.StringIO("".join(text_of(line, "csv")), newline="")))
    assert list(rows[0]) == ["start", "end", "label", *EMOTIONS, "note"]
    for row, window in zip(rows, line.windows, strict=True):
        assert (float(row["start"]), float(row["end"])) == (window.start, window.end)
        assert (row["label"], row["note"]) == (window.label or "", window.note or "")
        scores = {name: float(row[name]) for name in EMOTIONS if row[name]}
        assert scores == pytest.approx(dict(window.scores), rel=1e-5)
    held = json.loads("".join(text_of(line, "json")))
    assert [len(held["windows"]), len(held["segments"])] == [len(line.windows), len(line.emotion.segments)]
    assert [held["label"], held["window"], held["hop"], held["path"]] == [line.emotion.label, 3.0, 1.0, str(call)]
    assert held["segments"][0]["scores"] == pytest.approx(dict(line.emotion.segments[0].scores), abs=1e-3)


def test_one_sound_becomes_the_file_that_is_named_or_all_of_them(
    recognizer: Recognizer, call: Path, tmp_path: Path
) -> None:
    told: list[Any] = []
    written = timelines([call], recognizer, tmp_path / "line.vtt", progress=lambda *step: told.append(step))
    assert written.files == (str(tmp_path / "line.vtt"),)
    assert told[-1] == ("call.wav", 15, 15)
    written = timelines([call], recognizer, tmp_path / "all")
    assert [Path(file).name for file in written.files] == ["all.csv", "all.json", "all.vtt", "all.png"]
    assert (tmp_path / "all.vtt").read_text() == (tmp_path / "line.vtt").read_text()
    assert (tmp_path / "all.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    timelines([call], recognizer, tmp_path / "odd.name", "csv", window=6.0, hop=2.0)
    assert (tmp_path / "odd.name").read_text().splitlines()[1].startswith("0.0,6.0,")
    stream = io.StringIO()
    assert timelines([call], recognizer, stream).files == ()
    assert stream.getvalue() == (tmp_path / "all.csv").read_text()


def test_several_sounds_become_a_folder_and_a_broken_one_fails_by_itself(
    recognizer: Recognizer, call: Path, tmp_path: Path
) -> None:
    write(tmp_path / "more" / "sub" / "b.flac", spoken(2.0))
    (tmp_path / "more" / "broken.wav").write_text("words")
    written = timelines([call, tmp_path / "more"], recognizer, tmp_path / "out", "json")
    names = [str(Path(file).relative_to(tmp_path / "out")) for file in written.files]
    assert names == ["call.wav.json", "more/sub/b.flac.json"]
    assert list(written.failed) == [str(tmp_path / "more" / "broken.wav")]
    assert any(line.startswith("failed: ") and "broken.wav cannot be read" in line for line in written.lines())
    assert json.loads((tmp_path / "out/more/sub/b.flac.json").read_text())["duration"] == 2.0
    with pytest.raises(AudioError, match="broken"):
        timelines([tmp_path / "more" / "broken.wav"], recognizer, tmp_path / "out")
    with pytest.raises(SereneError, match=r"3 sounds were given: name a folder for their timelines"):
        timelines([call, tmp_path / "more"], recognizer, io.StringIO())


@pytest.mark.parametrize(
    ("output", "form", "message"),
    [
        ("a.mp4", None, r"a\.mp4 does not end in \.csv, \.json, \.vtt, \.png"),
        ("a", "vvt", r"Unknown format 'vvt'\. Did you mean 'vtt'\?"),
        (None, "png", r"A picture needs a file: name one, as -o call\.png"),
        (None, "xml", r"Unknown format 'xml'"),
    ],
)
def test_a_format_that_there_is_not(
    output: str | None, form: str | None, message: str, recognizer: Recognizer, call: Path, tmp_path: Path
) -> None:
    with pytest.raises(SereneError, match=message):
        timelines([call], recognizer, tmp_path / output if output else io.StringIO(), form)


def test_what_cannot_be_written_is_said_before_the_work(
    recognizer: Recognizer, call: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the sound was answered for")

    other = write(tmp_path / "other.wav", spoken(1.0))
    monkeypatch.setattr(timeline_file, "timeline", refuse)
    with pytest.raises(SereneError, match=r"Unknown format 'xml'"):
        timelines([call], recognizer, io.StringIO(), "xml")
    with pytest.raises(SereneError, match=r"both\.csv is called as a file is: name a folder for their timelines"):
        timelines([call, other], recognizer, tmp_path / "both.csv")
    assert not (tmp_path / "both.csv").exists()
    monkeypatch.setattr(timeline_file, "_drawer", _without_matplotlib)
    with pytest.raises(MissingExtra, match="matplotlib is not installed"):
        timelines([call], recognizer, tmp_path / "call.png")


def _without_matplotlib() -> None:
    raise MissingExtra("matplotlib", "train")


def test_without_matplotlib_the_rest_is_written_and_the_command_that_installs_it_is_named(
    recognizer: Recognizer, call: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "matplotlib" or name.endswith("_picture")]:
        monkeypatch.delitem(sys.modules, name)
    for name in ("serene.reporting.style", "serene.inference.timeline_picture"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    written = timelines([call], recognizer, tmp_path / "all")
    assert [Path(file).suffix for file in written.files] == [".csv", ".json", ".vtt"]
    says = "matplotlib is not installed. Install it with: pip install 'serene-ser[train]'"
    assert written.remarks == (f"There is no picture: {says}",)
    with pytest.raises(MissingExtra, match=re.escape(says)):
        timelines([call], recognizer, tmp_path / "a.png")
    assert not (tmp_path / "a.png").exists()
