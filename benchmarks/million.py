"""What a clip costs: bytes of memory and seconds, from ten thousand to a million made-up clips.

Bytes are by how much the peak of a process's memory grows from one number of clips to the next, with all that
training keeps of the steps before; seconds are a processor's, so that other work on the machine counts little. Clips
are made up, in rows like those of real corpora: 40 to a speaker, paths in a folder per speaker. Sound is decoded in
`prepare` alone: 50 ms of one file of noise for each clip.

    python benchmarks/million.py -o results/scale
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

SIZES = (10_000, 100_000, 1_000_000)
DECODED = 100_000  # clips at most of the steps that ask the disk for each
PER_SPEAKER, EMOTIONS, FOLDS, BATCH = 40, ("anger", "happiness", "neutral", "sadness"), 5, 32
Step = Callable[[Path, int, Any], Any]


def write_manifest(folder: Path, clips: int) -> Path:
    draw, path = random.Random(clips), folder / f"{clips}.jsonl"
    if path.exists():
        return path
    with path.open("w") as file:
        for n in range(clips):
            speaker = f"S{n // PER_SPEAKER:05d}"
            row = {"id": f"corpus_{speaker}_{n:07d}", "audio": f"audio/{speaker}/corpus_{speaker}_{n:07d}.flac"}
            row |= {"speaker": speaker, "emotion": draw.choice(EMOTIONS), "corpus": "made_up", "start": 0.0}
            row |= {"duration": draw.uniform(0.6, 12.0), "sample_rate": 16_000}
            row |= {"audio_hash": f"{draw.getrandbits(128):032x}", "gender": "female" if n % 80 < 40 else "male"}
            row |= {"arousal": draw.uniform(1, 7), "split": "test" if n // PER_SPEAKER % 5 == 0 else "train"}
            file.write(json.dumps(row) + "\n")
    return path


def write_predictions(folder: Path, clips: int) -> Path:
    draw, path = np.random.default_rng(0), folder / f"predictions-{clips}.csv"
    if path.exists():
        return path
    with path.open("w") as file:
        file.write("id,speaker,part,fold,seed,truth,prediction," + ",".join(EMOTIONS) + "\n")
        for n in range(clips):
            scores, truth = draw.dirichlet(np.ones(4)), EMOTIONS[draw.integers(4)]
            cells = ",".join(f"{score:.6g}" for score in scores)
            decided = EMOTIONS[int(scores.argmax())]
            speaker = f"S{n // PER_SPEAKER:05d}"
            file.write(f"corpus_{speaker}_{n:07d},{speaker},test,{n % FOLDS},0,{truth},{decided},{cells}\n")
    return path


def write_table(folder: Path, clips: int) -> Path:
    path = folder / f"table-{clips}.csv"
    with path.open("w") as file:
        file.write("path,speaker,emotion,start,duration\n")
        for n in range(clips):
            speaker = f"S{n // PER_SPEAKER:05d}"
            name = f"audio/{speaker}/corpus_{speaker}_{n:07d}.flac"
            file.write(f"{name},{speaker},{EMOTIONS[n % 4]},{n % 1000 / 100},0.05\n")
    return path


def read(folder: Path, clips: int, _before: Any) -> Any:
    from serene.corpora.manifest import Manifest

    return Manifest.read(folder / f"{clips}.jsonl")


def write(folder: Path, _clips: int, manifest: Any) -> Any:
    manifest.write(folder / "written.jsonl")
    return manifest


def splits(_folder: Path, _clips: int, manifest: Any) -> Any:
    from serene.corpora.labels import choose
    from serene.protocols import make_splits

    labelled, task = choose(manifest, join={})
    made = make_splits("speaker_folds", labelled, {"folds": FOLDS, "validation": "random20"})
    return manifest, labelled, labelled.digest, task, made


def batches(folder: Path, _clips: int, before: Any) -> Any:
    from serene.audio.batch import length_buckets
    from serene.audio.dataset import Dataset
    from serene.audio.store import Store
    from serene.audio.waveform import Waveform

    train, rng = before[-1][0].train, np.random.default_rng(0)
    dataset = Dataset(train, Store(folder, Waveform()), task=before[-2], speakers=sorted(train.counts("speaker")))
    for indices in length_buckets(dataset.lengths, BATCH, rng):
        [clip.audio for clip in dataset.utterances.take(indices)]
    return before, dataset


def audit(folder: Path, clips: int, _before: Any) -> Any:
    from serene.protocols.audit import audit

    return audit(folder / f"{clips}.jsonl")


def prepare(folder: Path, clips: int, _before: Any) -> Any:
    import soundfile

    from serene.corpora.manifest import Manifest, Utterance
    from serene.corpora.prepare import prepare

    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 16_000 * 110)
    soundfile.write(folder / "noise.wav", noise, 16_000)

    def segments() -> Iterator[Utterance]:
        for n in range(clips):
            where = {"audio": str(folder / "noise.wav"), "start": n * 0.001, "duration": 0.05}
            yield Utterance(id=f"clip_{n:07d}", speaker=f"S{n // PER_SPEAKER:05d}", emotion=EMOTIONS[n % 4], **where)

    from serene.corpora import prepare as module

    module._read = lambda *_: Manifest(segments())  # no corpus is read: the rows are made up
    return prepare("made_up", folder, workers=2)


def table(folder: Path, clips: int, _before: Any) -> Any:
    from serene.corpora import table

    os.path.isfile = lambda path: str(path).endswith(".flac")  # the sounds are made up, too
    return table.read(folder / f"table-{clips}.csv")


def predict(folder: Path, clips: int, _before: Any) -> Any:
    from serene.inference.answer_file import Partial, render
    from serene.inference.predict import blocks_of
    from serene.inference.sources import ManifestClips

    source: Any = ManifestClips(folder / f"{clips}.jsonl", None, None)  # type: ignore[arg-type]
    partial = Partial.begin(folder / f"answers-{clips}.csv", {}, source.state)
    scores = dict.fromkeys(EMOTIONS, 0.25)
    answer = {"label": "anger", "scores": scores, "duration": 1.0, "note": None, "error": None}
    for block in blocks_of(partial.left(source.names), BATCH):
        names = [source.names[int(number)] for number in block]
        partial.add({name: {**source.head(name, None), **answer} for name in names})
    with (folder / "answers.csv").open("w") as file:
        file.writelines(render(partial.rows(source.names), EMOTIONS, "csv", source.columns))
    partial.path.unlink()
    return source


def leaderboard(folder: Path, clips: int, _before: Any) -> Any:
    from serene.evaluation.predictions import Predictions
    from serene.evaluation.report import ReportFacts, build

    kept = {"title": "made up", "protocol": "speaker_folds", "selection": "last epoch"}
    facts = ReportFacts(**kept, speaker_independent=True, saw_unlabelled_test_audio=False)
    predictions = Predictions.read(folder / f"predictions-{clips}.csv")
    return build(predictions, facts)


TRAINING = {
    "read the manifest": read,
    "write it": write,
    "labels, 5 splits, identity": splits,
    "an epoch's batches": batches,
}
PROCESSES: dict[str, tuple[dict[str, Step], int]] = {  # steps, each with what those before it left; most clips
    "training": (TRAINING, SIZES[-1]),
    "audit": ({"audit": audit}, SIZES[-1]),
    "leaderboard": ({"a row of a leaderboard": leaderboard}, SIZES[-1]),
    "table": ({"a table of rows": table}, SIZES[-1]),
    "prepare": ({"prepare, 50 ms a clip": prepare}, DECODED),
    "predict": ({"predict, without the network": predict}, DECODED),
}


def memory() -> int:
    """Give the most memory that this process has had since it was asked last, in bytes."""
    status = Path("/proc/self/status").read_text()
    Path("/proc/self/clear_refs").write_text("5")
    return 1024 * int(status.partition("VmHWM:")[2].split()[0])


def run(name: str, folder: Path, clips: int) -> dict[str, dict[str, float]]:
    """Take the steps of a process, after a small round of them, which imports what they need."""
    found = {}
    for size in (400, clips):
        {"leaderboard": write_predictions, "table": write_table}.get(name, write_manifest)(folder, size)
        memory()
        kept = None
        for step, work in PROCESSES[name][0].items():
            begun = time.process_time()
            kept = work(folder, size, kept)
            found[step] = {"seconds": time.process_time() - begun, "bytes": memory()}
    return found


def measure(sizes: tuple[int, ...]) -> dict[str, Any]:
    """Give seconds and peak bytes of each step and number of clips, and the growth of both with a clip more."""
    rows: dict[str, dict[int, dict[str, float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for clips in sizes:
            for name in (name for name, (_, most) in PROCESSES.items() if clips <= most):
                command = [sys.executable, __file__, "--process", name, "--clips", str(clips), "--folder", folder]
                done = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
                print(clips, json.dumps(done), file=sys.stderr, flush=True)
                for step, found in done.items():
                    rows.setdefault(step, {})[clips] = found
    steps: dict[str, Any] = {step: {"clips": list(found)} for step, found in rows.items()}
    for step, found in rows.items():
        for figure in ("seconds", "bytes"):
            values = [row[figure] for row in found.values()]
            steps[step][figure] = [round(value, 2) for value in values]
            steps[step][f"{figure} a clip more"] = [float(f"{v:.3g}") for v in np.diff(values) / np.diff(list(found))]
    return {"python": sys.version.split()[0], "seconds": "of a processor", "steps": steps}


def draw(result: dict[str, Any], path: Path) -> None:
    """Draw seconds by clips, and bytes a clip more."""
    from serene.reporting.style import DASHES, INK, MARKERS, PALETTE, RESOLUTION, dress, fields

    figure, (left, right) = fields(2, 5.6, 4.2)
    for n, (name, found) in enumerate(result["steps"].items()):
        look = {"color": PALETTE[n % len(PALETTE)], "marker": MARKERS[(n - n // len(PALETTE)) % len(MARKERS)]}
        look |= {"lw": 1.6, "ms": 5}
        left.plot(found["clips"], found["seconds"], label=name, **look)
        right.plot(found["clips"][1:], found["bytes a clip more"], **look)
    right.axhline(300, color=INK, ls=DASHES, lw=1)
    left.set(xscale="log", yscale="log", xlabel="clips", ylabel="processor seconds")
    right.set(xscale="log", xlabel="clips, up to", ylabel="bytes of memory that a clip more takes", ylim=(0, None))
    for axes in (left, right):
        dress(axes)
    left.legend(frameon=False, fontsize=8)
    figure.savefig(path, dpi=RESOLUTION)


def main() -> None:
    """Measure, write `million.json` and draw `million.png`."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("-o", "--output", type=Path, default=Path("results/scale"))
    parser.add_argument("--most", type=int, default=SIZES[-1], help="clips")
    parser.add_argument("--process", choices=PROCESSES, help=argparse.SUPPRESS)
    parser.add_argument("--clips", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.process:
        print(json.dumps(run(options.process, options.folder, options.clips)))
        return
    result = measure(tuple(size for size in SIZES if size <= options.most))
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / "million.json").write_text(json.dumps(result, indent=2) + "\n")
    draw(result, options.output / "million.png")


if __name__ == "__main__":
    main()
