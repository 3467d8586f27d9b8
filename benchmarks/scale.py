"""What more processes and Ray give on one machine: trials per hour, files per second, and Ray's overhead per trial.

* **trials**: `serene train` of a small recipe on made-up speech, whose trials are many and short, with 1, 2 and 4
  processes (`--jobs`) and on Ray, from decoding to the report. With the most memory that all processes together held.
* **predict**: the bundled model over many short files, on this machine and on a Ray with 1 and 2 workers. The answers'
  bytes are compared.
* **several processes for one training**: processor seconds of a step of two processes that share each batch (torchrun,
  DDP by gloo), beside those of one process. What starting takes is told apart by trainings of fewer epochs.
* **overhead**: of Ray per trial: trials that do nothing, one after the other on one worker, after the worker has begun.

Seconds are those of a clock, and starting Python, Ray and its workers is told apart, since it is paid once.

    python benchmarks/scale.py -o results/scale
    python benchmarks/scale.py -o /tmp/scale --files 100 --processes 1 2
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from serene import cluster
from serene.corpora import synthetic
from serene.training.checkpoint import environment
from voices import speech

RECIPE = """
corpus: {{name: synthetic, path: {folder}/corpus}}
protocol: {{name: speaker_folds, folds: 4}}
seeds: [{seeds}]
model: {{dropout: 0.0}}
method: {{name: baseline}}
training: {{epochs: 3, batch_size: 16, optimizer: adam}}
"""
STARTED = f"""
import sys
sys.path[:0] = [{str(Path(__file__).parent)!r}]
from scale import begin
from serene.cli import main
begin(int(sys.argv[1]))
sys.argv = ["serene", *sys.argv[2:]]
main()
"""
SHORT, LONG = 5, 45  # epochs, whose difference is that of epochs alone
DISTINCT = 50  # sounds that are made; the files are copies of them
RATE = 16_000


def train(folder: Path, name: str, *options: str) -> dict[str, Any]:
    """Train the recipe into a folder of its own; give seconds of the clock and the most memory."""
    started = time.perf_counter()
    command = [sys.executable, "-m", "serene", "train", str(folder / "scale.yaml"), "-o", str(folder / name), "--json"]
    process = subprocess.Popen([*command, *options], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    with process, most_memory(process.pid) as most:
        process.communicate()
    if process.returncode:
        raise SystemExit(f"serene train {' '.join(options)} ended with {process.returncode}")
    return {"seconds": round(time.perf_counter() - started, 1), "most_mb": round(most[0] / 2**20)}


@contextmanager
def most_memory(process: int) -> Iterator[list[float]]:
    """Watch the proportional memory, in bytes, of a process and all that it has started."""
    most, done = [0.0], threading.Event()

    def watch() -> None:
        while not done.wait(1.0):
            most[0] = max(most[0], sum(map(memory, family(process))))

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    yield most
    done.set()
    thread.join()


def family(process: int) -> list[int]:
    """Give a process and all below it, as /proc has them."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, IndexError):
            continue
    found = [process]
    for one in found:
        found += [child for child, parent in parents.items() if parent == one]
    return found


