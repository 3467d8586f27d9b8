"""Commands in processes of their own that are killed when they touch a file for the n-th time, and begun again."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

from serene.audio.shards import ARRAYS, INDEX, Shards

SEED = 16
WATCH = """
import os, signal, sys
root, last, told = os.environ["FAULT_ROOT"], int(os.environ["FAULT_AT"]), os.environ["FAULT_TOLD"]
count, here = 0, os.getpid()
WRITING = os.O_WRONLY | os.O_RDWR
def watch(event, arguments):
    global count
    if event not in ("open", "os.rename", "os.remove", "os.mkdir") or os.getpid() != here:
        return
    path = arguments[1] if event == "os.rename" else arguments[0]
    if not isinstance(path, str | bytes | os.PathLike) or (event == "open" and not arguments[2] & WRITING):
        return
    if os.path.abspath(os.fsdecode(path)).startswith(root) and os.fsdecode(path) != told:
        count += 1
        if count == last:
            os.kill(here, signal.SIGKILL)
        if not last:
            with open(told, "w") as file:
                file.write(str(count))
sys.addaudithook(watch)
"""
CHANGING = (
    "environment.json",
    "log.jsonl",
    "report.html",
    "report.json",
    "README.md",
    "metrics.json",
    ".png",
    ".lock",
    ARRAYS,
    INDEX,
)


def run(folder: Path, words: tuple[str, ...], at: int, scratch: Path) -> tuple[subprocess.CompletedProcess[str], int]:
    """Run `serene WORDS` in a folder, killed at its n-th touch of a file there; with 0, count the touches instead."""
    (scratch / "sitecustomize.py").write_text(WATCH)
    told = scratch / "touches"
    told.write_text("0")
    path = os.pathsep.join(filter(None, [str(scratch), os.environ.get("PYTHONPATH")]))
    own = {"PYTHONPATH": path, "FAULT_ROOT": str(folder), "FAULT_AT": str(at), "FAULT_TOLD": str(told)}
    command = [sys.executable, "-m", "serene", *words]
    done = subprocess.run(
        command, cwd=folder, env=os.environ | own, capture_output=True, text=True, check=False, timeout=600
    )
    return done, int(told.read_text())


def moment(verb: str, point: int, touches: int) -> int:
    """Draw one of the moments at which a verb can be killed."""
    return random.Random(f"{SEED} {verb} {point}").randint(1, touches)


def contents(folder: Path) -> dict[str, bytes]:
    """What a verb wrote, without what tells times and places, and of shards the arrays, wherever they lie."""
    files = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
    kept = {name: path for name, path in files.items() if not name.endswith(CHANGING) and "/manifests/" not in name}
    stores = {path.parent for path in files.values() if path.suffix == INDEX}
    stored = {f"{store.relative_to(folder)}/{n}": a.tobytes() for store in stores for n, a in Shards(store).whole()}
    return stored | {name: path.read_bytes() for name, path in kept.items()}


def was_killed(done: subprocess.CompletedProcess[str]) -> bool:
    return done.returncode == -signal.SIGKILL
