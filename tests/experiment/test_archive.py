"""Archives of runs: the same bytes for the same runs, whole or refused, and a training goes on from one."""

from __future__ import annotations

import bz2
import io
import os
import shutil
import signal
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from serene.errors import SereneError
from serene.experiment import recipe
from serene.experiment.archive import ARCHIVE, pack, unpack
from serene.experiment.leaderboard import leaderboard
from serene.experiment.train import train


def tree(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def tarred(*entries: tuple[tarfile.TarInfo | str, bytes]) -> bytes:
    """An archive that somebody else made."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:bz2") as tar:
        for given, content in entries:
            entry = tarfile.TarInfo(given) if isinstance(given, str) else given
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return made.getvalue()


def linked(name: str, kind: bytes) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname = kind, "/etc/passwd"
    return entry


@pytest.fixture(scope="module")
def packed(tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The archive of the tiny run."""
    folder = tmp_path_factory.mktemp("packed")
    shutil.copytree(tiny_run, folder / "runs" / tiny_run.name)
    leaderboard(folder / "runs", folder / "board")
    return folder / "board" / ARCHIVE


def test_the_same_runs_give_the_same_bytes_whenever_and_however_they_were_written(packed: Path, tmp_path: Path) -> None:
    first = tmp_path / "first"
    first.mkdir()
    unpack(packed, first)
    for name, content in reversed(tree(first).items()):
        path = tmp_path / "second" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        path.chmod(0o600)
        os.utime(path, (1, 1))
    pack(tmp_path / "second", tmp_path / ARCHIVE)
    assert (tmp_path / ARCHIVE).read_bytes() == packed.read_bytes()
    with tarfile.open(packed) as tar:
        entries = tar.getmembers()
    assert [entry.name for entry in entries] == sorted(entry.name for entry in entries)
    assert {(e.mtime, e.uid, e.gid, e.uname, e.gname, e.mode) for e in entries} == {(0, 0, 0, "", "", 0o644)}


def test_the_curve_of_enrolled_speakers_is_kept_and_comes_back(tiny_run: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_run, tmp_path / "runs" / tiny_run.name)
    curve = tmp_path / "runs" / tiny_run.name / "enrolled" / "cold_start.json"
    curve.parent.mkdir(exist_ok=True)
    curve.write_text('{"0": {"value": 0.5}}')
    leaderboard(tmp_path / "runs", tmp_path / "board")
    unpack(tmp_path / "board" / ARCHIVE, tmp_path / "again")
    kept = tmp_path / "again" / tiny_run.name / "enrolled"
    assert tree(kept) == {"cold_start.json": curve.read_bytes()}
    leaderboard(tmp_path / "again", tmp_path / "second")
    assert (tmp_path / "second" / ARCHIVE).read_bytes() == (tmp_path / "board" / ARCHIVE).read_bytes()


def test_a_training_goes_on_from_what_the_system_s_own_tool_unpacks(
    packed: Path, tiny_run: Path, tiny_recipe: Path, tmp_path: Path
) -> None:
    subprocess.run([sys.executable, "-m", "tarfile", "-e", packed, tmp_path / "runs"], check=True, capture_output=True)
    before = tree(tmp_path / "runs")
    told: list[tuple[Any, ...]] = []
    more = recipe.load(tiny_recipe, ["protocol.run=[1, 2, 3]"])
    run = train(more, tmp_path / "runs", progress=lambda *news: told.append(news))
    assert run.folder.name == tiny_run.name
    assert [trial.fold for trial in run.finished()] == ["1", "2", "3"]
    assert [(done, of) for what, done, of in told if what == "training"] == [(1, 2), (2, 2), (2, 2)]  # epochs of fold 3
    kept = {name: content for name, content in before.items() if "/fold-" in name}
    assert kept.items() <= tree(tmp_path / "runs").items()


FILE = ("run-0123456789/recipe.yaml", b"{}")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (lambda whole: whole[:-1], "it is cut, damaged or something else"),
        (lambda whole: whole[: len(whole) // 2], "it is cut, damaged or something else"),
        (lambda whole: whole[:300] + bytes([whole[300] ^ 1]) + whole[301:], "it is cut, damaged or something else"),
        (lambda _: b"", "it is cut, damaged or something else"),
        (lambda _: b"no archive", "it is cut, damaged or something else"),
        (lambda _: bz2.compress(b"no tar" * 1000), "it is cut, damaged or something else"),
        (lambda _: tarred(), "it has no predictions.csv"),
        (lambda _: tarred(FILE), "it has no predictions.csv"),
        (lambda _: tarred(("a/fold-1/seed-0/predictions.csv", b"")), "it has no a/fold-1/seed-0/environment.json"),
        (lambda _: tarred(FILE, ("/etc/recipe.yaml", b"")), "it holds '/etc/recipe.yaml'"),
        (lambda _: tarred(FILE, ("../recipe.yaml", b"")), "it holds '../recipe.yaml'"),
        (lambda _: tarred(FILE, ("a/../recipe.yaml", b"")), "it holds 'a/../recipe.yaml'"),
        (lambda _: tarred(FILE, ("a/fold-1/../predictions.csv", b"")), "it holds 'a/fold-1/../predictions.csv'"),
        (lambda _: tarred(FILE, ("a/model.pkl", b"")), "it holds 'a/model.pkl'"),
        (lambda _: tarred(FILE, (linked("a/recipe.yaml", tarfile.SYMTYPE), b"")), "it holds 'a/recipe.yaml'"),
        (lambda _: tarred(FILE, (linked("a/recipe.yaml", tarfile.LNKTYPE), b"")), "it holds 'a/recipe.yaml'"),
        (lambda _: tarred(FILE, (linked("a/recipe.yaml", tarfile.FIFOTYPE), b"")), "it holds 'a/recipe.yaml'"),
    ],
)
def test_what_is_not_an_archive_of_ours_is_refused_and_changes_nothing(
    content: Callable[[bytes], bytes], reason: str, packed: Path, serene: Any, tmp_path: Path
) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / ARCHIVE).write_bytes(content(packed.read_bytes()))
    before = tree(tmp_path)
    for words in ((tmp_path / "in" / ARCHIVE, "-o", tmp_path / "board"), (packed.parent, "-o", tmp_path / "in")):
        ended = serene("leaderboard", *words)
        assert ended.code == 2
        assert "Traceback" not in ended.err
        said = " ".join(ended.err.split())
        assert f"{ARCHIVE} is not an archive of runs: {reason}" in said
        assert "Expected was a whole runs.tar.bz2 that `serene leaderboard` wrote; fetch it again" in said
        assert tree(tmp_path) == before
        assert not (tmp_path / "board").exists()


