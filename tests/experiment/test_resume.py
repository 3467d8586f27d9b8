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

from serene.evaluation.probes import speaker_probe
from serene.experiment import embedding_probes, recipe
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
PATIENCE = 600  # seconds; only a test that fails waits so long
WATCH = """
import os, signal, sys, time
action, count, name = os.environ["STOP"].split(" ")
count = int(count)
def watch(event, arguments):
    global count
    appended = event == "open" and arguments[1] == "a" and str(arguments[0]).endswith(name)
    if appended or (event == "os.rename" and str(arguments[1]).endswith(name)):
        count -= 1
        if count == 0:
            os.kill(os.getpid(), signal.SIGKILL) if action == "kill" else time.sleep(3600)
sys.addaudithook(watch)
"""


@pytest.fixture(scope="module", autouse=True)
def probed_as_in_other_processes() -> Iterator[None]:
    """Probe speakers as often as the processes that are killed do, whatever other tests ask for in this one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(embedding_probes, "speaker_probe", speaker_probe)
        yield


@pytest.fixture(scope="module")
def undisturbed(made_up: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    path = tmp_path_factory.mktemp("undisturbed") / "killed.yaml"
    path.write_text(RECIPE % (made_up, made_up))
    return train(recipe.load(path), path.parent / "runs")


@pytest.fixture
def start(undisturbed: Run, tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen]]:
    """Start `serene train` on that recipe, its runs in this test's folder; ended when the test is."""
    started: list[subprocess.Popen] = []

    def begin(jobs: int, stop: str) -> subprocess.Popen:
        """Let the run, or each of its workers, `kill` itself or `wait` when it writes a file the n-th time."""
        (tmp_path / "sitecustomize.py").write_text(WATCH)
        path = os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH")]))
        file, runs = undisturbed.folder.parents[1] / "killed.yaml", tmp_path / "runs"
        command = [sys.executable, "-m", "serene", "train", str(file), "--jobs", str(jobs), "-o", str(runs)]
        with (tmp_path / "output.txt").open("a") as output:
            environment = os.environ | {"PYTHONPATH": path, "STOP": stop}
            started.append(subprocess.Popen(command, stdout=output, stderr=output, env=environment))
        return started[-1]

    yield begin
    for process in started:
        process.kill()
        process.wait()


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


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
    for moment in (
        "10 .index",  # features are being computed
        "3 fold-1/seed-0/training.pt",  # two epochs are kept
        "1 fold-1/seed-0/predictions.csv",  # trained, not yet all kept
        "2 fold-2/seed-0/log.jsonl",  # an epoch is kept, its row of the log not
    ):
        assert start(1, f"kill {moment}").wait(PATIENCE) == -signal.SIGKILL, moment
    kept = (first / "predictions.csv").stat().st_mtime_ns
    assert not (second / "predictions.csv").exists()
    train(undisturbed.recipe, tmp_path / "runs")
    assert (first / "predictions.csv").stat().st_mtime_ns == kept  # what is finished is not done again
    assert files(run) == files(undisturbed.folder)
    assert [epochs(one / "log.jsonl") for one in (first, second)] == [5, 5]
    assert not list(run.rglob("training.pt"))
    train(undisturbed.recipe, tmp_path / "runs")  # once more, with nothing left to do
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
    process = start(2, "wait 2 log.jsonl")
    until(lambda: all(epochs(run / f"fold-{fold}/seed-0/log.jsonl") for fold in (1, 2)))
    workers = children(process.pid)
    assert len(workers) >= 2
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    until(lambda: not any(alive(worker) for worker in workers))
    train(undisturbed.recipe, tmp_path / "runs", jobs=2)
    assert files(run) == files(undisturbed.folder)
