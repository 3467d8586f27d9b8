"""Killed at any moment and started again: the same weights and predictions as a run that was never stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from serene.experiment import recipe
from serene.experiment.run import Run
from serene.experiment.train import train

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="processes are looked up in /proc"),
]

RECIPE = """
corpus: {name: synthetic, path: '%s'}
speakers: {name: synthetic, path: '%s', crop: 0.3, batch_size: 4}
protocol: {name: speaker_folds, folds: 3, run: [1, 2]}
model: {dropout: 0.3}
method: {name: speaker_normalization, ascent: adam, warmup_steps: 3}
training: {epochs: 5, batch_size: 8, momentum: 0.9, select_on: validation WA}
"""
PATIENCE = 240  # seconds that a busy machine may take for anything


@pytest.fixture(scope="module")
def undisturbed(made_up: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    path = tmp_path_factory.mktemp("undisturbed") / "killed.yaml"
    path.write_text(RECIPE % (made_up, made_up))
    return train(recipe.load(path), path.parent / "runs")


@pytest.fixture
def start(undisturbed: Run, tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen]]:
    """Start `serene train` on that recipe, its runs in this test's folder; ended when the test is."""
    started: list[subprocess.Popen] = []

    def begin(*words: str) -> subprocess.Popen:
        file = undisturbed.folder.parents[1] / "killed.yaml"
        command = [sys.executable, "-c", "from serene.cli import main; main()", "train", str(file), *words]
        with (tmp_path / "output.txt").open("a") as output:
            started.append(subprocess.Popen([*command, "-o", str(tmp_path / "runs")], stdout=output, stderr=output))
        return started[-1]

    yield begin
    for process in started:
        process.kill()
        process.wait()


def until(condition: Callable[[], object], process: subprocess.Popen) -> None:
    """Wait until something is so, while a process is at it."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert process.poll() is None, "the run ended before it could be killed"
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.002)


def finish(process: subprocess.Popen, folder: Path) -> None:
    assert process.wait(PATIENCE) == 0, (folder / "output.txt").read_text()


def epochs(log: Path) -> int:
    return len(log.read_text().splitlines()) if log.exists() else 0


def files(run: Path) -> dict[str, bytes]:
    wanted = ("model.safetensors", "predictions.csv", "probes.json", "steps.jsonl")
    return {str(p.relative_to(run)): p.read_bytes() for p in sorted(run.rglob("*")) if p.name in wanted}


def test_killed_at_several_moments_it_ends_the_same(
    undisturbed: Run, start: Callable[..., subprocess.Popen], tmp_path: Path
) -> None:
    run = tmp_path / "runs" / undisturbed.folder.name
    first, second = (run / f"fold-{fold}/seed-0" for fold in (1, 2))
    moments = [
        lambda: any((tmp_path / "runs/store").rglob("*.npy")),  # features are being computed
        lambda: epochs(first / "log.jsonl") >= 2,  # between epochs
        lambda: (first / "model").exists(),  # trained, not yet all kept
        lambda: (second / "training.pt").exists(),  # an epoch is kept, the log perhaps not
    ]
    kept = None
    for number, moment in enumerate(moments):
        process = start("--jobs", "1")
        until(moment, process)
        if number == 1:
            time.sleep(0.05)  # into the next epoch
        process.send_signal(signal.SIGKILL)
        process.wait()
        if (first / "predictions.csv").exists() and kept is None:
            kept = (first / "predictions.csv").stat().st_mtime_ns
    assert kept, "the first fold should be finished by now"
    assert not (second / "predictions.csv").exists()
    finish(start("--jobs", "1"), tmp_path)
    assert (first / "predictions.csv").stat().st_mtime_ns == kept  # what is finished is not done again
    assert files(run) == files(undisturbed.folder)
    assert [epochs(trial / "log.jsonl") for trial in (first, second)] == [5, 5]
    assert not list(run.rglob("training.pt"))
    finish(start("--jobs", "1"), tmp_path)  # once more, with nothing left to do
    assert files(run) == files(undisturbed.folder)


def children(parent: int) -> set[int]:
    """Processes whose parent is the given one, as /proc has it."""
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[1]) == parent and fields[0] != "Z":
                found.add(int(entry.name))
    return found


def alive(process: int) -> bool:
    try:
        return (Path("/proc") / str(process) / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_workers_end_with_their_parent_and_two_give_what_one_gives(
    undisturbed: Run, start: Callable[..., subprocess.Popen], tmp_path: Path
) -> None:
    run = tmp_path / "runs" / undisturbed.folder.name
    process = start("--jobs", "2")
    until(lambda: all(epochs(run / f"fold-{fold}/seed-0/log.jsonl") for fold in (1, 2)), process)
    workers = children(process.pid)
    assert len(workers) >= 2
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    deadline = time.monotonic() + PATIENCE
    while any(alive(worker) for worker in workers):
        assert time.monotonic() < deadline, "a worker goes on without its parent"
        time.sleep(0.05)
    finish(start("--jobs", "2"), tmp_path)
    assert files(run) == files(undisturbed.folder)