def test_nothing_is_lost_when_it_is_killed_while_it_packs(packed: Path, tiny_run: Path, tmp_path: Path) -> None:
    board = tmp_path / "board"
    shutil.copytree(packed.parent, board)
    before = tree(board)
    program = (
        "import os, signal, sys, tarfile\n"
        "from pathlib import Path\n"
        "from serene.experiment.leaderboard import leaderboard\n"
        "add = tarfile.TarFile.addfile\n"
        "def killed(tar, entry, file):\n"
        "    add(tar, entry, file)\n"
        "    if entry.name.endswith('predictions.csv'):\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "tarfile.TarFile.addfile = killed\n"
        "leaderboard(Path(sys.argv[1]), Path(sys.argv[2]))\n"
    )
    ended = subprocess.run([sys.executable, "-c", program, tiny_run.parent, board], capture_output=True)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    assert {name: content for name, content in tree(board).items() if not name.startswith(".")} == before
    assert leaderboard(packed, board)


def test_an_unpacked_archive_that_lacks_a_recipe_says_which(packed: Path, tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    unpack(packed, tmp_path / "runs")
    (recipe_file,) = (tmp_path / "runs").glob("*/recipe.yaml")
    recipe_file.unlink()
    pack(tmp_path / "runs", tmp_path / ARCHIVE)
    with pytest.raises(SereneError, match=rf"it has no {recipe_file.parent.name}/recipe\.yaml\. Expected was"):
        unpack(tmp_path / ARCHIVE, tmp_path / "again")
