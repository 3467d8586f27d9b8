"""`serene predict` and `serene enrol` as typed: what they print, what they write, and how mistakes end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from small_model import spoken, write

from serene import cli

CLASSES = ["anger", "disgust", "fear", "happiness", "neutral", "sadness"]
Typed = Callable[..., tuple[int, str, str]]


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> Typed:
    """Run a command in an empty folder; give its exit code, output and errors."""
    monkeypatch.chdir(tmp_path)

    def run(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["serene", *map(str, words)])
        try:
            cli.main()
            code = 0
        except SystemExit as end:
            code = int(end.code or 0)
        return (code, *capfd.readouterr())

    return run


@pytest.fixture
def one(tmp_path: Path) -> Path:
    return write(tmp_path / "one.wav", spoken(1.25))


def test_one_sound_is_told_with_the_highest_score_first(typed: Typed, one: Path) -> None:
    code, out, errors = typed("predict", one)
    first, *rows = out.splitlines()
    label, _, length = first.partition("  ")
    assert (code, errors, length) == (0, "", "(1.2 s)")
    names, scores = zip(*(row.split() for row in rows), strict=True)
    assert (names[0], sorted(names)) == (label, CLASSES)
    assert [float(score) for score in scores] == sorted((float(score) for score in scores), reverse=True)
    told = json.loads(typed("predict", one, "--json")[1])
    assert (told["path"], told["label"], list(told["scores"])) == (str(one), label, CLASSES)
    assert typed("predict", one, "--abstain", "1")[1].startswith("uncertain  (1.2 s)\n")


def test_what_holds_no_speech_is_said_to(typed: Typed, tmp_path: Path) -> None:
    write(tmp_path / "silence.wav", np.zeros(32_000, np.float32))
    assert typed("predict", "silence.wav") == (0, "silence  (2.0 s)\n", "")


def test_mistakes_end_in_one_sentence_and_exit_code_2(typed: Typed, one: Path, tmp_path: Path) -> None:
    (tmp_path / "gone.wav").symlink_to("nowhere.wav")
    (tmp_path / "text.wav").write_text("hello" * 100)
    os.mkfifo(tmp_path / "pipe.wav")
    (tmp_path / "anna.json").write_bytes(one.read_bytes())
    for words, said in {
        ("absent.wav",): "There is no file or folder absent.wav.",
        ("gone.wav",): "gone.wav cannot be read as audio: ",
        ("text.wav",): "text.wav cannot be read as audio: ",
        ("pipe.wav",): "pipe.wav cannot be read as audio: it is a folder or device",
        (one, "--format", "vtt"): "--format vtt is for timelines: ask for one, with --timeline.",
        (one, "--timeline", "--format", "png"): "A picture needs a file: name one, as -o call.png.",
        (one, "--timeline", "--hop", "0"): "A hop of 0 s was asked for",
        (one, "--abstain", "60"): "abstain is 60; a probability was expected, from 0 to 1.",
        (one, "--profile", "anna.json"): "anna.json is no readable profile",
        (one, "--model", "absent"): "There is no model folder 'absent'",
        (one, "-o", "out.txt"): "The output out.txt does not end in .csv, .json, .jsonl",
        (one, "-o", "pipe.wav", "--format", "csv"): "The output pipe.wav is a device or pipe",
        (one, "--timeline", "-o", "pipe.wav", "--format", "csv"): "The output pipe.wav is a device or pipe",
    }.items():
        code, out, errors = typed("predict", *words)
        assert (code, out) == (2, "")
        (line,) = [line for line in errors.splitlines() if line.startswith("error: ")]
        assert said in line
        assert len(line) < 400
    assert not (tmp_path / "pipe.wav").is_file()


def test_json_is_json_wherever_it_goes(typed: Typed, one: Path) -> None:
    (row,) = json.loads(typed("predict", one.parent, "--json")[1])
    assert row["label"] in CLASSES
    line = json.loads(typed("predict", one, "--timeline", "--json")[1])
    assert [window["end"] for window in line["windows"]] == [1.25]
    assert json.loads(typed("predict", one, "--timeline", "--json", "-o", "t.csv")[1])["files"] == ["t.csv"]
    assert json.loads(typed("predict", one, "--json", "-o", "rows.csv")[1])["files"] == 1


def test_a_speaker_is_enrolled_from_what_holds_speech(typed: Typed, tmp_path: Path) -> None:
    for seed in range(3):
        write(tmp_path / "clips" / f"{seed}.wav", spoken(1.0, seed))
    code, out, errors = typed("enrol", "clips", "-o", "anna.json")
    assert (code, out) == (0, "3 clips, 3 seconds -> anna.json\n")
    assert "These clips count for 0: they seem to hold few emotions" in errors
    assert json.loads(typed("enrol", "clips", "-o", "anna.json", "--json")[1])["counts_for"] == 0
    write(tmp_path / "clips" / "silence.wav", np.zeros(32_000, np.float32))
    code, out, _ = typed("enrol", "clips", "-o", "anna.json")
    assert (code, out) == (0, "3 clips, 3 seconds -> anna.json (left out: 1 without speech)\n")
    unknown, known = (typed("predict", "clips/0.wav", "--json", *more)[1] for more in ([], ["--profile", "anna.json"]))
    assert json.loads(unknown)["scores"] == json.loads(known)["scores"]
    assert json.loads(known)["adapted_to"] == "speaker of 3 clips"
    told = json.loads((tmp_path / "anna.json").read_text())
    told["said"] = dict.fromkeys(told["said"], 1)  # as varied as can be
    (tmp_path / "anna.json").write_text(json.dumps(told))
    known = typed("predict", "clips/0.wav", "--json", "--profile", "anna.json")[1]
    assert json.loads(unknown)["scores"] != json.loads(known)["scores"]


def test_a_folder_is_adapted_to_as_a_whole(typed: Typed, tmp_path: Path) -> None:
    for seed in range(4):
        write(tmp_path / "clips" / f"{seed}.wav", spoken(1.0, seed))
    code, out, errors = typed("predict", "clips", "--adapt", "folder", "--json")
    assert (code, {row["adapted_to"] for row in json.loads(out)}) == (0, {"folder of 4 clips"})
    assert "Adapted to the folder of 4 clips, without their labels." in errors
    header, first = typed("predict", "clips", "--adapt", "folder")[1].splitlines()[:2]
    assert header.startswith("path,adapted_to,label,")
    assert "folder of 4 clips" in first
    assert json.loads(typed("predict", "clips", "--json")[1])[0].get("adapted_to") is None
    line = json.loads(typed("predict", "clips/0.wav", "--timeline", "--adapt", "recording", "--json")[1])
    assert line["adapted_to"] == "recording of 1 window"
    for words, said in {
        ("clips", "--adapt", "recording"): "--adapt recording is for --timeline: sounds take --adapt folder.",
        ("clips", "--adapt", "folder", "--timeline"): "a timeline takes --adapt recording.",
    }.items():
        code, _, errors = typed("predict", *words)
        assert (code, said in errors) == (2, True)


def test_a_manifest_is_answered_row_by_row(typed: Typed, one: Path, tmp_path: Path) -> None:
    line = json.dumps({"id": "first", "audio": str(one), "speaker": "anna", "start": 0.1, "duration": 1.0})
    (tmp_path / "m.jsonl").write_text(line)
    row = json.loads(typed("predict", "m.jsonl", "--format", "jsonl", "--enrol-speakers", "all")[1])
    assert (row["id"], row["enrolled_unlabelled_clips"], row["duration"]) == ("first", 1, 1.0)
    assert typed("predict", "m.jsonl")[1].startswith("id,path,label,")
    for words, said in {
        ("m.jsonl", "--enrol-speakers", "0"): "--enrol-speakers is 0; a number of clips from 1 on, or all,",
        ("m.jsonl", "--timeline"): "A timeline is of sounds, and a manifest holds clips: leave --timeline out.",
        (one, "--enrol-speakers", "2"): "--enrol-speakers needs a manifest",
    }.items():
        code, out, errors = typed("predict", *words)
        assert (code, out) == (2, "")
        assert said in errors


@pytest.mark.skipif(os.name != "posix", reason="names are not bytes here")
def test_names_that_are_not_utf_8_reach_a_strict_terminal(one: Path, tmp_path: Path) -> None:
    odd = os.fsencode(tmp_path) + b"/odd\xff.wav"
    os.rename(one, odd)
    code = (
        "import contextlib, sys\n"
        "from serene.cli import main\n"
        "_, odd = sys.argv\n"
        "for words in [odd, '--json'], [odd, '--timeline', '-o', odd + '.csv']:\n"
        "    sys.argv = ['serene', 'predict', *words]\n"
        "    with contextlib.suppress(SystemExit):\n"
        "        main()\n"
        "    print('THE END')\n"
    )
    strict = os.environ | {"PYTHONIOENCODING": "utf-8:strict"}
    done = subprocess.run([sys.executable, "-c", code, odd], capture_output=True, env=strict, timeout=120)
    assert done.returncode == 0, done.stderr
    one_sound, timeline, _ = done.stdout.split(b"THE END")
    assert b"odd\\" in one_sound
    assert b"odd\\" in timeline
