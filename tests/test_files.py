"""A file or folder is written whole or not at all, whatever goes wrong in between."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from serene import files
from serene.errors import SereneError
from serene.files import (
    append_text,
    locked,
    read_json,
    read_json_lines,
    tidy,
    whole_file,
    whole_folder,
    write_text,
)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def full_disk(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "table.csv").write_text("old")
    return tmp_path / "table.csv"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "model").mkdir()
    (tmp_path / "model/old.json").write_text("old")
    return tmp_path / "model"


def test_the_old_file_stands_until_the_new_one_is_whole(path: Path) -> None:
    with whole_file(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
        assert (temporary.parent, temporary.suffix) == (path.parent, path.suffix)
    assert path.read_text() == "new"
    assert names(path.parent) == ["table.csv"]


@pytest.mark.parametrize("failure", [RuntimeError, KeyboardInterrupt, SereneError])
def test_a_failure_leaves_the_old_file_and_no_temporary(path: Path, failure: type[BaseException]) -> None:
    with pytest.raises(failure), whole_file(path) as temporary:
        temporary.write_text("half of the n")
        raise failure
    assert path.read_text() == "old"
    assert names(path.parent) == ["table.csv"]


def test_a_full_disk_is_one_message(path: Path) -> None:
    message = r"Cannot write .*table\.csv: No space left on device\. Nothing was changed; check that"
    with pytest.raises(SereneError, match=message), whole_file(path) as temporary:
        temporary.write_text("half of the n")
        full_disk()
    assert path.read_text() == "old"
    assert names(path.parent) == ["table.csv"]


def test_a_refused_rename_leaves_the_old_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "replace", full_disk)
    with pytest.raises(SereneError, match="No space left"):
        write_text(path, "new")
    assert path.read_text() == "old"
    assert names(path.parent) == ["table.csv"]


@pytest.mark.parametrize("write", [whole_file, whole_folder])
def test_a_folder_that_cannot_be_made_is_one_message(path: Path, write) -> None:
    with pytest.raises(SereneError, match=r"Cannot write .*table\.csv/below"), write(path / "below"):
        pass
    assert path.read_text() == "old"


def test_folders_on_the_way_are_made_and_text_is_utf_8(tmp_path: Path) -> None:
    write_text(tmp_path / "a/b/c.txt", "für")
    assert (tmp_path / "a/b/c.txt").read_bytes() == b"f\xc3\xbcr"


def test_text_is_added_at_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "below/lines.txt"
    for line in ("für\n", "zwei\n"):
        append_text(path, line)
    assert path.read_bytes() == b"f\xc3\xbcr\nzwei\n"
    monkeypatch.setattr(Path, "open", full_disk)
    with pytest.raises(SereneError, match=r"Cannot write .*lines\.txt: No space left on device"):
        append_text(path, "drei\n")


def test_others_may_read_what_is_written(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        write_text(tmp_path / "file", "")
        with whole_folder(tmp_path / "folder"):
            pass
    finally:
        os.umask(before)
    assert [(tmp_path / name).stat().st_mode & 0o777 for name in ("file", "folder")] == [0o644, 0o755]


def test_a_folder_is_replaced_as_a_whole(folder: Path) -> None:
    with whole_folder(folder) as temporary:
        (temporary / "new.json").write_text("new")
        assert names(folder) == ["old.json"]
    assert names(folder) == ["new.json"]
    assert names(folder.parent) == ["model"]


@pytest.mark.parametrize(("failure", "raised"), [(RuntimeError(), RuntimeError), (OSError(28, "full"), SereneError)])
def test_a_failure_leaves_the_old_folder_and_no_temporary(
    folder: Path, failure: Exception, raised: type[Exception]
) -> None:
    with pytest.raises(raised), whole_folder(folder) as temporary:
        (temporary / "new.json").write_text("half")
        raise failure
    assert (folder / "old.json").read_text() == "old"
    assert names(folder.parent) == ["model"]


HOLD = """
import sys, time
from pathlib import Path
from serene import files
if sys.argv[1] == "without exchange":
    files.ctypes.CDLL = lambda name: object()
with getattr(files, sys.argv[2])(Path(sys.argv[3])) as temporary:
    if sys.argv[2] == "whole_folder":
        (temporary / "new.json").write_text("new")
    rename = files.os.replace
    def told(*names):
        if sys.argv[4] == str(names[1]).rpartition(".")[2]:
            rename(*names)
            print("here", flush=True)
            time.sleep(600)
        rename(*names)
    files.os.replace = told
    if sys.argv[4] == "inside":
        print("here", flush=True)
        time.sleep(600)
