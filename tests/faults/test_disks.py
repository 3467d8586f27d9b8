"""A disk that is full, and a folder that may only be read: one sentence, and what was there before stays."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from killed import contents
from test_kills import CASES

pytestmark = [pytest.mark.faults, pytest.mark.slow]
NOBODY = 65534
WORDS = (
    "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, ({0}, {0})); from serene import cli; cli.main()"
)


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that anybody may enter, as those of pytest are not."""
    folder = Path(tempfile.mkdtemp(prefix="serene-faults-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def ended(done: subprocess.CompletedProcess[str]) -> str:
    """Make sure that a command ended with one sentence, and give it."""
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    (sentence,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    return sentence


@pytest.mark.parametrize("size", [0, 300, 5_000])
@pytest.mark.parametrize("verb", CASES)
def test_a_full_disk(verb: str, size: int, place: Path) -> None:
    make, words = CASES[verb]
    make(place)
    before = contents(place)
    done = subprocess.run(
        [sys.executable, "-c", WORDS.format(size), *words], cwd=place, capture_output=True, text=True, check=False
    )
    if done.returncode:
        assert "Cannot write" in ended(done)
        assert contents(place).items() >= before.items()
    assert not [path for path in place.rglob(".*") if path.is_file()]


@pytest.mark.parametrize("verb", CASES)
def test_a_folder_that_may_only_be_read(verb: str, place: Path) -> None:
    make, words = CASES[verb]
    make(place)
    before = contents(place)
    for path in (place, *place.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    user = NOBODY if os.geteuid() == 0 else None
    own = os.environ | {"HOME": "/nonexistent"}
    command = [sys.executable, "-m", "serene", *words]
    try:
        subprocess.run([sys.executable, "-c", ""], user=user, check=True)
    except (PermissionError, subprocess.CalledProcessError):
        pytest.skip("an ordinary user cannot run this interpreter")
    done = subprocess.run(command, cwd=place, env=own, user=user, capture_output=True, text=True, check=False)
    assert "Permission denied" in ended(done)
    assert contents(place) == before
