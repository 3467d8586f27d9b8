"""Files and folders: every sound once, under any name that a system allows; what cannot be read is a row."""

from __future__ import annotations

import csv
import io
import json
import os
from pathlib import Path
from typing import Any

import pytest
from small_model import read_csv, recognizer_of, spoken, write

from serene.errors import SereneError
from serene.inference.answer_file import csv_line
from serene.inference.predict import predict
from serene.inference.sounds import gather


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
