"""A file or folder is written whole or not at all, whatever goes wrong in between."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from serene.errors import SereneError
from serene.files import append_text, whole_file, whole_folder, write_text


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
