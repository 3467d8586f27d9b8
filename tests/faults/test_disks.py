"""A disk that is full, and a folder that may only be read: one sentence, and what was there before stays."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from pathlib import Path

import pytest
from killed import contents
from test_kills import CASES

pytestmark = [pytest.mark.faults, pytest.mark.slow]
DROP = 24  # of Linux's prctl: a capability that no program started from here on has
OVERRIDES = (1, 2)  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH: root writes and reads what it may not
WORDS = (
    "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, ({0}, {0})); from serene import cli; cli.main()"
)


def as_an_ordinary_user() -> None:
    """Let what a file's mode says hold for root as well, in the program that starts next."""
    if os.geteuid() == 0:
        system = ctypes.CDLL(None, use_errno=True)
        for override in OVERRIDES:
            if system.prctl(DROP, override, 0, 0, 0):
                raise OSError(ctypes.get_errno(), "root's rights cannot be dropped here")


def ended(done: subprocess.CompletedProcess[str]) -> str:
    """Make sure that a command ended with one sentence, and give it."""
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    (sentence,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    return sentence


@pytest.mark.parametrize("size", [0, 300, 5_000])
@pytest.mark.parametrize("verb", CASES)
def test_a_full_disk(verb: str, size: int, tmp_path: Path) -> None:
    make, words = CASES[verb]
    make(tmp_path)
    before = contents(tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", WORDS.format(size), *words], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    if done.returncode:
        assert "Cannot write" in ended(done)
        assert contents(tmp_path).items() >= before.items()
    assert not [path for path in tmp_path.rglob(".*") if path.is_file()]


@pytest.mark.parametrize("verb", CASES)
def test_a_folder_that_may_only_be_read(verb: str, tmp_path: Path) -> None:
    make, words = CASES[verb]
    make(tmp_path)
    before = contents(tmp_path)
    for path in (tmp_path, *tmp_path.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    done = subprocess.run(
        [sys.executable, "-m", "serene", *words],
        cwd=tmp_path,
        env=os.environ | {"HOME": "/nonexistent"},
        preexec_fn=as_an_ordinary_user,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Permission denied" in ended(done)
    assert contents(tmp_path) == before
