"""Every file of a run's folder cut, emptied, replaced or gone: the same report as before, or one sentence."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from killed import SEED

pytestmark = [pytest.mark.faults, pytest.mark.slow]
FAULTS: dict[str, Callable[[Path], object]] = {
    "cut": lambda path: os.truncate(path, random.Random(f"{SEED} {path.name}").randrange(1, path.stat().st_size)),
    "emptied": lambda path: path.write_bytes(b""),
    "zeros": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    "words": lambda path: path.write_text("words"),
    "{}": lambda path: path.write_text("{}\n"),
    "[]": lambda path: path.write_text("[]\n"),
    "nested": lambda path: path.write_text("[" * 100_000),
    "gone": lambda path: path.unlink(),
    "a pipe": lambda path: (path.unlink(), os.mkfifo(path)),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
}
REBUILT = ("report.json", "report.html", "README.md", "metrics.json")


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.usefixtures("quick_trials")
def test_a_report_is_the_same_or_a_sentence(fault: str, tiny_run: Path, serene: Callable, tmp_path: Path) -> None:
    run = tmp_path / tiny_run.name
    shutil.copytree(tiny_run, run)
    assert serene("evaluate", run).code == 0
    whole = (run / "report.json").read_bytes()
    files = sorted(path.relative_to(run) for path in run.rglob("*") if path.is_file())
    for name in (name for name in files if "fold-2" not in name.parts):
        shutil.copytree(run, tmp_path / "kept", dirs_exist_ok=True)
        FAULTS[fault](run / name)
        for words in (("evaluate", run), ("compare", run, run)):
            found = serene(*words)
            if found.code == 0:
                assert words[0] == "compare" or (run / "report.json").read_bytes() == whole, name
                continue
            assert found.code == 2, (name, found)
            (sentence,) = [line for line in found.err.splitlines() if line.startswith("error: ")]
            assert str(run) in sentence, (name, sentence)
        shutil.rmtree(run)
        (tmp_path / "kept").rename(run)
