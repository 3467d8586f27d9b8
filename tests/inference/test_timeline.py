"""Timeline: windows cover a sound of any length, in bounded memory; segments join them; files are what players read."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import re
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile
from small_model import EMOTIONS, Means, make_folder, recognizer_of, spoken, write

from serene import sound
from serene.errors import AudioError, MissingExtra, SereneError
from serene.inference import timeline as module
from serene.inference import timeline_file
from serene.inference.emotion import Segment
from serene.inference.recognizer import Recognizer
from serene.inference.timeline import Timeline, merged, timeline
from serene.inference.timeline_file import text_of, timelines, timestamp
from serene.inference.timeline_file import write as write_timeline
from serene.inference.timeline_picture import MOST_POINTS, figure_of
from serene.task import Dimensions, Task


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_folder(tmp_path_factory.mktemp("model") / "model")


@pytest.fixture
def recognizer(folder: Path) -> Recognizer:
    return recognizer_of(folder, batch_size=2)


@pytest.fixture
def call(tmp_path: Path) -> Path:
    """Speech for 6 s, silence for 6 s, speech for 4.4 s."""
    return write(tmp_path / "call.wav", np.concatenate([spoken(6.0, 1), np.zeros(96_000), spoken(4.4, 2)]))


def made(kinds: str, *, dimensions: bool = False, name: str = "a.wav") -> Timeline:
    """Make a timeline of windows of 3 s every second: `a` and `n` for labels, `s` for silence, `u` for uncertain."""
    task = (Dimensions if dimensions else Task)(("anger", "neutral"))
    shares = {"a": {"anger": 0.75, "neutral": 0.25}, "n": {"anger": 0.25, "neutral": 0.75}}
    shares |= {"u": {"anger": 0.5, "neutral": 0.5}, "s": {}}
    windows = [
        Segment(
            float(i),
            i + 3.0,
            {"a": "anger", "n": "neutral"}.get(kind) if not dimensions else None,
            shares[kind],
            {"s": "silence", "u": "uncertain"}.get(kind),
        )
        for i, kind in enumerate(kinds)
    ]
    seen = SimpleNamespace(folder=SimpleNamespace(task=task), abstain=None)
    emotion = module._whole(windows, merged(windows, 1.0, apart=dimensions), seen)  # type: ignore[arg-type]
    return Timeline(name, task, 3.0, 1.0, tuple(windows), emotion)


# --- windows


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0.5, [(0, 0.5)]),
        (3.0, [(0, 3)]),
        (3.001, [(0, 3), (1, 3.001)]),
        (5.0, [(0, 3), (1, 4), (2, 5)]),
        (5.4, [(0, 3), (1, 4), (2, 5), (3, 5.4)]),
    ],
)
def test_windows_cover_the_sound_and_the_last_ends_with_it(
    seconds: float, expected: list[tuple[float, float]], recognizer: Recognizer
) -> None:
    told: list[Any] = []
    line = timeline(spoken(seconds), recognizer, 16_000, progress=lambda *step: told.append(step))
    assert [(window.start, window.end) for window in line.windows] == expected
    assert line.emotion.duration == expected[-1][1]
    assert told[-1] == ("answering", len(expected), len(expected))


@pytest.mark.parametrize(("size", "step"), [(30, 10), (30, 30), (7, 3), (1, 1)])
def test_whatever_the_blocks_the_windows_are_the_same_and_leave_nothing_out(size: int, step: int) -> None:
    generator = np.random.default_rng(0)
    for length in (1, size - 1 or 1, size, size + 1, size + step, 97):
        samples = np.arange(length, dtype=np.float32)
        cuts = np.sort(generator.integers(0, length + 1, size=5))
        windows = list(module._cut(np.split(samples, cuts), size, step))
        starts = [0]
        while starts[-1] + size < length:
            starts.append(starts[-1] + step)
        assert [start for start, _ in windows] == starts
        for start, held in windows:
            assert held.tolist() == samples[start : start + size].tolist()
        assert windows[-1][1][-1] == length - 1


def test_a_window_has_the_scores_of_its_samples_alone(folder: Path, call: Path) -> None:
    real = Recognizer.load(folder, device="cpu", batch_size=4)
    line, samples = timeline(call, real), sound.read(call)
    for window in line.windows:
        alone = real(samples[round(16_000 * window.start) : round(16_000 * window.end)], 16_000)
        assert (window.label, window.note) == (alone.label, alone.note)
        assert dict(window.scores) == pytest.approx(dict(alone.scores), abs=1e-5)
    assert {window.note for window in line.windows} == {None, "silence"}


def test_the_whole_sound_has_the_mean_scores_of_the_windows_with_speech(recognizer: Recognizer, call: Path) -> None:
    line = timeline(call, recognizer)
    scored = [window.scores for window in line.windows if window.scores]
    assert 0 < len(scored) < len(line.windows)
    for emotion in EMOTIONS:
        expected = sum(scores[emotion] for scores in scored) / len(scored)
        assert line.emotion.scores[emotion] == pytest.approx(expected)
    assert line.emotion.label == max(line.emotion.scores, key=lambda name: line.emotion.scores[name])
    assert line.emotion.segments[-1].end == line.emotion.duration == pytest.approx(16.4)


def test_where_there_is_no_speech_there_is_a_note_and_no_label(recognizer: Recognizer) -> None:
    line = timeline(np.zeros(80_000, np.float32), recognizer, 16_000)
    assert (line.emotion.label, line.emotion.note, dict(line.emotion.scores)) == (None, "silence", {})
    assert [(s.start, s.end, s.note) for s in line.emotion.segments] == [(0.0, 5.0, "silence")]
    hiss = (0.1 * np.random.default_rng(0).standard_normal(80_000)).astype(np.float32)
    assert timeline(hiss, recognizer, 16_000).emotion.note == "noise"
    assert timeline(np.ones(1, np.float32), recognizer, 16_000).emotion.note == "too short"


def test_under_the_threshold_windows_and_whole_are_uncertain(folder: Path, call: Path) -> None:
    line = timeline(call, recognizer_of(folder, abstain=1.0))
    assert {window.note for window in line.windows} == {"uncertain", "silence"}
    assert (line.emotion.label, line.emotion.note, len(line.emotion.scores)) == (None, "uncertain", 3)


@pytest.mark.parametrize(
    ("window", "hop"), [(0.4, 0.4), (700.0, 1.0), (3.0, 0.0), (3.0, 3.5), (math.nan, 1.0), (3.0, math.nan)]
)
def test_a_window_that_cannot_be_is_refused(window: float, hop: float, recognizer: Recognizer, call: Path) -> None:
    said = (
        r"(A window of .* s was asked for; 0\.5 to 600 s were expected)|(A hop of .* s was asked for; more than 0 s,)"
    )
    with pytest.raises(SereneError, match=said):
        timeline(call, recognizer, window=window, hop=hop)


# --- segments


def test_windows_of_one_kind_are_joined_and_borders_lie_between_middles() -> None:
    line = made("aanssu")
    # middles of the windows at 1.5, 2.5, ...; so borders at 2, 3, 4, ... between windows 0 and 1, 1 and 2, ...
    kinds = [(s.start, s.end, s.label, s.note) for s in line.emotion.segments]
    assert kinds == [
        (0.0, 3.0, "anger", None),
        (3.0, 4.0, "neutral", None),
        (4.0, 6.0, None, "silence"),
        (6.0, 8.0, None, "uncertain"),
    ]
    assert line.emotion.segments[0].scores == {"anger": 0.75, "neutral": 0.25}
    assert line.emotion.segments[2].scores == {}


def test_a_segment_has_the_mean_scores_of_its_windows() -> None:
    windows = [Segment(0.0, 3.0, "a", {"a": 0.9, "b": 0.1}), Segment(1.0, 4.0, "a", {"a": 0.7, "b": 0.3})]
    (segment,) = merged(windows, 1.0)
    assert segment.scores == pytest.approx({"a": 0.8, "b": 0.2})
    assert (segment.start, segment.end) == (0.0, 4.0)


def test_windows_of_dimensions_stay_by_themselves(tmp_path: Path, call: Path) -> None:
    rated = make_folder(tmp_path / "rated", dimensions=True, emotions=("arousal", "valence", "dominance"))
    line = timeline(call, recognizer_of(rated))
    assert line.task.gives == "values"
    spoken_windows = sum(bool(window.scores) for window in line.windows)
    assert sum(bool(segment.scores) for segment in line.emotion.segments) == spoken_windows > 4
    assert (line.emotion.label, line.emotion.note, len(line.emotion.scores)) == (None, None, 3)


# --- memory


def test_a_file_is_decoded_in_blocks_that_make_what_reading_makes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stereo = np.stack([spoken(5.0, 1, 44_100), spoken(5.0, 2, 44_100)], axis=1)
    path = write(tmp_path / "a.flac", stereo, 44_100)
    whole = sound.read(path)
    monkeypatch.setattr(sound, "AT_ONCE", 20_000)
    blocks = list(sound.blocks(path))
    assert len(blocks) == math.ceil(5 * 44_100 / 10_000)
    assert max(map(len, blocks)) < 10_000
    assert np.array_equal(np.concatenate(blocks), whole)
    assert np.array_equal(sound.read(path, 1.25, 2.5), whole_part(path, 1.25, 2.5))


def whole_part(path: Path, start: float, duration: float) -> np.ndarray:
    samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    first = round(start * rate)
    return sound.resample(samples[first : first + round(duration * rate)].mean(axis=1), rate)


def test_memory_does_not_grow_with_the_length(
    recognizer: Recognizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sound, "AT_ONCE", 2**15)
    peaks = []
    for minutes in (0.5, 2.0):
        path = write(tmp_path / f"{minutes}.wav", np.zeros(round(minutes * 60 * 16_000)))
        timeline(path, recognizer)  # what is imported and kept for good
        tracemalloc.start()
        timeline(path, recognizer)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] - peaks[0] < 300_000  # 90 s of samples are 5,760,000 bytes
    assert peaks[1] < 3_000_000


@pytest.mark.slow
def test_an_hour_takes_little_memory(recognizer: Recognizer, tmp_path: Path) -> None:
    minute = np.round(32_767 * np.concatenate([spoken(2.0), np.zeros(58 * 16_000)])).astype(np.int16)
    with soundfile.SoundFile(tmp_path / "hour.flac", "w", 16_000, 1, subtype="PCM_16") as file:
        for _ in range(60):
            file.write(minute)
    tracemalloc.start()
    line = timeline(tmp_path / "hour.flac", recognizer, hop=3.0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(line.windows) == 1200
    assert sum(bool(window.scores) for window in line.windows) >= 60
    assert peak < 100e6  # an hour of samples is 230e6 bytes


# --- sounds


def test_bytes_open_files_and_arrays_are_sounds_too(recognizer: Recognizer, call: Path) -> None:
    expected = timeline(call, recognizer).to_dict()
    with call.open("rb") as file:
        opened = timeline(file, recognizer, progress=lambda *_: None).to_dict()
    held = timeline(call.read_bytes(), recognizer).to_dict()
    array = timeline((sound.read(call), 16_000), recognizer).to_dict()
    assert expected["path"] == opened["path"] == str(call)
    assert held["path"] == array["path"] == "the sound"
    for other in (opened, held, array):
        assert {**other, "path": ""} == {**expected, "path": ""}


@pytest.mark.parametrize("rate", [8_000, 44_100, 192_000])
def test_any_rate_has_the_same_windows(rate: int, recognizer: Recognizer, tmp_path: Path) -> None:
    line = timeline(write(tmp_path / "a.wav", spoken(4.5, 1, rate), rate), recognizer)
    assert [(window.start, window.end) for window in line.windows] == [(0, 3), (1, 4), (2, 4.5)]


def test_what_is_wrong_with_a_sound_is_said_with_its_name(recognizer: Recognizer, tmp_path: Path) -> None:
    with pytest.raises(AudioError, match=r"empty\.wav holds no samples"):
        timeline(write(tmp_path / "empty.wav", np.zeros(0)), recognizer)
    nan = spoken(30.0)
    nan[400_000] = np.nan
    with pytest.raises(AudioError, match=r"nan\.wav holds samples that are not finite"):
        timeline(write(tmp_path / "nan.wav", nan, subtype="FLOAT"), recognizer)
    with pytest.raises(AudioError, match=r"loud\.wav holds samples up to .*Divide by 32768"):
        timeline(write(tmp_path / "loud.wav", spoken(2.0) * 32_768, subtype="FLOAT"), recognizer)
    (tmp_path / "words.wav").write_text("words")
    with pytest.raises(AudioError, match=r"words\.wav cannot be read as audio"):
        timeline(tmp_path / "words.wav", recognizer, progress=lambda *_: None)


# --- files


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
    line = made("aansu")
    shown = list(cues("".join(text_of(line, "vtt"))))
    assert shown == [
        (0.0, 3.0, "anger 75 %"),
        (3.0, 4.0, "neutral 75 %"),
        (4.0, 5.0, "(silence)"),
        (5.0, 7.0, "(uncertain)"),
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


def test_one_sound_becomes_the_file_that_is_named_or_all_of_them(recognizer: Recognizer, call: Path, tmp_path: Path) -> None:
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


# --- the picture


def test_the_picture_names_classes_and_segments_and_leaves_silence_blank() -> None:
    figure = figure_of(made("a" * 20 + "s" * 20 + "n" * 20))
    areas, strip = figure.axes
    assert [text.get_text() for text in areas.texts] == ["anger", "neutral"]
    assert [text.get_text() for text in strip.texts] == ["anger", "silence", "neutral"]
    assert areas.get_title(loc="left") == "a.wav"
    shapes = [area.get_paths()[0].vertices for area in areas.collections]
    # two stretches of speech with an area for each class, and the ground of what lies between
    assert [shape[:, 1].max() for shape in shapes] == pytest.approx([0.75, 1.0, 0.25, 1.0, 1.0])
    ends = [(shape[:, 0].min(), shape[:, 0].max()) for shape in shapes]
    assert ends == [(0, 21), (0, 21), (41, 62), (41, 62), (21, 41)]


def test_a_picture_of_dimensions_has_a_line_for_each(recognizer: Recognizer) -> None:
    figure = figure_of(made("anans", dimensions=True))
    assert all(0.2 < axes.get_ylim()[0] < axes.get_ylim()[1] < 0.8 for axes in figure.axes)
    assert [axes.get_ylabel() for axes in figure.axes] == ["anger", "neutral"]
    assert [axes.lines[0].get_ydata().tolist() for axes in figure.axes] == [
        [0.75, 0.75, 0.25, 0.75, 0.25, 0.25],
        [0.25, 0.25, 0.75, 0.25, 0.75, 0.75],
    ]


def test_a_long_picture_averages_neighbours() -> None:
    figure = figure_of(made("an" * 1500 + "s" * 1000))
    anger, _, _ = figure.axes[0].collections
    shape = anger.get_paths()[0].vertices
    assert len(np.unique(shape[:, 0])) <= MOST_POINTS + 2
    # five neighbours: three of one kind and two of the other
    assert {round(y, 3) for y in shape[:, 1]} == {0.0, 0.45, 0.55}
    assert shape[:, 0].max() == pytest.approx(3001, abs=5)


def test_any_number_of_classes_and_any_names_are_drawn(tmp_path: Path) -> None:
    labels = tuple(["$a_b$", "_hidden", *(f"class {i}" for i in range(18))])
    scores = dict.fromkeys(labels, 1 / 20)
    windows = (Segment(0.0, 0.5, labels[0], scores),)
    seen: Any = SimpleNamespace(folder=SimpleNamespace(task=Task(("anger", "neutral"))), abstain=None)
    emotion = module._whole(windows, merged(windows, 1.0), seen)
    line = Timeline("odd $name_.wav", Task(labels), 3.0, 1.0, windows, emotion)
    write_timeline(line, tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size > 10_000
    write_timeline(line, tmp_path / "b.png")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_without_matplotlib_the_rest_is_written_and_the_command_that_installs_it_is_named(
    recognizer: Recognizer, call: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "matplotlib" or name.endswith("_picture")]:
        monkeypatch.delitem(sys.modules, name)
    for name in ("serene.reporting.picture_style", "serene.inference.timeline_picture"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    written = timelines([call], recognizer, tmp_path / "all")
    assert [Path(file).suffix for file in written.files] == [".csv", ".json", ".vtt"]
    says = "matplotlib is not installed. Install it with: pip install 'serene-ser[train]'"
    assert written.remarks == (f"There is no picture: {says}",)
    with pytest.raises(MissingExtra, match=re.escape(says)):
        timelines([call], recognizer, tmp_path / "a.png")
    assert not (tmp_path / "a.png").exists()


def test_neither_torch_nor_matplotlib_is_imported_before_it_is_needed() -> None:
    script = (
        "import sys, serene.inference.predict, serene.inference.timeline_file; "
        "print({'torch', 'transformers', 'matplotlib', 'sklearn'} & set(sys.modules))"
    )
    path = os.environ | {"PYTHONPATH": str(Path(sound.__file__).parents[1])}
    ended = subprocess.run([sys.executable, "-c", script], env=path, capture_output=True, text=True, check=True)
    assert ended.stdout == "set()\n"


def test_batches_hold_windows_of_the_whole_sound(folder: Path, call: Path) -> None:
    network = Means()
    line = timeline(call, recognizer_of(folder, network, batch_size=5))
    assert max(network.batches) == 5
    assert sum(network.batches) == sum(bool(window.scores) for window in line.windows)
