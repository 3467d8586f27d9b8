"""Timeline: windows cover a sound of any length, in bounded memory; segments join them."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import tracemalloc
from collections.abc import Sequence
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from made_timeline import made
from small_model import EMOTIONS, Means, make_folder, recognizer_of, spoken, write

from serene import sound
from serene.errors import AudioError, SereneError
from serene.inference import timeline as module
from serene.inference.emotion import Segment
from serene.inference.recognizer import Recognizer
from serene.inference.segments import merged, pauses_of, smoothed, watched
from serene.inference.timeline import timeline
from serene.inference.timeline_file import timelines

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
        windows = list(module._cut(np.split(samples, cuts), size / 16_000, step / 16_000))
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


def test_channels_in_opposite_phase_are_heard_and_remarked(recognizer: Recognizer, tmp_path: Path) -> None:
    clip = spoken(4.0)
    path = write(tmp_path / "call.wav", np.stack([clip, -clip], axis=1), subtype="FLOAT")
    alone = timeline(clip, recognizer, 16_000)
    for line in (timeline(path, recognizer), timeline(np.stack([clip, -clip]), recognizer, 16_000)):
        assert line.windows == alone.windows
        assert (line.emotion.remark, line.emotion.note) == (sound.OPPOSITE, None)
    assert alone.emotion.remark is None
    written = timelines([path], recognizer, tmp_path / "call.json")
    assert written.remarks == (f"{path}: channels in opposite phase, of which the louder is read.",)
    assert json.loads((tmp_path / "call.json").read_text())["note"] == sound.OPPOSITE


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
    assert timeline(hiss, recognizer, 16_000).emotion.note == "no speech"
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
    line = made("aaaaaannnnnnssu")
    # middles of the windows at 1.5, 2.5, ...; so borders at 2, 3, 4, ... between windows 0 and 1, 1 and 2, ...
    kinds = [(s.start, s.end, s.label, s.note) for s in line.emotion.segments]
    assert kinds == [
        (0.0, 7.0, "anger", None),
        (7.0, 13.0, "neutral", None),
        (13.0, 15.0, None, "silence"),
        (15.0, 17.0, None, "uncertain"),
    ]
    assert line.emotion.segments[0].scores == {"anger": 0.75, "neutral": 0.25}
    assert line.emotion.segments[2].scores == {}


def test_a_few_windows_among_others_do_not_make_a_segment() -> None:
    """A window counts for a third of ln 3: three are less than the 2 * 1.5 of two changes, nine are more."""
    assert [(s.label, s.end) for s in made("aaaaannnaaaaa").emotion.segments] == [("anger", 15.0)]
    assert [s.label for s in made("aaaaa" + "n" * 9 + "aaaaa").emotion.segments] == ["anger", "neutral", "anger"]


def test_labels_are_the_likeliest_sequence() -> None:
    """Beside every sequence there is, of five windows and three labels."""
    rng = np.random.default_rng(0)
    for share in (1 / 3, 1.0):
        several = [dict(zip("abc", rng.dirichlet([0.3] * 3).tolist(), strict=True)) for _ in range(5)]

        def merit(labels: Sequence[str], several: Any = several, share: float = share) -> float:
            told = sum(math.log(max(own[label], 1e-6)) for own, label in zip(several, labels, strict=True))
            return share * told - 1.5 * sum(one != other for one, other in pairwise(labels))

        best = max(product("abc", repeat=5), key=merit)
        assert smoothed(several, share) == list(best)


def test_a_border_moves_to_the_middle_of_the_longest_pause_near_it() -> None:
    windows = made("aaaaaannnnnn").windows  # the border lies at 7
    for pauses, border in (
        ([], 7.0),
        ([(6.0, 6.4)], 7.0),  # too far away
        ([(6.3, 6.7), (7.4, 7.6)], 6.5),
        ([(6.3, 6.7), (7.4, 8.6)], 8.0),
        ([(7.4, 30.0)], 7.0),  # its middle lies beyond the segment
    ):
        first, second = merged(windows, 1.0, pauses)
        assert (first.end, second.start) == (border, border)


def test_pauses_are_what_is_not_speech() -> None:
    voice, still = spoken(2.0), np.zeros(16_000, np.float32)
    sound, found = np.concatenate([voice, still, voice]), list[np.ndarray]()
    assert np.array_equal(np.concatenate(list(watched(np.array_split(sound, 7), found))), sound)
    ((start, end),) = [(start, end) for start, end in pauses_of(found) if end - start > 0.8]
    assert start < 2.2 and end == pytest.approx(3.0, abs=0.2)  # the voice is made up, and ends softly
    assert pauses_of([np.array([True, False, False, True, False])]) == [(0.032, 0.096), (0.128, 0.16)]


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


def test_batches_hold_windows_of_the_whole_sound(folder: Path, call: Path) -> None:
    network = Means()
    line = timeline(call, recognizer_of(folder, network, batch_size=5))
    assert max(network.batches) == 5
    assert sum(network.batches) == sum(bool(window.scores) for window in line.windows)


def test_neither_torch_nor_matplotlib_is_imported_before_it_is_needed() -> None:
    script = (
        "import sys, serene.inference.predict, serene.inference.timeline_file; "
        "print({'torch', 'transformers', 'matplotlib', 'sklearn'} & set(sys.modules))"
    )
    path = os.environ | {"PYTHONPATH": str(Path(sound.__file__).parents[1])}
    ended = subprocess.run([sys.executable, "-c", script], env=path, capture_output=True, text=True, check=True)
    assert ended.stdout == "set()\n"