def memory(process: int) -> float:
    """Give the proportional set size of a process in bytes."""
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
        return next(float(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
    except (OSError, StopIteration):
        return 0.0


def trials(folder: Path, processes: Sequence[int], seeds: int) -> list[dict[str, Any]]:
    """Train all trials with so many processes, and on Ray."""
    synthetic.make(folder / "corpus", speakers=8, clips_per_speaker=12, seconds=1.0, shortcut=0.5)
    numbers = ", ".join(map(str, range(seeds)))
    (folder / "scale.yaml").write_text(RECIPE.format(folder=folder, seeds=numbers))
    words = ["train", str(folder / "scale.yaml"), "--print-trials", "--json", "-o", str(folder / "first")]
    listed = subprocess.run([sys.executable, "-m", "serene", *words], capture_output=True, check=True)
    count = len(json.loads(listed.stdout)["trials"])
    ways = {f"{n} process{'es' * (n > 1)}": ("--jobs", str(n)) for n in processes} | {"Ray": ("--on", "ray")}
    rows = []
    for way, options in ways.items():
        found = train(folder, way.replace(" ", "-"), *options)
        rows.append({"way": way, "trials": count, **found, "trials_per_hour": round(count * 3600 / found["seconds"])})
        print(rows[-1], file=sys.stderr, flush=True)
    return rows


def shared(folder: Path) -> dict[str, Any]:
    """Measure the processor seconds of an epoch of the recipe, by one process and by two that share each batch."""
    (folder / "one.yaml").write_text(RECIPE.format(folder=folder, seeds=0) + "features: {crop: 1.0}\n")
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "-m", "serene"]
    ways = {"one process": [sys.executable, "-m", "serene"], "two processes": torchrun}
    seconds: dict[str, float] = {}
    for way, words in ways.items():
        taken = []
        for epochs in SHORT, LONG:
            given = [f"training.epochs={epochs}", "training.batch_size=64", "protocol.run=[1]"]
            output = ["-o", str(folder / f"{way.replace(' ', '-')}-{epochs}")]
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            command = [*words, "train", str(folder / "one.yaml"), *given, *output, "--jobs", "1"]
            subprocess.run(command, check=True, capture_output=True)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            taken.append(after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime)
        seconds[way] = (taken[1] - taken[0]) / (LONG - SHORT)
        print(way, taken, file=sys.stderr, flush=True)
    own = {way.replace(" ", "_"): round(value, 3) for way, value in seconds.items()}
    return own | {"overhead": round(seconds["two processes"] / seconds["one process"] - 1, 3)}


def sounds(folder: Path, files: int) -> Path:
    """Write made-up speech of 0.6 to 3 seconds, and further files that are hard links to it."""
    rng, calls = np.random.default_rng(0), folder / "calls"
    calls.mkdir()
    for number in range(files):
        path = calls / f"{number:05}.wav"
        if number < DISTINCT:
            soundfile.write(path, speech(number, rng.uniform(0.6, 3.0)), RATE)
        else:
            os.link(calls / f"{number % DISTINCT:05}.wav", path)
    return calls


def predictions(folder: Path, files: int, workers: Sequence[int]) -> list[dict[str, Any]]:
    """Answer for many files here and on Rays of so many workers; the bytes are to be the same."""
    calls, rows = sounds(folder, files), []
    ways = {"here": ["-m", "serene"]}
    ways |= {f"Ray, {n} worker{'s' * (n > 1)}": ["-c", STARTED, str(n)] for n in workers}
    for number, (way, words) in enumerate(ways.items()):
        output, on = folder / f"answers-{number}.csv", ["--on", "ray"] if number else []
        command = [sys.executable, *words, "predict", str(calls), "-o", str(output), *on]
        started = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        seconds = time.perf_counter() - started
        same = output.read_bytes() == (folder / "answers-0.csv").read_bytes()
        row = {"way": way, "files": files, "seconds": round(seconds, 1), "files_per_second": round(files / seconds, 1)}
        rows.append(row | {"same_bytes": same})
        print(rows[-1], file=sys.stderr, flush=True)
    return rows


def nothing(*_task: Any) -> None:
    """Do nothing, in a worker."""


def overhead(folder: Path, repeats: int = 10) -> dict[str, Any]:
    """Time trials that do nothing, with a real plan's arguments and checks, one after the other on one worker."""
    from serene.experiment import recipe
    from serene.experiment.plan import files_of
    from serene.experiment.trials import trials_of

    planned = trials_of([recipe.load(folder / "scale.yaml")], folder / "first")[:repeats]
    tasks, files = [(*one, None, False) for one in planned], files_of(planned[0].plan)
    started = time.perf_counter()
    ray = begin(1)
    begun = time.perf_counter()
    given: dict[str, Any] = {"on": "ray", "files": files, "on_message": lambda *_: None}
    cluster.work(nothing, tasks[:1], **given)
    warm = time.perf_counter()
    cluster.work(nothing, tasks, **given)
    each = (time.perf_counter() - warm) / len(tasks)
    ray.shutdown()
    found = {"starting_ray": begun - started, "first_worker": warm - begun, "per_trial": each}
    return {name: round(seconds, 3) for name, seconds in found.items()} | {"trials": len(tasks)}


def begin(workers: int) -> Any:
    """Start a Ray of so many cores in this process, as quietly as `serene.cluster.connected` does."""
    os.environ |= cluster.SETTINGS
    import ray

    quiet = {"include_dashboard": False, "log_to_driver": False, "logging_level": "CRITICAL"}
    ray.init("local", num_cpus=workers, object_store_memory=cluster.STORE, _node_ip_address="127.0.0.1", **quiet)
    return ray


def table(found: dict[str, Any]) -> str:
    """Write what was found as Markdown."""
    where = found["machine"]
    lines = ["# Scale on one machine", "", f"{where['processor']}, {where['cores']} cores; {found['remark']}", ""]
    for name in ("trials", "predict"):
        rows = found[name]
        lines += [f"| {' | '.join(key.replace('_', ' ') for key in rows[0])} |", "|---" * len(rows[0]) + "|"]
        lines += [f"| {' | '.join(map(str, row.values()))} |" for row in rows] + [""]
    own = found["overhead"]
    lines.append(
        f"Ray, in seconds: {own['per_trial']} per trial (mean of {own['trials']} that do nothing), "
        f"{own['starting_ray']} to start, {own['first_worker']} until its first worker has imported what trains."
    )
    both = found["shared"]
    lines += ["", f"An epoch of one training, in processor seconds: {both['one_process']} by one process, "]
    lines[-1] += f"{both['two_processes']} by two that share each batch: {100 * both['overhead']:+.0f} %."
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure, and write `scale.json` and `scale.md`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder of scale.json and scale.md")
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--seeds", type=int, default=3, help="of the recipe of four folds")
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--remark", default="nothing else ran.", help="what else the machine did")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        where = {name: value for name, value in environment(0.0).items() if name != "seconds"}
        found: dict[str, Any] = {"machine": where, "remark": given.remark}
        found["trials"] = trials(folder, given.processes, given.seeds)
        found["overhead"] = overhead(folder)
        found["shared"] = shared(folder)
        found["predict"] = predictions(folder, given.files, given.workers)
    given.output.mkdir(parents=True, exist_ok=True)
    (given.output / "scale.json").write_text(json.dumps(found, indent=2) + "\n")
    (given.output / "scale.md").write_text(table(found))
    print(table(found))


if __name__ == "__main__":
    main()