"""


@contextmanager
def holding(*words: object) -> Iterator[subprocess.Popen]:
    """Another process that writes at a path, and waits at some moment."""
    with subprocess.Popen([sys.executable, "-c", HOLD, *map(str, words)], stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"here\n"
            yield process
        finally:
            process.kill()


def test_a_kill_between_two_renames_is_mended_by_the_next_look(folder: Path, capsys: pytest.CaptureFixture) -> None:
    with holding("without exchange", "whole_folder", folder, "former"):
        tidy(folder)
        assert not folder.exists()  # not left over: somebody is at it
    tidy(folder)
    assert names(folder) == ["old.json"]
    assert names(folder.parent) == ["model"]
    assert capsys.readouterr().err.startswith("note: a run was killed while it replaced")


def test_folders_change_places_in_one_step(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "replace", full_disk)
    with whole_folder(folder) as temporary:
        (temporary / "new.json").write_text("new")
    assert names(folder) == ["new.json"]
    assert names(folder.parent) == ["model"]


def test_a_folder_is_replaced_where_no_two_can_change_places(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serene.files.ctypes.CDLL", lambda name: object())
    with whole_folder(folder) as temporary:
        (temporary / "new.json").write_text("new")
    assert names(folder) == ["new.json"]
    assert names(folder.parent) == ["model"]


@pytest.mark.parametrize("write", ["whole_file", "whole_folder"])
def test_copies_of_killed_runs_are_cleared_away_and_those_of_others_are_not(tmp_path: Path, write: str) -> None:
    path = tmp_path / "table[1].csv"
    with holding("", write, path, "inside"):
        with getattr(files, write)(path):
            assert len(names(tmp_path)) == 2
        assert len(names(tmp_path)) == 2
    (tmp_path / ".table[1].csv.mine").write_text("")
    with getattr(files, write)(path):
        pass
    assert names(tmp_path) == [".table[1].csv.mine", "table[1].csv"]


def test_what_is_renamed_is_on_the_disk(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced = []
    monkeypatch.setattr(os, "fsync", lambda handle: synced.append(os.readlink(f"/proc/self/fd/{handle}")))
    with whole_file(path) as temporary:
        temporary.write_text("new")
    with whole_folder(path.parent / "model") as made:
        (made / "config.json").write_text("new")
    assert synced == [str(temporary), str(made / "config.json"), str(made)]
    synced.clear()
    with whole_file(path, synced=False) as temporary:
        temporary.write_text("newer")
    assert not synced


def test_one_process_at_a_time_writes_what_is_locked(path: Path) -> None:
    with (
        holding("", "locked", path, "inside"),
        pytest.raises(SereneError, match=r"Another process is writing .*table\.csv; wait"),
        locked(path),
    ):
        pass
    with locked(path), pytest.raises(SereneError, match="Another process"), locked(path):
        pass
    assert names(path.parent) == ["table.csv"]


def damage(content: bytes | None) -> Callable[[Path], object]:
    return lambda path: path.unlink() if content is None else path.write_bytes(content)


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (damage(None), "No such file"),
        (damage(b""), "Expecting value"),
        (damage(b'{"a": 1'), "Expecting"),
        (damage(b"\0" * 9), "Expecting value"),
        (damage(b"\xff\xfe"), "utf-8"),
        (damage(b"[" * 200_000), "recursion|nest"),
        (damage(b"[]"), "it holds no dict of a"),
        (damage(b"{}"), "it holds no dict of a"),
        (lambda path: (path.unlink(), path.mkdir()), "Is a directory"),
        (lambda path: (path.unlink(), os.mkfifo(path)), "it is a pipe or device"),
    ],
)
def test_damaged_json_is_one_sentence(path: Path, spoil: Callable[[Path], object], why: str) -> None:
    spoil(path)
    with pytest.raises(SereneError, match=rf"table\.csv is missing or damaged: .*({why})"):
        read_json(path, "a")


def test_damaged_lines_are_one_sentence(path: Path) -> None:
    for content in ("{}\n\n{}\n", "{}\nnull\n", "{}\n\0\0"):
        path.write_text(content)
        with pytest.raises(SereneError, match=r"table\.csv is missing or damaged"):
            read_json_lines(path)
    path.write_text('{"a": 1}\n{}\n')
    assert read_json_lines(path) == [{"a": 1}, {}]
